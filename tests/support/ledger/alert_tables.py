"""A day of ledger rows for tables in every state, for the page and everything that must agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.session import LedgerConnection
from offload_ops.audit.model import Finding

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PERIOD = 15 * MINUTE
TRADES, KRAKEN, SILVER, CANDLES = (DEFAULT_TABLES[number].name for number in (0, 1, 2, 3))
_ORIGIN = datetime(1970, 1, 1, tzinfo=timezone.utc)
_STATUS = {
    "failure": "failed",
    "halt": "halted",
    "init": "initialized",
    "reset": "initialized",
    "resume": "initialized",
}
_SHAPE = (3, 4, 6, 9, 12, 14, 15, 13, 11, 8, 6, 4)
"""The volume of trade over a day, per two hours."""


@dataclass
class AlertTables:
    """Writes ledger rows and audits of any time before `now` (UTC)."""

    session: LedgerConnection
    pipeline: str
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def row(
        self,
        table: str,
        ago: timedelta,
        kind: str = "increment",
        rows: int = 0,
        *,
        run: str | None = None,
        watermark: datetime | None = None,
        window: tuple[datetime, datetime] | None = None,
        error: tuple[str, str] | None = None,
        seconds: float = 4.2,
    ) -> None:
        """Add one row; its other columns repeat the row before. `error` is kind and message."""
        at, before = self.now - ago, self._newest(table)
        status = _STATUS.get(kind, "success")
        is_success, is_failure = (
            status == "success" and kind not in ("repair", "restate"),
            status in ("failed", "halted"),
        )
        values = {
            "pipeline_id": self.pipeline,
            "table_name": table,
            "max_timestamp": watermark or before.get("max_timestamp") or _ORIGIN,
            "status": status,
            "kind": kind,
            "created_at": at,
            "window_lower": window[0] if window else None,
            "window_upper": window[1] if window else None,
            "row_count": rows,
            "total_records": int(before.get("total_records") or 0) + rows if is_success else None,
            "run_id": run if run or kind in ("init", "reset", "resume") else self.run_id(ago),
            "attempt": 1,
            "last_successful_run": at if is_success else before.get("last_successful_run"),
            "last_run_duration_seconds": None if is_failure else seconds,
            "failure_count": int(before.get("failure_count") or 0) + 1 if is_failure else 0,
            "error_kind": error[0] if error else None,
            "last_error_message": error[1] if error else None,
        }
        names = ", ".join(values)
        places = ", ".join(f"%({name})s" for name in values)
        self.session.execute(f"INSERT INTO offload_watermarks ({names}) VALUES ({places})", values)

    def run_id(self, ago: timedelta) -> str:
        """The id of the scheduled run that was running at that time."""
        due = self.now - ago
        due -= timedelta(minutes=due.minute % 15, seconds=due.second, microseconds=due.microsecond)
        return f"scheduled__{(due - PERIOD).isoformat()}"

    def day(self, table: str, last: timedelta, rows: int = 1200) -> None:
        """Add 25 hours of ordinary cycles, the newest of them `last` ago."""
        self.row(table, 9 * DAY, "init")
        for number in range(99, -1, -1):
            ago = last + number * PERIOD
            upper = self.now - ago - 5 * MINUTE
            amount = rows * _SHAPE[(upper.hour // 2) % 12] // 10 + (number * 37) % 90
            self.row(table, ago, rows=amount, watermark=upper, window=(upper - PERIOD, upper))

    def never(self, table: str, set_up: timedelta = 8 * MINUTE) -> None:
        """Add a table that has been set up and never offloaded."""
        self.row(table, set_up, "init")

    def halted(self, table: str) -> None:
        """Add a table that is halted because Iceberg was rolled back."""
        self.day(table, 47 * MINUTE)
        message = (
            "Iceberg's bronze_trades_kraken lacks snapshot 8231550 (1,430 rows up to 2026-11-21 09:10:00 UTC), "
            "which the ledger records: the table was rolled back or restored."
        )
        self.row(table, 32 * MINUTE, "halt", error=("ledger_ahead", message))
        self.row(table, 17 * MINUTE, "failure", error=("halted", f"{table} is halted since then: {message}"))

    def failing(self, table: str, attempts: int = 3) -> None:
        """Add a table whose attempts fail."""
        self.day(table, 20 * MINUTE)
        message = "ClickHouse at clickhouse.example.com:8123 can't be reached: connection refused."
        for attempt in range(attempts):
            self.row(table, (6 - attempt) * MINUTE, "failure", error=("clickhouse_connection", message))

    def catching_up(self, table: str) -> str:
        """Add a table that was behind; its current run has committed three chunks. Returns the run's id."""
        self.day(table, 5 * HOUR)
        run, begin = self.run_id(timedelta()), self.now - 5 * HOUR - 5 * MINUTE
        for chunk in range(3):
            window = (begin + chunk * HOUR, begin + (chunk + 1) * HOUR)
            self.row(
                table, (3 - chunk) * MINUTE, rows=5_000_000, run=run, watermark=window[1], window=window, seconds=48
            )
        return run

    def audit(self, table: str, findings: Sequence[Finding], ago: timedelta = 20 * MINUTE, rows: int = 12) -> None:
        """Add an audit of as many hours as there are findings, up to now."""
        for number, finding in enumerate(reversed(findings)):
            end = self.now.replace(minute=0, second=0, microsecond=0) - number * HOUR
            self.session.execute(
                "INSERT INTO offload_audits (pipeline_id, table_name, window_start, window_end, compared_from, "
                "compared_to, hot_rows, hot_hash, cold_rows, cold_hash, finding, missing_rows, fingerprint, "
                "cold_source, source_uuid, audited_at, run_id) VALUES (%(pipeline)s, %(table)s, %(start)s, %(end)s, "
                "%(start)s, %(end)s, 100, 1, 100, 1, %(finding)s, %(rows)s, 'f', 'data', "
                "'00000000-0000-0000-0000-000000000001', %(at)s, 'an audit')",
                {
                    "pipeline": self.pipeline,
                    "table": table,
                    "start": end - HOUR,
                    "end": end,
                    "finding": finding.value,
                    "rows": 0 if finding is Finding.EQUAL else rows,
                    "at": self.now - ago,
                },
            )

    def _newest(self, table: str) -> dict[str, object]:
        query = "SELECT * FROM offload_watermarks WHERE pipeline_id = %s AND table_name = %s ORDER BY id DESC LIMIT 1"
        return self.session.execute(query, (self.pipeline, table)).fetchone() or {}


def job_name(table: str, run: str) -> str:
    """The name of a running job's session in PostgreSQL."""
    return f"offload {table} {run}"
