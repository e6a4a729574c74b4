"""How the Spark job tells its caller what became of it: the exit code, and one last line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from offload_core.errors import OffloadError

EXIT_RETRY = 10
"""The job failed; the same attempt may succeed a minute later."""
EXIT_FINAL = 20
"""The job failed, and it will until somebody changes something."""

_PREFIX = "OFFLOAD_ERROR "


@dataclass(frozen=True)
class ReportedError:
    """What a failed job says of its error; the fields are those of `OffloadError`."""

    kind: str
    message: str
    retryable: bool

    @classmethod
    def of(cls, error: OffloadError) -> ReportedError:
        """The report of an error."""
        return cls(error.kind, str(error), error.retryable)

    @property
    def exit_code(self) -> int:
        """The exit code that goes with it."""
        return EXIT_RETRY if self.retryable else EXIT_FINAL

    def to_line(self) -> str:
        """The job's last line."""
        return _PREFIX + json.dumps(asdict(self))


def read_line(line: str) -> ReportedError | None:
    """The error that a line of the job's output reports; None if it is any other line."""
    if not line.startswith(_PREFIX):
        return None
    try:
        report = json.loads(line.removeprefix(_PREFIX))
        return ReportedError(report["kind"], report["message"], report["retryable"])
    except (ValueError, TypeError, KeyError):
        return None
