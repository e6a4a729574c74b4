"""How the job tells the operator what became of it."""

from __future__ import annotations

import pytest

from offload_core.errors import ClickHouseUnavailable, FixColumn, OffloadError, SparkFailed, SparkOutOfMemory
from offload_core.jobs.outcome import EXIT_FINAL, EXIT_RETRY, JobFailed, JobOutput, ReportedError, read_line


@pytest.mark.parametrize(
    "error", [ClickHouseUnavailable('It\'s "down"\nnow.', "Start it."), FixColumn("c", "Cast it.")]
)
def test_a_reported_error_is_read_back(error: OffloadError) -> None:
    report = ReportedError.of(error)
    assert "\n" not in report.to_line()
    assert read_line(report.to_line()) == report
    assert (report.kind, report.message, report.retryable) == (error.kind, str(error), error.retryable)


def test_the_exit_code_says_whether_a_retry_can_help() -> None:
    assert ReportedError("k", "m", retryable=True).exit_code == EXIT_RETRY
    assert ReportedError("k", "m", retryable=False).exit_code == EXIT_FINAL


def test_more_fields_than_these_are_no_harm() -> None:
    line = 'OFFLOAD_ERROR {"kind": "audit", "class": "AuditFailed", "message": "m", "retryable": true}'
    assert read_line(line) == ReportedError("audit", "m", retryable=True)


@pytest.mark.parametrize(
    "line", ["", "Rows offloaded: 3", "OFFLOAD_ERROR", "OFFLOAD_ERROR {", "OFFLOAD_ERROR {}", "OFFLOAD_ERROR []"]
)
def test_any_other_line_is_no_report(line: str) -> None:
    assert read_line(line) is None


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize(
    ("code", "expected"), [(None, JobFailed), (1, SparkFailed), (137, SparkOutOfMemory), (-9, SparkOutOfMemory)]
)
def test_a_report_counts_only_with_the_exit_code_of_its_error(
    retryable: bool, code: int | None, expected: type[OffloadError]
) -> None:
    report = ReportedError("audit", "Counts differ. Run again.", retryable)
    output = JobOutput()
    output.read(report.to_line())

    assert type(output.failure(report.exit_code if code is None else code)) is expected
