"""How the Spark job reports an error to its caller: by its exit code, and by a last line of JSON."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass

from offload_core.errors import OffloadError, SparkFailed, SparkOutOfMemory

EXIT_RETRY = 10
"""The job failed; the same attempt may succeed a minute later."""
EXIT_FINAL = 20
"""The job failed, and will fail again until somebody changes something."""

_PREFIX = "OFFLOAD_ERROR "
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_OUT_OF_MEMORY = "java.lang.OutOfMemoryError"


@dataclass(frozen=True)
class ReportedError:
    """The error that a failed job has reported; the fields are those of `OffloadError`."""

    kind: str
    message: str
    retryable: bool

    @classmethod
    def of(cls, error: OffloadError) -> ReportedError:
        """The report of an error."""
        return cls(error.kind, str(error), error.retryable)

    @property
    def exit_code(self) -> int:
        """The exit code of a job with this error."""
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


class JobFailed(OffloadError):
    """The job has reported what is wrong and what to do; `kind` and `retryable` are those of its error."""

    def __init__(self, report: ReportedError) -> None:
        super().__init__("The Spark job failed:", report.message)
        # The job's error arrives here as text; these two say which class it had.
        self.kind = report.kind  # type: ignore[misc]
        self.retryable = report.retryable  # type: ignore[misc]
        self.report = report


class JobOutput:
    """Reads what a job prints, for signs of why it fails."""

    def __init__(self) -> None:
        self._reported: ReportedError | None = None
        self._ran_out_of_memory = False

    def read(self, line: str) -> bool:
        """Take note of a line. Returns whether it is the job's report, which is not meant for people."""
        report = read_line(line.strip())
        self._reported = report or self._reported
        self._ran_out_of_memory |= _OUT_OF_MEMORY in line
        return report is not None

    def failure(self, code: int) -> OffloadError:
        """The error of a job that ended with an exit code other than 0.

        Returns:
            JobFailed: the job has reported its error and ended with the exit code of that error.
            SparkOutOfMemory: its memory did not suffice, as far as can be known.
            SparkFailed: it reported nothing.
        """
        # A job that was killed afterwards, or only printed such a line, has not recorded its failure in the ledger.
        if self._reported is not None and code == self._reported.exit_code:
            return JobFailed(self._reported)
        if self._ran_out_of_memory or code in _KILLED:
            what = "ran out of memory" if self._ran_out_of_memory else "was killed, probably because memory ran out"
            return SparkOutOfMemory(
                f"The Spark job {what} (exit code {code}).",
                "Raise driver_memory, or lower max_rows_per_commit, in the Variable `iceberg_offload_settings`.",
            )
        return SparkFailed(
            f"The Spark job ended with exit code {code} and reported no error.", "See the last lines of its output."
        )
