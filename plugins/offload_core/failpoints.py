"""Named places where a test may make a run die, fail or wait. Unarmed, they do nothing.

`OFFLOAD_FAILPOINT=NAME:ACTION` arms one. `kill` ends the process as `kill -9` would, `raise` raises `RetryLater`, and
`pause` waits until the file that `OFFLOAD_FAILPOINT_FILE` names is gone; a process waits for one file only once.
`NAME:ACTION:2` acts from the second time on that the process reaches the point: a window that is split into chunks
passes each point once per chunk.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from enum import Enum
from pathlib import Path

from offload_core.errors import FixConfiguration, RetryLater

FAILPOINT_ENV = "OFFLOAD_FAILPOINT"
PAUSE_FILE_ENV = "OFFLOAD_FAILPOINT_FILE"


_passed: set[Path] = set()
"""The files that this process has waited for."""
_times: Counter[str] = Counter()
"""How often this process has reached an armed failpoint, by what was armed."""


class Failpoint(str, Enum):
    """The durability boundaries of a run, in order."""

    BEFORE_READ = "before-read"
    MID_READ = "mid-read"
    AFTER_FILES = "after-files"
    AFTER_BRANCH_COMMIT = "after-branch-commit"
    AFTER_AUDIT = "after-audit"
    AFTER_PUBLISH = "after-publish"
    IN_LEDGER_TRANSACTION = "in-ledger-transaction"


_ARMED = re.compile(
    rf"(?P<name>{'|'.join(point.value for point in Failpoint)}):(?P<action>kill|raise|pause)(:(?P<time>[1-9]\d*))?"
)


def reach(point: Failpoint) -> None:
    """Do what the environment arms this point with, if anything.

    Raises:
        RetryLater: the point is armed with `raise`.
        FixConfiguration: the environment arms a point or action that does not exist.
    """
    armed = os.environ.get(FAILPOINT_ENV)
    if not armed:
        return
    match = _ARMED.fullmatch(armed)
    if match is None:
        raise FixConfiguration(
            f"{FAILPOINT_ENV}={armed} names no failpoint and action.", "Unset it; it is for tests only."
        )
    name, action, first_time = match["name"], match["action"], int(match["time"] or 1)
    if name != point.value:
        return
    _times[armed] += 1
    if _times[armed] < first_time:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "raise":
        raise RetryLater(f"The failpoint {name} is armed.", f"Unset {FAILPOINT_ENV}.")
    file = os.environ.get(PAUSE_FILE_ENV)
    if not file:
        raise FixConfiguration(
            f"{FAILPOINT_ENV}={armed} needs a file to wait for.", f"Name it in {PAUSE_FILE_ENV}; it is for tests only."
        )
    waiting = Path(file)
    if waiting in _passed:
        return
    _passed.add(waiting)
    waiting.touch()
    while waiting.exists():
        time.sleep(0.05)
