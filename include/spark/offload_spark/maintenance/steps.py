"""The steps of a table's maintenance. Each step plans with the table's current state and does only what is due."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from offload_core.errors import WaitForOtherRun
from offload_core.ledger.ledger import Ledger
from offload_core.maintenance import (
    MEGABYTE,
    PartitionFiles,
    batches,
    due,
    manifests_are_due,
    manifests_wanted,
    sort_columns,
)
from offload_core.protocol.marker import PREFIX
from offload_core.protocol.window import to_micros
from offload_spark.iceberg.branch import BRANCH_PREFIX
from offload_spark.iceberg.catalog import TABLE_PROPERTIES
from offload_spark.iceberg.errors import iceberg_errors, spark_errors
from offload_spark.maintenance.stats import MaintenanceTarget, partition_files, small_below
from offload_spark.runtime.jvm import JavaObject
from offload_spark.runtime.spark_sql import quote, text_literal, timestamp_literal

log = logging.getLogger("offload")

PROPERTIES = {
    **{key: value for key, value in TABLE_PROPERTIES.items() if key.startswith("write.metadata.")},
    # Readers skip row groups by their bounds, so a day in one file can still be read by hour and symbol (ADR 0014).
    "write.parquet.row-group-size-bytes": str(8 * MEGABYTE),
}
"""Set on every table that does not have them."""

_MANIFEST_BYTES = "commit.manifest.target-size-bytes"
_SAVED_MANIFEST_BYTES = f"offload.held.{_MANIFEST_BYTES}"
"""Holds the value of the property above while a maintenance changes it; empty if it was not set."""


class MaintenanceRunner:
    """One table and the steps of its maintenance.

    Args:
        target: the table.
        ledger: the ledger, whose lock tells living attempts from dead ones.
        closed: partitions that end at or before this moment (UTC) are closed.
        now: the present (UTC).
    """

    def __init__(self, target: MaintenanceTarget, ledger: Ledger, *, closed: datetime, now: datetime) -> None:
        self.target = target
        self._ledger = ledger
        self._closed = closed
        self._now = now

    def drop_dead_branches(self) -> int:
        """Drop the branches of dead attempts, so that their snapshots and files can be removed. Returns their count.

        A branch has the age of the snapshot that it starts at, so age does not identify dead attempts. The table's lock
        does, because every living attempt holds it.
        """
        config = self.target.config
        if not self._attempt_branches():
            return 0
        try:
            with self._ledger.locked(config.name, self.target.settings.lock_wait_seconds):
                branches = self._attempt_branches()
                with iceberg_errors(f"dropping branches of {config.target}"):
                    update = self.target.table.manageSnapshots()
                    for name in branches:
                        update = update.removeBranch(name)
                    if branches:
                        update.commit()
                return len(branches)
        except WaitForOtherRun:
            log.info("An offload is running; it drops the branches of dead attempts itself.")
            return 0

    def _attempt_branches(self) -> list[str]:
        with iceberg_errors(f"reading the branches of {self.target.config.target}"):
            self.target.table.refresh()
            return [name for name in self.target.table.refs().keySet() if name.startswith(BRANCH_PREFIX)]

    def set_properties(self) -> int:
        """Set the properties that keep a table small if they are missing. Returns how many were set."""
        with iceberg_errors(f"setting properties of {self.target.config.target}"):
            self.target.table.refresh()
            properties = self.target.table.properties()
            missing = {key: value for key, value in PROPERTIES.items() if not properties.containsKey(key)}
            update = self.target.table.updateProperties()
            for key, value in missing.items():
                update = update.set(key, value)
            if missing:
                update.commit()
        return len(missing)

    def due(self) -> list[PartitionFiles]:
        """The closed partitions whose small files are worth rewriting, oldest first."""
        config, settings = self.target.config, self.target.settings
        with iceberg_errors(f"reading {config.target}"):
            self.target.table.refresh()
            if self.target.table.currentSnapshot() is None:
                return []
        partitions = partition_files(self.target)
        foreign = sum(files.delete_files for files in partitions)
        if foreign:
            log.warning(
                "Others have written %d delete files. Their partitions are not compacted. Apply the deletes first, for "
                "example with Spark's rewrite_data_files and delete-file-threshold 1 while the table is switched off.",
                foreign,
            )
        return due(partitions, config.partition, self._closed, settings.compaction_target_mb * MEGABYTE)

    def compact(self) -> int:
        """Rewrite the small files of closed partitions into few sorted ones. Returns how many files were replaced."""
        config, settings = self.target.config, self.target.settings
        rewritten = 0
        for batch in batches(self.due(), settings.compaction_batch_mb * MEGABYTE):
            result = self._call(
                "rewrite_data_files",
                "strategy => 'sort'",
                f"sort_order => {text_literal(self._sort_order())}",
                f"where => {text_literal(' OR '.join(self._ranges(batch)))}",
                f"options => map({', '.join(self._rewrite_options())})",
            )
            count, added = result[0]["rewritten_data_files_count"], result[0]["added_data_files_count"]
            first, last = (config.partition.path_value(files.start) for files in (batch[0], batch[-1]))
            log.info("Compacted %s to %s: %d files became %d", first, last, count, added)
            rewritten += count
        return rewritten

    def _sort_order(self) -> str:
        time = quote(self.target.config.timestamp_col)
        return ", ".join(
            f"{term} ASC NULLS LAST" for term in (f"hours({time})", *map(quote, sort_columns(self.target.config)))
        )

    def _ranges(self, partitions: Sequence[PartitionFiles]) -> Iterator[str]:
        """Conditions that select exactly these partitions; adjacent partitions share one."""
        column, partition = quote(self.target.config.timestamp_col), self.target.config.partition
        starts = [files.start for files in partitions]
        first = starts[0]
        for start, following in zip(starts, [*starts[1:], None], strict=True):
            end = partition.next(start)
            if following != end:
                yield f"({column} >= {timestamp_literal(first)} AND {column} < {timestamp_literal(end)})"
                first = following or end

    def _rewrite_options(self) -> Iterator[str]:
        options = {
            "target-file-size-bytes": self.target.settings.compaction_target_mb * MEGABYTE,
            "min-file-size-bytes": small_below(self.target.settings),
            "min-input-files": 2,
        }
        return (f"'{key}', '{value}'" for key, value in options.items())

    def rewrite_manifests(self) -> int:
        """Rewrite the manifests, sorted by partition, into the number with the quickest planning.

        Returns:
            How many manifests were replaced.
        """
        with iceberg_errors(f"reading the manifests of {self.target.config.target}"):
            self.target.table.refresh()
            snapshot = self.target.table.currentSnapshot()
            manifests = list(snapshot.dataManifests(self.target.table.io())) if snapshot is not None else []
            sizes = [int(manifest.length()) for manifest in manifests]
            files = sum(int(manifest.addedFilesCount() + manifest.existingFilesCount()) for manifest in manifests)
        self._restore_manifest_size()  # a maintenance that was killed may have left its own size
        wanted = manifests_wanted(files, len(partition_files(self.target)) if sizes else 0)
        if not manifests_are_due(len(sizes), wanted):
            return 0
        self._set_manifest_size(math.ceil(sum(sizes) / wanted))
        try:
            return int(self._call("rewrite_manifests", "use_caching => false")[0]["rewritten_manifests_count"])
        finally:
            self._restore_manifest_size()

    def _set_manifest_size(self, size: int) -> None:
        """Let Iceberg write manifests of this size (bytes), which only a table property can set.

        The same commit saves the property's value in another one, so that it can be restored even if this process dies.
        """
        saved = self.target.table.properties().get(_MANIFEST_BYTES) or ""
        pairs = {_MANIFEST_BYTES: str(size), _SAVED_MANIFEST_BYTES: saved}
        values = ", ".join(f"{text_literal(key)} = {text_literal(value)}" for key, value in pairs.items())
        with spark_errors(f"setting the size of manifests of {self.target.config.target}"):
            self.target.session.sql(f"ALTER TABLE {self.target.name} SET TBLPROPERTIES ({values})")

    def _restore_manifest_size(self) -> None:
        with iceberg_errors(f"setting the size of manifests of {self.target.config.target}"):
            self.target.table.refresh()
            saved = self.target.table.properties().get(_SAVED_MANIFEST_BYTES)
            if saved is None:
                return
            update = self.target.table.updateProperties().remove(_SAVED_MANIFEST_BYTES)
            (update.set(_MANIFEST_BYTES, saved) if saved else update.remove(_MANIFEST_BYTES)).commit()

    def expire_snapshots(self) -> int:
        """Expire old snapshots, and delete the files that only they refer to. Returns how many snapshots expired.

        The snapshot with this pipeline's newest marker stays, and so do all newer ones on `main`, because the next run
        needs them. Iceberg itself keeps what branches and tags refer to, including the branches of living attempts.
        """
        target, settings = self.target, self.target.settings
        with iceberg_errors(f"expiring snapshots of {target.config.target}"):
            target.table.refresh()
            needed = _oldest_needed(target.table, settings.pipeline_id)
            if needed is None or not self._may_delete():
                return 0
            before = len(target.table.operations().current().snapshots())
            old = to_micros(self._now - timedelta(hours=settings.snapshot_age_hours)) // 1000
            expiry = target.table.expireSnapshots().expireOlderThan(min(old, needed))
            expiry.retainLast(settings.snapshots_to_keep).commit()
            target.table.refresh()
            return max(0, before - len(target.table.operations().current().snapshots()))

    def delete_orphans(self) -> int:
        """Delete files that no snapshot refers to and that are older than the longest write. Returns their count."""
        settings = self.target.settings
        if not self._may_delete():
            return 0
        moment = self._now - timedelta(hours=settings.orphan_age_hours)
        with iceberg_errors(f"reading {self.target.config.target}"):
            location = str(self.target.table.location())
        # Hadoop lists its own file systems; Iceberg's own client lists an object store.
        by_prefix = not location.startswith(("/", "file:", "hdfs:", "s3a:"))
        arguments = [f"older_than => {timestamp_literal(moment)}", *(["prefix_listing => true"] if by_prefix else [])]
        deleted = [row["orphan_file_location"] for row in self._call("remove_orphan_files", *arguments)]
        for file in deleted[:20]:
            log.info("Deleted the orphan %s", file)
        if len(deleted) > 20:
            log.info("… and %d more", len(deleted) - 20)
        return len(deleted)

    def _may_delete(self) -> bool:
        """Whether files of the table may be deleted; `gc.enabled` is off if several tables share them."""
        if str(self.target.table.properties().get("gc.enabled")).lower() != "false":
            return True
        log.info("gc.enabled is false: neither snapshots nor orphan files are deleted.")
        return False

    def _call(self, procedure: str, *arguments: str) -> list[dict[str, Any]]:
        catalog = quote(self.target.catalog)
        listed = ", ".join([f"table => {text_literal(self.target.name)}", *arguments])
        with spark_errors(f"running {procedure} on {self.target.config.target}"):
            rows = self.target.session.sql(f"CALL {catalog}.system.{procedure}({listed})").collect()
        return [row.asDict() for row in rows]


def _oldest_needed(table: JavaObject, pipeline: str) -> int | None:
    """The least timestamp of the snapshot with the newest marker and of all newer ones on `main`.

    Returns:
        Milliseconds since 1970 (UTC); None without a marker.
    """
    snapshot, times = table.currentSnapshot(), []
    while snapshot is not None:
        times.append(int(snapshot.timestampMillis()))
        if snapshot.summary().get(f"{PREFIX}pipeline") == pipeline:
            # Clocks differ, so a later snapshot may have an earlier timestamp.
            return min(times)
        parent = snapshot.parentId()
        snapshot = table.snapshot(parent) if parent is not None else None
    return None
