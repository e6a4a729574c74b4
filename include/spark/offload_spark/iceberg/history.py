"""The history of `main` since this pipeline's newest commit: its marker, and the partitions that have lost rows.

Everything is read from metadata; no data file is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from offload_core.errors import WatermarkInvalid
from offload_core.ledger.reconcile import ColdState
from offload_core.protocol.marker import PREFIX, Marker
from offload_spark.runtime.jvm import JavaObject

_ROWS_BY_FILE = {"addedDataFiles": 1, "removedDataFiles": -1, "addedDeleteFiles": -1, "removedDeleteFiles": 1}
"""How a snapshot's files change the number of rows; a delete file removes the rows that it lists."""


def cold_state(table: JavaObject, pipeline: str) -> ColdState:
    """Walk the ancestors of `main`, past compactions and foreign commits, to this pipeline's newest marker.

    Args:
        table: Iceberg's table, freshly loaded or refreshed.
        pipeline: pipeline id.
    """
    snapshot = table.currentSnapshot()
    records = live_rows(snapshot.summary()) if snapshot is not None else 0
    since: list[JavaObject] = []
    parent = None
    while snapshot is not None:
        summary = dict(snapshot.summary())
        if summary.get(f"{PREFIX}pipeline") == pipeline:
            marker, unreadable = _read_marker(summary, pipeline)
            return ColdState(
                marker,
                snapshot.snapshotId(),
                live_rows(summary),
                records,
                _lost_rows(table, since),
                unreadable=unreadable,
            )
        since.append(snapshot)
        parent = snapshot.parentId()
        snapshot = table.snapshot(parent) if parent is not None else None
    return ColdState(None, None, None, records, is_cut=parent is not None)


def live_rows(summary: Mapping[str, str]) -> int:
    """How many rows a snapshot holds according to its summary; each entry of a delete file counts as one row less."""
    deleted = _number(summary, "total-position-deletes") + _number(summary, "total-equality-deletes")
    return _number(summary, "total-records") - deleted


def _read_marker(summary: Mapping[str, str], pipeline: str) -> tuple[Marker | None, str | None]:
    try:
        return Marker.from_summary(summary, pipeline), None
    except WatermarkInvalid as error:
        return None, error.problem


def _lost_rows(table: JavaObject, since: Sequence[JavaObject]) -> dict[str, int]:
    """How many rows each partition has lost through the given snapshots, by the partition's value."""
    if not any(_may_remove(snapshot) for snapshot in since):
        return {}
    changes: Counter[str] = Counter()
    specs, io = table.specs(), table.io()
    for snapshot in since:
        for method, sign in _ROWS_BY_FILE.items():
            for file in _files(getattr(snapshot, method)(io)):
                path = str(specs.get(file.specId()).partitionToPath(file.partition()))
                changes[_partition_value(path)] += sign * file.recordCount()
    return {partition: -rows for partition, rows in sorted(changes.items()) if rows < 0}


def _may_remove(snapshot: JavaObject) -> bool:
    """Whether a commit may have removed rows from a partition; a compaction adds as many rows as it removes."""
    operation, summary = snapshot.operation(), snapshot.summary()
    if operation == "replace":
        return _number(summary, "deleted-records") != _number(summary, "added-records")
    return bool(operation != "append")


def _files(files: JavaObject) -> Iterator[JavaObject]:
    iterator = files.iterator()
    while iterator.hasNext():
        yield iterator.next()


def _partition_value(path: str) -> str:
    """`2026-11-18` of `happened_day=2026-11-18`; a path of several fields stays as it is."""
    if not path:
        return "the whole table"
    return path if "/" in path else path.partition("=")[2]


def _number(summary: Mapping[str, str], key: str) -> int:
    return int(summary.get(key) or 0)
