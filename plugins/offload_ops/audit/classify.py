"""What a window's comparison means, and how to say it. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from offload_core.config.tables import TableConfig, WriteMode
from offload_core.protocol.window import Interval
from offload_ops.audit.cold import ColdFigures
from offload_ops.audit.lineage import Lineage
from offload_ops.audit.model import Differences, Finding, WindowAudit
from offload_ops.tiers.row_hash import RowHash


@dataclass(frozen=True)
class Compared:
    """One window's figures; see `audit_model.WindowAudit`."""

    window: Interval
    part: Interval
    hot: RowHash
    cold: ColdFigures

    @property
    def is_equal(self) -> bool:
        """Whether count and hash agree, and all of Iceberg's data could be read."""
        return self.hot == self.cold.rows and not self.cold.unreadable


def judge(table: TableConfig, compared: Compared, found: Differences, held_before: int, way: Lineage) -> WindowAudit:
    """Say what a window's comparison means.

    Args:
        table: the table's entry.
        compared: both tiers' figures.
        found: in how many rows they differ.
        held_before: rows that Iceberg has held there for certain.
        way: where Iceberg's snapshot comes from.
    """
    cold = compared.cold
    reason = _why_lost(held_before - (cold.rows.rows - found.duplicates), way)
    finding = _finding(compared, found, is_lost=reason is not None)
    sentence = ""
    if finding is not Finding.EQUAL:
        window = f"{table.name} from {_moment(compared.window.start)} to {_moment(compared.window.end)}"
        sentence = f"{window}: {_explanation(table, compared, found, reason)}."
    return WindowAudit(
        window=compared.window,
        compared=compared.part,
        hot=compared.hot,
        cold=cold.rows,
        finding=finding,
        differences=found,
        unreadable=cold.unreadable,
        explanation=sentence,
        fingerprint=cold.fingerprint,
        cold_source=cold.source,
    )


def _why_lost(fewer: int, way: Lineage) -> str | None:
    """Why rows that Iceberg lacks are not just late; None if they may be."""
    if way.lacks_commit:
        return "and this pipeline's newest commit: the table was rolled back, restored or made again"
    if fewer > 0:
        return f"and held {fewer:,} more before"
    if way.fewer:
        return f"and the table {way.fewer:,} fewer rows than after this pipeline's newest commit"
    return None


def _finding(compared: Compared, found: Differences, *, is_lost: bool) -> Finding:
    if compared.is_equal:
        return Finding.EQUAL
    if compared.cold.unreadable or (found.missing and is_lost):
        return Finding.LOST
    if found.surplus or found.duplicates:
        return Finding.SURPLUS
    return Finding.CHANGED if found.changed else Finding.LATE


def _explanation(table: TableConfig, compared: Compared, found: Differences, lost: str | None) -> str:
    parts = [f"ClickHouse holds {_rows(compared.hot.rows)}, Iceberg {compared.cold.rows.rows:,}"]
    parts += compared.cold.unreadable
    if found.missing:
        late = "that came late" if not compared.cold.unreadable else "of these files or that came late"
        parts.append(f"Iceberg lacks {_rows(found.missing)} {lost or late}")
    if found.surplus:
        parts.append(f"Iceberg holds {_rows(found.surplus)} that ClickHouse lacks and should still have")
    if found.duplicates:
        parts.append(f"Iceberg holds {_rows(found.duplicates)} more than once")
    if found.changed:
        by = "late rows changed them" if table.write_mode is WriteMode.UPSERT else "somebody changed one tier"
        parts.append(f"{_rows(found.changed)} with other values ({by})")
    return "; ".join(parts)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
