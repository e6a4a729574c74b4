"""Weeks for reports: ledger rows of any time, and the same weeks in Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Interval
from offload_ops.report.airflow_history import AirflowHistory, Cycle

MONDAY = datetime(2026, 2, 16, tzinfo=timezone.utc)
W08 = Interval(MONDAY, MONDAY + timedelta(days=7))
"""The ISO week 2026-W08."""
PERIOD, MINUTE, HOUR, DAY = timedelta(minutes=15), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BINANCE, SILVER, CANDLES = "bronze_trades_binance", "silver_trades", "gold_ohlcv_1m"
TABLES = [table for table in DEFAULT_TABLES if table.name in (BINANCE, SILVER, CANDLES)]


@dataclass
class WrittenLedger:
    """Writes ledger rows of any time; `last_successful_run` and `failure_count` follow from the rows before."""

    session: LedgerConnection
    pipeline: str

    def add(self, table: str, at: datetime, kind: str = "increment", rows: int = 0, **values: object) -> None:
        """Add one row: a step, or a failure or halt with its `error_kind` and `message`."""
        status = {"failure": "failed", "halt": "halted", "init": "initialized", "resume": "initialized"}.get(
            kind, "success"
        )
        self.write(
            "VALUES (%(pipeline)s, %(table)s, %(at)s, %(kind)s, %(status)s, %(rows)s, %(at)s, "
            f"{_SUCCESS}, %(error_kind)s, %(message)s, %(total)s, %(started_from)s, {_FAILURES})",
            {
                **{name: None for name in ("error_kind", "message", "total", "started_from")},
                **values,
                **{"table": table, "at": at, "kind": kind, "status": status, "rows": rows},
            },
        )

    def every_quarter(self, table: str, start: datetime, end: datetime, rows: int) -> None:
        """Add a step every 15 minutes, from `start` up to but not including `end`."""
        self.write(
            "SELECT %(pipeline)s, %(table)s, moment, 'increment', 'success', %(rows)s, moment, moment, NULL, NULL, "
            "1000 + %(rows)s * row_number() OVER (ORDER BY moment), NULL, 0 "
            "FROM generate_series(%(start)s, %(end)s - interval '1 second', interval '15 minutes') AS moment",
            {"table": table, "start": start, "end": end, "rows": rows},
        )

    def write(self, source: str, values: dict[str, Any]) -> None:
        """Insert the rows of `source`, a VALUES list or a SELECT."""
        self.session.execute(
            "INSERT INTO offload_watermarks (pipeline_id, table_name, created_at, kind, status, row_count, "
            "max_timestamp, last_successful_run, error_kind, last_error_message, total_records, started_from, "
            f"failure_count) {source}",
            {"pipeline": self.pipeline, **values},
        )

    def ordinary_week(self, *tables: str, rows: int = 100, week: Interval = W08) -> None:
        """Add tables that are ten weeks old and were offloaded every 15 minutes in this week and the one before."""
        for table in tables:
            self.add(table, week.start - 70 * DAY, "init")
            self.every_quarter(table, week.start - 7 * DAY, week.start, rows // 2)
            self.every_quarter(table, week.start, week.end, rows)


_SUCCESS = (
    "CASE WHEN %(status)s = 'success' AND %(kind)s NOT IN ('repair', 'restate') THEN %(at)s::timestamptz "
    "ELSE (SELECT max(last_successful_run) FROM offload_watermarks "
    "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s) END"
)
_FAILURES = (
    "CASE WHEN %(status)s IN ('failed', 'halted') THEN 1 + coalesce((SELECT failure_count FROM offload_watermarks "
    "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s ORDER BY id DESC LIMIT 1), 0) ELSE 0 END"
)


def airflow_week(
    *,
    missing: tuple[datetime, ...] = (),
    failed: tuple[datetime, ...] = (),
    restarts: int = 0,
    up_since: datetime | None = MONDAY - 3 * DAY,
    week: Interval = W08,
) -> AirflowHistory:
    """A week in Airflow in which all cycles but these succeeded."""
    due = [week.start + number * PERIOD for number in range((week.end - week.start) // PERIOD)]
    return AirflowHistory(
        due=due,
        first_due=week.start - 70 * DAY,
        cycles=[Cycle(at, "failed" if at in failed else "success") for at in due if at not in missing],
        restarts=[week.start + number * HOUR for number in range(restarts)],
        up_since=up_since,
    )


def eventful(ledger: WrittenLedger) -> AirflowHistory:
    """A week with an outage of four cycles, a failed cycle, retries, late rows, a restated interval and a halt."""
    outage = MONDAY + 2 * DAY
    for table, rows in ((BINANCE, 100), (SILVER, 200)):
        ledger.add(table, MONDAY - 70 * DAY, "init")
        ledger.every_quarter(table, MONDAY - 7 * DAY, MONDAY, rows // 2)
        ledger.every_quarter(table, MONDAY, outage, rows)
        ledger.every_quarter(table, outage + HOUR, W08.end, rows)
    ledger.ordinary_week(CANDLES, rows=10)
    ledger.add(BINANCE, MONDAY + 3 * DAY + 1 * MINUTE, "repair", rows=7)
    ledger.add(SILVER, MONDAY + 3 * DAY + 1 * MINUTE, "repair", rows=7)
    ledger.add(SILVER, MONDAY + 4 * DAY + 1 * MINUTE, "repair", rows=1_200)
    ledger.add(SILVER, MONDAY + 4 * DAY + 2 * MINUTE, "restate", rows=5_000)
    ledger.add(SILVER, MONDAY + 4 * DAY + 3 * MINUTE, "recovered", rows=3)
    ledger.add(SILVER, MONDAY + 4 * DAY + 4 * MINUTE, "empty")
    for minute in range(3):
        ledger.add(BINANCE, MONDAY + DAY + minute * MINUTE, "failure", error_kind="clickhouse_connection")
    ledger.add(BINANCE, MONDAY + DAY + 4 * MINUTE, "failure", error_kind="spark_out_of_memory")
    ledger.add(CANDLES, W08.end - 1 * MINUTE, "halt", error_kind="cold_rows_lost", message="It lacks <b>10</b> rows.")
    return airflow_week(
        missing=tuple(outage + number * PERIOD for number in range(4)), failed=(MONDAY + DAY,), restarts=6
    )
