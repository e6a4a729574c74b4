"""The decisions of an Iceberg table's maintenance, and the stats that measure it; knows neither Spark nor a server.

A partition is closed when no run will write to it any more: it ends before the watermark by more than the time that
runs read again. Only closed partitions are compacted, and only if fewer files result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta

from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig, WriteMode
from offload_core.protocol.partition import Partition

MEGABYTE = 1024 * 1024
MORE_MANIFESTS = 10
"""A table may have this many more manifests than wanted before they are rewritten."""
SMALL = 0.75
"""A file below this share of the target size is small; Iceberg's planner uses the same share."""


@dataclass(frozen=True)
class PartitionFiles:
    """The data files of one partition.

    Attributes:
        start: its start (UTC).
        files, bytes: all data files.
        small_files, small_bytes: files that are well below the target size.
        delete_files: delete files of other writers; the offload writes none.
    """

    start: datetime
    files: int
    bytes: int
    small_files: int
    small_bytes: int
    delete_files: int = 0


@dataclass(frozen=True)
class TableStats:
    """The stats of a table that determine what it costs its readers.

    Attributes:
        data_files, bytes, delete_files, manifests: those of the current snapshot.
        small_files: data files that are well below the target size.
        snapshots, metadata_files: snapshots and `metadata.json` files that the table keeps.
        planning_milliseconds: time to plan a typical read: one symbol, one hour of the newest full day.
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
        """The stats by their names."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, float]) -> TableStats:
        """The stats of `to_json`; those that an older version did not record are 0."""
        return cls(**{field.name: values.get(field.name, 0) for field in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class MaintenanceStep:
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

    Rewriting is worth it if it leaves fewer files, so that the next day finds nothing to do. Partitions with delete
    files of other writers are left alone: until those are gone, rewritten rows would look like lost ones.
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
    """Partitions in batches of one commit each, which limit memory and the cost of a conflict."""
    batch: list[PartitionFiles] = []
    for files in partitions:
        if batch and sum(other.small_bytes for other in batch) + files.small_bytes > batch_bytes:
            yield batch
            batch = []
        batch.append(files)
    if batch:
        yield batch


def manifests_wanted(files: int, partitions: int) -> int:
    """Over how many manifests, sorted by partition, a table's files should be spread so that planning the read of a day
    is quick.

    A plan reads the list of manifests and those manifests whose partitions match. For pyiceberg, an entry of a manifest
    costs about twice as much as a line of the list (20 and 10 µs), so `manifests + 2 * files / manifests` should be
    least, which it is at `sqrt(2 * files)`. Otherwise all entries of a small table would be in one manifest, and every
    plan would read all.
    """
    return max(1, min(math.ceil(math.sqrt(2 * files)), partitions))


def manifests_are_due(manifests: int, wanted: int) -> bool:
    """Whether rewriting is worth it: commits have added many manifests, or a few large ones hold most entries."""
    return manifests > wanted + MORE_MANIFESTS or manifests * 3 < wanted


def sort_columns(table: TableConfig) -> tuple[str, ...]:
    """The columns by which compacted files are sorted: `sort_by`, or else the keys; the time comes last."""
    names = table.sort_by or table.keys
    return (*(name for name in names if name != table.timestamp_col), table.timestamp_col)


def stats_lines(titles: Sequence[str], stats: Sequence[TableStats]) -> list[str]:
    """Stats of several moments side by side, as lines of a table for the log."""
    lines = ["".join([f"{'':24}", *(f"{title:>16}" for title in titles)])]
    for name in stats[0].to_json():
        values = (f"{moment.to_json()[name]:>16,}" for moment in stats)
        lines.append("".join([f"{name.replace('_', ' '):24}", *values]))
    return lines


def step_lines(steps: Sequence[MaintenanceStep]) -> list[str]:
    """The result of each step, as lines of a table for the log."""
    lines = [f"{'step':24}{'dealt with':>16}{'seconds':>16}"]
    return lines + [f"{step.name:24}{step.done:>16,}{step.seconds:>16.2f}" for step in steps]
