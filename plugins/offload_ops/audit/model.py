"""The result of an audit: both tiers' counts and hashes by table and window, and what their difference means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from offload_core.config.tables import TableConfig, WriteMode
from offload_core.errors import ColdRowsLost
from offload_core.protocol.window import Cursor, Interval
from offload_ops.tiers.row_hash import RowHash


class Finding(str, Enum):
    """What the comparison of a window means, from harmless to worst."""

    EQUAL = "equal"
    """Both tiers hold the same rows."""
    LATE = "late"
    """ClickHouse holds rows that Iceberg never had: they came after their window's offload. A repair inserts them."""
    CHANGED = "changed"
    """Rows with the same key have other values. Candles: late trades changed them, and a repair merges them. Append
    tables: somebody changed one tier, and an operator decides (`offload restate`)."""
    SURPLUS = "surplus"
    """Iceberg holds rows that ClickHouse lacks but should still have, or rows more than once. An operator decides."""
    LOST = "lost"
    """Iceberg lacks rows that it held before, or files that it names cannot be read. The table is halted."""


class ColdSource(str, Enum):
    """Where Iceberg's count and hash of a window come from."""

    METADATA = "metadata"
    """The manifests: no file may hold a row of the window, or the table cannot be read."""
    STORED = "stored"
    """An earlier audit of the very same files, all of which still exist."""
    DATA = "data"
    """The files themselves."""


@dataclass(frozen=True)
class Differences:
    """How many rows of the two tiers differ, by key.

    Attributes:
        missing: rows that ClickHouse holds and Iceberg lacks.
        surplus: rows that Iceberg holds and ClickHouse lacks.
        changed: rows that both hold, with other values.
        duplicates: rows that Iceberg holds in addition to one with the same key.
    """

    missing: int = 0
    surplus: int = 0
    changed: int = 0
    duplicates: int = 0

    def __add__(self, other: Differences) -> Differences:
        return Differences(
            self.missing + other.missing,
            self.surplus + other.surplus,
            self.changed + other.changed,
            self.duplicates + other.duplicates,
        )

    def __bool__(self) -> bool:
        return bool(self.missing or self.surplus or self.changed or self.duplicates)


NO_DIFFERENCE = Differences()


@dataclass(frozen=True)
class WindowAudit:
    """One window of one table.

    Attributes:
        window: the window, in the rows' own time (UTC).
        compared: the part of it that both tiers must hold alike: from ClickHouse's TTL to the watermark.
        hot, cold: each tier's count and hash of that part.
        finding: what that means.
        differences: how many rows differ.
        unreadable: what is wrong with files that are missing or broken.
        explanation: the finding in a sentence; empty for `equal`.
        fingerprint: identifies the files, bounds and projection behind `cold`.
        cold_source: where `cold` comes from.
    """

    window: Interval
    compared: Interval
    hot: RowHash
    cold: RowHash
    finding: Finding
    differences: Differences
    unreadable: tuple[str, ...]
    explanation: str
    fingerprint: str
    cold_source: ColdSource


@dataclass(frozen=True)
class TableAudit:
    """One audit of one table.

    Attributes:
        table: the table's entry.
        watermark: both tiers were compared up to here.
        held_since: the moment (UTC) from which on ClickHouse must still hold every row; None if there is no such bound.
        snapshot_id: the Iceberg snapshot that was read; None for a table without one.
        source_uuid: the ClickHouse table's UUID.
        audited_at: ClickHouse's clock when the audit began (UTC).
        seconds: how long it took.
        windows: in order of time; empty if there is nothing to compare.
    """

    table: TableConfig
    watermark: Cursor
    held_since: datetime | None
    snapshot_id: int | None
    source_uuid: str
    audited_at: datetime
    seconds: float
    windows: tuple[WindowAudit, ...]

    @property
    def finding(self) -> Finding:
        """The worst finding of all windows."""
        order = list(Finding)
        return max((audited.finding for audited in self.windows), key=order.index, default=Finding.EQUAL)

    @property
    def is_equal(self) -> bool:
        """Whether both tiers agree in every window."""
        return self.finding is Finding.EQUAL

    @property
    def differing(self) -> tuple[WindowAudit, ...]:
        """The windows in which the tiers differ."""
        return tuple(audited for audited in self.windows if audited.finding is not Finding.EQUAL)

    @property
    def total(self) -> Differences:
        """The differences of all windows."""
        return sum((audited.differences for audited in self.windows), NO_DIFFERENCE)

    @property
    def late_rows(self) -> int:
        """Rows that arrived late (candles: or were changed late), except in windows where Iceberg lost rows."""
        return sum(
            audited.differences.missing + (audited.differences.changed if self._is_upsert else 0)
            for audited in self.windows
            if audited.finding is not Finding.LOST
        )

    @property
    def to_repair(self) -> tuple[Interval, ...]:
        """The intervals for a run in mode `repair`, adjacent ones merged. Lost windows are not among them.

        Lost windows are left to the operator, who first has to find out why their rows are gone.
        """
        return merge_intervals(
            audited.window
            for audited in self.windows
            if audited.finding is not Finding.LOST
            and (audited.differences.missing or (self._is_upsert and audited.differences.changed))
        )

    @property
    def loss(self) -> ColdRowsLost | None:
        """The error that halts the table; None if nothing was lost."""
        lost = [audited for audited in self.windows if audited.finding is Finding.LOST]
        if not lost:
            return None
        name = self.table.name
        return ColdRowsLost(
            " ".join(audited.explanation for audited in lost),
            "Find out why they are gone (the table's `snapshots` metadata table, the file store's log). "
            f"Restore the snapshot or the files, or let `offload repair {name}` insert what ClickHouse still holds. "
            f"Then run `offload resume {name}`.",
        )

    @property
    def _is_upsert(self) -> bool:
        return self.table.write_mode is WriteMode.UPSERT


def merge_intervals(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Intervals in order of time, with those merged that overlap or are adjacent."""
    merged: list[Interval] = []
    for interval in sorted(intervals, key=lambda interval: interval.start):
        if merged and interval.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return tuple(merged)
