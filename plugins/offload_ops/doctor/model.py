"""The health check behind `offload doctor`: what a check is, and how all of them run side by side.

A check that does not answer in time is red: a server that accepts connections and never answers must not hold up the
operator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from offload_core.errors import OffloadError
from offload_ops.timeouts import BackgroundWork

CHECK_SECONDS = 5.0
"""How long one check may take."""
CONFIGURATION = "configuration"
SCHEDULER, METRICS, LAG, CYCLES, FAILURES, SERVERS = (
    "1 scheduler",
    "2 metrics",
    "3 lag",
    "4 last cycles",
    "5 failures",
    "6 servers",
)


class Health(str, Enum):
    """The outcome of a check. Only red ends the command with status 1."""

    GREEN = "ok"
    NEUTRAL = "not checked"
    YELLOW = "watch"
    RED = "RED"


@dataclass(frozen=True)
class CheckResult:
    """One line of the health check.

    Attributes:
        check: the name of the check.
        health: its outcome.
        message: what was found, in one line.
        remedy: what to do; None if there is nothing to do.
        seconds: how long the check took.
    """

    check: str
    health: Health
    message: str
    remedy: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Check:
    """One thing to check.

    Attributes:
        name: the `check` of a result that the check itself cannot produce.
        run: checks it, and returns no result where there is nothing to check. An error that it raises becomes a red
            result.
        remedy: what to do if it does not answer, or raises an error without a remedy of its own.
    """

    name: str
    run: Callable[[], Sequence[CheckResult]]
    remedy: str


def examine(checks: Sequence[Check], seconds: float | None = None) -> list[CheckResult]:
    """Run all checks side by side.

    Args:
        checks: what to check.
        seconds: how long each may take; default: `CHECK_SECONDS`.

    Returns:
        Their results, in the order of the checks.
    """
    seconds = CHECK_SECONDS if seconds is None else seconds
    deadline = time.monotonic() + seconds
    running = [(check, BackgroundWork(partial(_run, check))) for check in checks]
    results: list[CheckResult] = []
    for check, work in running:
        if work.wait(max(0.0, deadline - time.monotonic())):
            results += work.result()
        else:
            message = f"No answer within {seconds:g} seconds."
            results.append(CheckResult(check.name, Health.RED, message, check.remedy, seconds))
    return results


def _run(check: Check) -> list[CheckResult]:
    started = time.monotonic()
    try:
        results = check.run()
    except OffloadError as error:
        results = [CheckResult(check.name, Health.RED, error.problem, error.remedy)]
    except Exception as error:  # whatever it is, the operator reads it as the check's result
        reason = " ".join(str(error).split()) or type(error).__name__
        results = [CheckResult(check.name, Health.RED, reason, check.remedy)]
    seconds = round(time.monotonic() - started, 2)
    return [replace(result, seconds=seconds) for result in results]
