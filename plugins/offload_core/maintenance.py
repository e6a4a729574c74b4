"""What the upkeep of an Iceberg table is decided by and measured in; knows neither Spark nor a server.

A partition is closed when no run will write to it any more: its end lies before the watermark by more than what runs read again. Only
closed partitions are compacted, and only where fewer files come out than go in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta, timezone

from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig, WriteMode
from offload_core.protocol.window import Partition

MEGABYTE = 1024 * 1024
MORE_MANIFESTS = 10
"""So many more manifests than wanted are left alone."""
SMALL = 0.75
"""A file below this share of the target size is a small one; Iceberg's own planner draws the line there too."""


@dataclass(frozen=True)
class PartitionFiles:
    """The data files of one partition.

    Attributes:
        start: its start (UTC).
        files, bytes: all of them.
        small_files, small_bytes: those that are well below the target size.
        delete_files: delete files of somebody else's; the offload writes none.
    """

    start: datetime
    files: int
    bytes: int
    small_files: int
    small_bytes: int
    delete_files: int = 0


@dataclass(frozen=True)
class Figures:
    """What a table costs its readers.

    Attributes:
        data_files, bytes: of the current snapshot.
        small_files: data files that are well below the target size.
        delete_files: of the current snapshot.
        snapshots: that the table keeps.
        manifests: of the current snapshot.
        metadata_files: `metadata.json` files that the table keeps.
        planning_milliseconds: planning a typical read: one symbol, one hour of the newest full day.
        planned_files: how many files that read opens.
    """

    data_files: int
    bytes: int
    small_files: int
    delete_files: int
    snapshots: int
    manifests: int
    metadata_files: int
    planning_milliseconds: float
    planned_files: int

    def to_json(self) -> dict[str, float]:
        """The figures by their names."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, float]) -> Figures:
        """The figures of `to_json`; those that an older version did not know are 0."""
        return cls(**{field.name: values.get(field.name, 0) for field in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Step:
    """One step of a table's maintenance.

    Attributes:
        name: `branches`, `compaction`, `manifests`, `snapshots`, `orphans` or `properties`.
        done: how many branches, files, manifests, snapshots or properties it dealt with.
        seconds: how long it took.
    """

    name: str
    done: int
    seconds: float


def closed_before(table: TableConfig, settings: Settings, watermark: datetime, now: datetime) -> datetime:
    """The moment (UTC) up to which partitions must have ended to be closed.

    Args:
        table, settings: the table's entry and the settings.
        watermark: timestamp of the table's watermark (UTC).
        now: the present (UTC); rows from the future must not close its partitions.
    """
    again = timedelta(minutes=settings.buffer_minutes)
    if table.write_mode is WriteMode.UPSERT:
        again = max(again, timedelta(minutes=table.lookback_minutes))
    return min(watermark, now) - again


def due(
    partitions: Iterable[PartitionFiles], partition: Partition, closed: datetime, target_bytes: int
) -> list[PartitionFiles]:
    """The partitions that are closed and whose small files are worth rewriting, oldest first.

    Worth it is what leaves fewer files than there were, so that the next day finds nothing to do. Partitions with somebody else's delete
    files are left alone: until those are gone, rewritten rows would look like lost ones.
    """
    found = [
        files
        for files in partitions
        if partition.next(files.start) <= closed
        and files.delete_files == 0
        and files.small_files > 1
        and files.small_files > math.ceil(files.small_bytes / target_bytes)
    ]
    return sorted(found, key=lambda files: files.start)


def batches(partitions: Sequence[PartitionFiles], batch_bytes: int) -> Iterator[list[PartitionFiles]]:
    """Partitions in the portions that one commit rewrites: so that neither memory nor a conflict costs more than one of them."""
    batch: list[PartitionFiles] = []
    for files in partitions:
        if batch and sum(other.small_bytes for other in batch) + files.small_bytes > batch_bytes:
            yield batch
            batch = []
        batch.append(files)
    if batch:
        yield batch


def manifests_wanted(files: int, partitions: int) -> int:
    """Over how many manifests, sorted by partition, a table's files are spread so that planning the read of a day stays quick.

    A plan reads the list of manifests and those whose partitions match. To pyiceberg an entry of a manifest costs about twice what a
    line of the list does (20 and 10 µs), so `manifests + 2 * files / manifests` is to be least: at `sqrt(2 * files)`. Without it, all
    entries of a small table would lie in one manifest, and every plan would read all of them.
    """
    return max(1, min(math.ceil(math.sqrt(2 * files)), partitions))


def manifests_are_due(manifests: int, wanted: int) -> bool:
    """Whether rewriting is worth it: commits have added many, or a few large ones hold most."""
    return manifests > wanted + MORE_MANIFESTS or manifests * 3 < wanted


def sort_columns(table: TableConfig) -> tuple[str, ...]:
    """The columns that compacted files are sorted by within each hour: the entry's `sort_by`, else its keys; the time comes last."""
    names = table.sort_by or table.keys
    return (*(name for name in names if name != table.timestamp_col), table.timestamp_col)


def partition_start(partition: Partition, value: object) -> datetime:
    """The start (UTC) of the partition with this value in Iceberg's metadata: a date for days, else periods since 1970."""
    if partition is Partition.DAY:
        return datetime.fromisoformat(str(value)).replace(tzinfo=timezone.utc)
    number = int(str(value))
    if partition is Partition.HOUR:
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(hours=number)
    if partition is Partition.MONTH:
        return datetime(1970 + number // 12, number % 12 + 1, 1, tzinfo=timezone.utc)
    return datetime(1970 + number, 1, 1, tzinfo=timezone.utc)


def figure_lines(titles: Sequence[str], figures: Sequence[Figures]) -> list[str]:
    """Figures of several moments beside each other, as lines of a table for the log."""
    lines = ["".join([f"{'':24}", *(f"{title:>16}" for title in titles)])]
    for name in figures[0].to_json():
        values = (f"{moment.to_json()[name]:>16,}" for moment in figures)
        lines.append("".join([f"{name.replace('_', ' '):24}", *values]))
    return lines


def step_lines(steps: Sequence[Step]) -> list[str]:
    """What each step came to, as lines of a table for the log."""
    lines = [f"{'step':24}{'dealt with':>16}{'seconds':>16}"]
    return lines + [f"{step.name:24}{step.done:>16,}{step.seconds:>16.2f}" for step in steps]
