"""What a report tells of the audits and of the maintenance, from their tables in the ledger's database. All times are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload_core.ledger.session import LedgerConnection, ledger_errors
from offload_core.protocol.window import Interval


@dataclass(frozen=True)
class AuditReport:
    """The audits of one table in a period.

    Attributes:
        windows: how many windows were compared, each counted once.
        late, changed, surplus, lost: how many of them were found to be so at least once.
        open_windows, open_rows: windows that still differed when the period ended, and in how many rows.
        last: when the last audit was.
    """

    windows: int
    late: int
    changed: int
    surplus: int
    lost: int
    open_windows: int
    open_rows: int
    last: datetime


@dataclass(frozen=True)
class MaintenanceReport:
    """The maintenance of one table in a period: how it was before the first run and after the last one.

    Attributes:
        runs: how often.
        last: when the last time.
        files_before, files, size_before, size: data files of the newest snapshot and their bytes.
        snapshots: how many are kept.
        planning_milliseconds: how long it takes to plan a read.
    """

    runs: int
    last: datetime
    files_before: int
    files: int
    size_before: int
    size: int
    snapshots: int
    planning_milliseconds: float


@dataclass(frozen=True)
class Upkeep:
    """Audits and maintenance by table; None where the database has no table for them."""

    audits: Mapping[str, AuditReport] | None = None
    maintenance: Mapping[str, MaintenanceReport] | None = None


_WINDOWS = "count(DISTINCT (window_start, window_end))"
_AUDITED = "FROM offload_audits WHERE pipeline_id = %(pipeline)s AND audited_at >= %(start)s AND audited_at < %(end)s"
_AUDITS = (
    f"SELECT table_name, {_WINDOWS} AS windows, max(audited_at) AS last, "
    + ", ".join(
        f"{_WINDOWS} FILTER (WHERE finding = '{finding}') AS {finding}"
        for finding in ("late", "changed", "surplus", "lost")
    )
    + f" {_AUDITED} GROUP BY table_name"
)
_OPEN = (
    "SELECT table_name, count(*) AS windows, sum(missing_rows + surplus_rows + changed_rows + duplicate_rows)::bigint AS rows FROM "  # noqa: S608 - constants only
    f"(SELECT DISTINCT ON (table_name, window_start, window_end) * {_AUDITED} "
    "ORDER BY table_name, window_start, window_end, id DESC) AS newest WHERE finding <> 'equal' GROUP BY table_name"
)
_MAINTENANCE = (
    "SELECT table_name, count(*) AS runs, max(created_at) AS last, (array_agg(figures_before ORDER BY id))[1] AS before, "
    "(array_agg(figures_after ORDER BY id DESC))[1] AS after FROM offload_maintenance "
    "WHERE pipeline_id = %(pipeline)s AND created_at >= %(start)s AND created_at < %(end)s GROUP BY table_name"
)


def read_upkeep(session: LedgerConnection, pipeline: str, period: Interval) -> Upkeep:
    """Read what audits and maintenance of a pipeline left of a period.

    Raises:
        LedgerUnavailable: PostgreSQL can't be reached.
    """
    values = {"pipeline": pipeline, "start": period.start, "end": period.end}

    def rows(query: str) -> list[dict[str, Any]]:
        return session.execute(query, values).fetchall()

    with ledger_errors():
        (there,) = rows(
            "SELECT to_regclass('offload_audits') AS audits, to_regclass('offload_maintenance') AS maintenance"
        )
        audits, differing = (rows(_AUDITS), rows(_OPEN)) if there["audits"] else (None, [])
        maintenance = rows(_MAINTENANCE) if there["maintenance"] else None
    still = {row["table_name"]: row for row in differing}
    return Upkeep(
        None if audits is None else {row["table_name"]: _audit(row, still.get(row["table_name"])) for row in audits},
        None if maintenance is None else {row["table_name"]: _maintenance(row) for row in maintenance},
    )


def _audit(row: dict[str, Any], still: dict[str, Any] | None) -> AuditReport:
    return AuditReport(
        windows=row["windows"],
        late=row["late"],
        changed=row["changed"],
        surplus=row["surplus"],
        lost=row["lost"],
        open_windows=still["windows"] if still else 0,
        open_rows=still["rows"] if still else 0,
        last=row["last"],
    )


def _maintenance(row: dict[str, Any]) -> MaintenanceReport:
    before, after = row["before"], row["after"]
    return MaintenanceReport(
        runs=row["runs"],
        last=row["last"],
        files_before=before["data_files"],
        files=after["data_files"],
        size_before=before["bytes"],
        size=after["bytes"],
        snapshots=after["snapshots"],
        planning_milliseconds=after["planning_milliseconds"],
    )
