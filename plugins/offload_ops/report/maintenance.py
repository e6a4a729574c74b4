"""Audits and maintenance in a report, from their tables in the ledger's database. All times are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload_core.ledger.audit_log import AuditLog
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.session import LedgerConnection, table_exists
from offload_core.protocol.window import Interval


@dataclass(frozen=True)
class AuditReport:
    """The audits of one table in a period.

    Attributes:
        windows: how many windows were compared, each counted once.
        late, changed, surplus, lost: how many of them had this finding at least once.
        open_windows, open_rows: windows that still differed when the period ended, and in how many rows.
        last: when the last audit ran.
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
    """The maintenance of one table in a period: its state before the first run and after the last one.

    Attributes:
        runs: how many runs there were.
        last: when the last one ran.
        files_before, files, size_before, size: data files of the newest snapshot and their bytes.
        snapshots: how many snapshots are kept.
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
class MaintenanceSummary:
    """Audits and maintenance runs by table; None if the database has no table for them."""

    audits: Mapping[str, AuditReport] | None = None
    runs: Mapping[str, MaintenanceReport] | None = None


def read_maintenance(session: LedgerConnection, pipeline: str, period: Interval) -> MaintenanceSummary:
    """Read the audits and the maintenance of a pipeline in a period.

    Raises:
        LedgerUnavailable: PostgreSQL can't be reached.
    """
    audits = runs = None
    if table_exists(session, "offload_audits"):
        log = AuditLog(session, pipeline)
        differing = {record["table_name"]: record for record in log.differing(period)}
        audits = {
            record["table_name"]: _audit(record, differing.get(record["table_name"])) for record in log.summary(period)
        }
    if table_exists(session, "offload_maintenance"):
        records = MaintenanceLog(session, pipeline).summary(period)
        runs = {record["table_name"]: _maintenance(record) for record in records}
    return MaintenanceSummary(audits, runs)


def _audit(record: dict[str, Any], differing: dict[str, Any] | None) -> AuditReport:
    return AuditReport(
        windows=record["windows"],
        late=record["late"],
        changed=record["changed"],
        surplus=record["surplus"],
        lost=record["lost"],
        open_windows=differing["windows"] if differing else 0,
        open_rows=differing["rows"] if differing else 0,
        last=record["last"],
    )


def _maintenance(record: dict[str, Any]) -> MaintenanceReport:
    before, after = record["before"], record["after"]
    return MaintenanceReport(
        runs=record["runs"],
        last=record["last"],
        files_before=before["data_files"],
        files=after["data_files"],
        size_before=before["bytes"],
        size=after["bytes"],
        snapshots=after["snapshots"],
        planning_milliseconds=after["planning_milliseconds"],
    )
