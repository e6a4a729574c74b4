"""The health check behind `offload doctor`: six checks side by side, each with a finding and, where something is wrong, what to do (R95).

A check that does not answer in time is red: a server that accepts and then says nothing must not hold up the operator. Its thread is left
behind; it ends with the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from offload_core.errors import OffloadError

CHECK_SECONDS = 5.0
"""How long one check may take."""


class Health(str, Enum):
    """How a check came out. Only red ends the command with status 1."""

    GREEN = "ok"
    NEUTRAL = "not checked"
    YELLOW = "watch"
    RED = "RED"


@dataclass(frozen=True)
class Finding:
    """One line of the health check.

    Attributes:
        check: what was looked at.
        health: how it came out.
        finding: what was found, in one line.
        remedy: what to do; None where there is nothing to do.
        seconds: how long it took to find out.
    """

    check: str
    health: Health
    finding: str
    remedy: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Check:
    """Something to look at.

    Attributes:
        name: the finding's `check`, where the finding doesn't name a part of it.
        look: does it, with no finding where there is nothing to look at; what it raises becomes a red finding.
        remedy: what to do when it raises something that doesn't say so itself, or doesn't answer.
    """

    name: str
    look: Callable[[], Sequence[Finding]]
    remedy: str


CONFIGURATION = "configuration"
SCHEDULER, METRICS, LAG, CYCLES, FAILURES, SERVERS = (
    "1 scheduler",
    "2 metrics",
    "3 lag",
    "4 last cycles",
    "5 failures",
    "6 servers",
)


def examine(checks: Sequence[Check], seconds: float | None = None) -> list[Finding]:
    """Do all checks side by side.

    Args:
        checks: what to look at.
        seconds: how long each may take; default: `CHECK_SECONDS`.

    Returns:
        Their findings, in the checks' order.
    """
    seconds = CHECK_SECONDS if seconds is None else seconds
    started = time.monotonic()
    running = [(check, _Examination(check)) for check in checks]
    findings: list[Finding] = []
    for check, examination in running:
        examination.join(max(0.0, started + seconds - time.monotonic()))
        findings += (
            [Finding(check.name, Health.RED, f"No answer within {seconds:g} seconds.", check.remedy, seconds)]
            if examination.findings is None
            else examination.findings
        )
    return findings


class _Examination(threading.Thread):
    """One check in a thread that the process does not wait for when it ends."""

    def __init__(self, check: Check) -> None:
        super().__init__(name=check.name, daemon=True)
        self._check = check
        self.findings: Sequence[Finding] | None = None
        self.start()

    def run(self) -> None:
        started = time.monotonic()
        try:
            found = self._check.look()
        except OffloadError as error:
            found = [Finding(self._check.name, Health.RED, error.problem, error.remedy)]
        except Exception as error:  # whatever it is, it is the finding
            reason = " ".join(str(error).split()) or type(error).__name__
            found = [Finding(self._check.name, Health.RED, reason, self._check.remedy)]
        seconds = round(time.monotonic() - started, 2)
        self.findings = [replace(finding, seconds=seconds) for finding in found]
