"""What the comparison of a window means, and its explanation in a sentence. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from offload_core.config.tables import TableConfig, WriteMode
from offload_core.protocol.window import Interval
from offload_ops.audit.cold import ColdHash
from offload_ops.audit.lineage import Lineage
from offload_ops.audit.model import Differences, Finding, WindowAudit
from offload_ops.text import clock_seconds, count
from offload_ops.tiers.row_hash import RowHash


@dataclass(frozen=True)
class WindowComparison:
    """Both tiers' counts and hashes of one window.

    Attributes:
        window: the window.
        part: the part of it that was compared.
        hot, cold: each tier's count and hash of that part.
    """

    window: Interval
    part: Interval
    hot: RowHash
    cold: ColdHash

    @property
    def is_equal(self) -> bool:
        """Whether count and hash agree, and all of Iceberg's data could be read."""
        return self.hot == self.cold.rows and not self.cold.unreadable


def classify(
    table: TableConfig,
    comparison: WindowComparison,
    differences: Differences,
    held_before: int,
    lineage: Lineage,
) -> WindowAudit:
    """Say what the comparison of a window means.

    Args:
        table: the table's entry.
        comparison: both tiers' counts and hashes.
        differences: how many rows differ.
        held_before: how many rows Iceberg has certainly held there.
        lineage: where Iceberg's snapshot comes from.
    """
    cold = comparison.cold
    loss = _loss(held_before - (cold.rows.rows - differences.duplicates), lineage)
    finding = _finding(comparison, differences, is_lost=loss is not None)
    explanation = ""
    if finding is not Finding.EQUAL:
        window = comparison.window
        where = f"{table.name} from {clock_seconds(window.start)} to {clock_seconds(window.end)}"
        explanation = f"{where}: {_explanation(table, comparison, differences, loss)}."
    return WindowAudit(
        window=comparison.window,
        compared=comparison.part,
        hot=comparison.hot,
        cold=cold.rows,
        finding=finding,
        differences=differences,
        unreadable=cold.unreadable,
        explanation=explanation,
        fingerprint=cold.fingerprint,
        cold_source=cold.source,
    )


def _loss(fewer: int, lineage: Lineage) -> str | None:
    """Why missing rows are lost rather than late, as the end of a sentence; None if they may be late."""
    if lineage.lacks_commit:
        return "and this pipeline's newest commit: the table was rolled back, restored or recreated"
    if fewer > 0:
        return f"and held {fewer:,} more before"
    if lineage.fewer:
        return f"and the table holds {lineage.fewer:,} rows fewer than after this pipeline's newest commit"
    return None


def _finding(comparison: WindowComparison, differences: Differences, *, is_lost: bool) -> Finding:
    if comparison.is_equal:
        return Finding.EQUAL
    if comparison.cold.unreadable or (differences.missing and is_lost):
        return Finding.LOST
    if differences.surplus or differences.duplicates:
        return Finding.SURPLUS
    return Finding.CHANGED if differences.changed else Finding.LATE


def _explanation(table: TableConfig, comparison: WindowComparison, differences: Differences, loss: str | None) -> str:
    cold = comparison.cold
    parts = [f"ClickHouse holds {count(comparison.hot.rows, 'row')}, Iceberg {cold.rows.rows:,}", *cold.unreadable]
    if differences.missing:
        late = "that are in these files or arrived late" if cold.unreadable else "that arrived late"
        parts.append(f"Iceberg lacks {count(differences.missing, 'row')} {loss or late}")
    if differences.surplus:
        parts.append(f"Iceberg holds {count(differences.surplus, 'row')} that ClickHouse lacks and should still have")
    if differences.duplicates:
        parts.append(f"Iceberg holds {count(differences.duplicates, 'row')} more than once")
    if differences.changed:
        by = "late rows changed them" if table.write_mode is WriteMode.UPSERT else "somebody changed one tier"
        parts.append(f"{count(differences.changed, 'row')} with other values ({by})")
    return "; ".join(parts)
