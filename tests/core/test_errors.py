"""What every error promises to its reader and to the monitoring."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

import offload_core
from offload_core import errors
from offload_core.errors import (
    OffloadError,
    QueryFailed,
    RetryLater,
    RunInit,
    SparkOutOfMemory,
    TableHalted,
    WatermarkNotFound,
)


def subclasses(base: type[OffloadError]) -> list[type[OffloadError]]:
    return [base, *(found for child in base.__subclasses__() for found in subclasses(child))]


# Those that tests define themselves do not count.
CLASSES = [kind for kind in subclasses(OffloadError) if kind.__module__ == errors.__name__]


def instance(kind: type[OffloadError]) -> OffloadError:
    if kind is WatermarkNotFound:
        return WatermarkNotFound("trades")
    return kind("Something is wrong.", "Do something about it.")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
class TestEveryErrorClass:
    def test_has_a_kind_of_its_own_for_the_metrics(self, kind):
        assert "kind" in vars(kind)
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.kind)
        assert [other for other in CLASSES if other.kind == kind.kind] == [kind]

    def test_says_in_its_docstring_when_it_is_raised(self, kind):
        assert kind.__doc__
        assert kind.__doc__ != kind.__base__.__doc__

    def test_message_is_problem_then_remedy(self, kind):
        error = instance(kind)

        assert str(error) == f"{error.problem} {error.remedy}"
        assert error.problem.endswith(".")
        assert error.remedy.endswith(".")

    def test_survives_a_journey_to_another_process(self, kind):
        error = instance(kind)

        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
            assert type(again) is kind
            assert (str(again), again.problem, again.remedy) == (str(error), error.problem, error.remedy)
            assert vars(again) == vars(error)


def test_the_kinds_are_a_contract_with_dashboards_and_alerts():
    assert {kind.__name__: kind.kind for kind in CLASSES} == {
        "OffloadError": "other",
        "FixConfiguration": "configuration",
        "FixCredentials": "credentials",
        "FixSource": "source_table",
        "FixColumn": "column",
        "RunInit": "not_initialized",
        "WatermarkNotFound": "watermark_not_found",
        "TargetTableMissing": "iceberg_table_not_found",
        "RetryLater": "unavailable",
        "ClickHouseUnavailable": "clickhouse_connection",
        "LedgerUnavailable": "postgres_connection",
        "CatalogUnavailable": "iceberg_catalog",
        "FreeDiskSpace": "disk_full",
        "MailUnavailable": "mail_server",
        "SlackUnavailable": "slack",
        "QueryFailed": "clickhouse_query",
        "WaitForOtherRun": "table_locked",
        "StartOver": "conflict",
        "AuditFailed": "audit",
        "CommitStateUnknown": "commit_state_unknown",
        "RestateInterval": "interval_differs",
        "RepairInterval": "interval_incomplete",
        "RepairInstead": "interval_expired",
        "WatermarkInvalid": "watermark_corrupt",
        "TableHalted": "halted",
        "SourceReplaced": "source_replaced",
        "LedgerAhead": "ledger_ahead",
        "ColdRowsLost": "cold_rows_lost",
        "HotRowsExpired": "hot_rows_expired",
        "SparkFailed": "spark",
        "SparkOutOfMemory": "spark_out_of_memory",
        "AttemptTimedOut": "timeout",
    }


def test_what_mends_itself_is_tried_again_and_what_needs_a_hand_is_not():
    again = {kind.__name__ for kind in CLASSES if kind.retryable}

    assert again == {
        "RetryLater",
        "ClickHouseUnavailable",
        "LedgerUnavailable",
        "CatalogUnavailable",
        "FreeDiskSpace",
        "MailUnavailable",
        "SlackUnavailable",
        "WaitForOtherRun",
        "StartOver",
        "AuditFailed",
        "CommitStateUnknown",
        "SparkFailed",
        "SparkOutOfMemory",
        "AttemptTimedOut",
    }
    assert all(kind.retryable for kind in subclasses(RetryLater))
    assert not any(kind.retryable for kind in subclasses(TableHalted))


def test_a_missing_watermark_is_told_in_the_words_that_operators_search_for():
    error = WatermarkNotFound("bronze_trades_binance")

    assert str(error).startswith("Watermark not found for table: bronze_trades_binance")
    assert "offload init" in error.remedy
    assert isinstance(error, RunInit)


def test_a_failed_query_keeps_clickhouses_code():
    assert QueryFailed("ClickHouse answered.", "Look it up.", 62).code == 62
    assert QueryFailed("ClickHouse answered.", "Look it up.").code == 0


def test_out_of_memory_is_caught_as_a_failed_spark_job():
    assert subclasses(errors.SparkFailed) == [errors.SparkFailed, SparkOutOfMemory]


def test_no_module_raises_an_error_without_a_remedy():
    known = {kind.__name__ for kind in CLASSES} - {"WatermarkNotFound"}
    plugins = Path(inspect.getfile(offload_core)).parents[1]
    calls = [
        (path.name, node)
        for path in sorted(plugins.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known
    ]

    assert len(calls) > 90
    assert [f"{name}:{call.lineno}" for name, call in calls if len(call.args) < 2] == []
