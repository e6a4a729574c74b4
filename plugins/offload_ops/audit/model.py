"""What an audit says: per table and window both tiers' counts and hashes, and what their difference means."""

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
    """What a window's comparison means, from harmless to worst."""

    EQUAL = "equal"
    """Both tiers hold the same rows."""
    LATE = "late"
    """ClickHouse holds rows that Iceberg never had: they arrived after their window had been offloaded. A repair inserts them."""
    CHANGED = "changed"
    """A row of the same key has other values. Candles: late trades changed them, a repair merges them. Append tables: somebody changed
    one tier, and an operator decides (`offload restate`)."""
    SURPLUS = "surplus"
    """Iceberg holds rows that ClickHouse should still have and hasn't, or rows more than once. An operator decides."""
    LOST = "lost"
    """Iceberg lacks rows that it had, or data that it names can't be read. The table has to stop (R66)."""


class ColdSource(str, Enum):
    """Where Iceberg's figures of a window come from."""

    METADATA = "metadata"
    """The manifests: no file may hold a row of the window, or its files can't be read."""
    STORED = "stored"
    """An earlier audit of the very same files, all of which are still there."""
    DATA = "data"
    """The files themselves."""


@dataclass(frozen=True)
class Differences:
    """How many rows two sets of rows differ in, by key.

    Attributes:
        missing: rows that ClickHouse holds and Iceberg lacks.
        surplus: rows that Iceberg holds and ClickHouse lacks.
        changed: rows that both hold, with other values.
        duplicates: rows that Iceberg holds once more than it should.
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
        differences: in how many rows the tiers differ.
        unreadable: files of Iceberg's that are missing or broken.
        explanation: the finding in a sentence; empty for `equal`.
        fingerprint: identifies files, bounds and projection behind `cold`.
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
        watermark: up to where both tiers were compared.
        held_since: the moment (UTC) from which on ClickHouse still has to hold every row; None if it has no such bound.
        snapshot_id: the Iceberg snapshot that was looked at; None for a table without one.
        source_uuid: the ClickHouse table's UUID.
        audited_at: ClickHouse's clock when the audit began (UTC).
        seconds: how long it took.
        windows: in order of time; empty if there is nothing that both tiers must hold.
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
        """Rows that came late (candles: or were changed late); not those of windows where Iceberg lost some."""
        return sum(
            audited.differences.missing + (audited.differences.changed if self._is_upsert else 0)
            for audited in self.windows
            if audited.finding is not Finding.LOST
        )

    @property
    def to_repair(self) -> tuple[Interval, ...]:
        """The intervals that a run in mode `repair` brings up to date, neighbours joined; none where rows were lost.

        A lost window is left to the operator, who finds out first what took its rows.
        """
        return joined(
            audited.window
            for audited in self.windows
            if audited.finding is not Finding.LOST
            and (audited.differences.missing or (self._is_upsert and audited.differences.changed))
        )

    @property
    def loss(self) -> ColdRowsLost | None:
        """The error to halt the table with, None if nothing was lost."""
        lost = [audited for audited in self.windows if audited.finding is Finding.LOST]
        if not lost:
            return None
        name = self.table.name
        return ColdRowsLost(
            " ".join(audited.explanation for audited in lost),
            "Find out what took them (the table's `snapshots` metadata table, the file store's log); bring the snapshot or the files "
            f"back, or let `offload repair {name}` insert again what ClickHouse still holds; then run `offload resume {name}`.",
        )

    @property
    def _is_upsert(self) -> bool:
        return self.table.write_mode is WriteMode.UPSERT


def joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Intervals in order of time with those that meet made one."""
    found: list[Interval] = []
    for interval in sorted(intervals, key=lambda interval: interval.start):
        if found and interval.start <= found[-1].end:
            found[-1] = Interval(found[-1].start, max(found[-1].end, interval.end))
        else:
            found.append(interval)
    return tuple(found)
