"""The steps of a table's upkeep. Each decides by the table as it is now, and does nothing where nothing is to be gained."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
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
from offload_core.source.queries import format_time
from offload_spark.iceberg.catalog import TABLE_PROPERTIES, iceberg_errors
from offload_spark.iceberg.table import BRANCH_PREFIX
from offload_spark.maintenance.stats import Place, partition_files, small_below
from offload_spark.runtime.jvm import JavaObject
from offload_spark.write.merge import quote, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("offload")

PROPERTIES = {
    **{key: value for key, value in TABLE_PROPERTIES.items() if key.startswith("write.metadata.")},
    # A day in one file is still read hour by hour, and symbol by symbol: readers skip row groups by their bounds (ADR 0014).
    "write.parquet.row-group-size-bytes": str(8 * MEGABYTE),
}
"""Put on every table that doesn't say otherwise itself."""

_MANIFEST_BYTES = "commit.manifest.target-size-bytes"
_HELD_MANIFEST_BYTES = f"offload.held.{_MANIFEST_BYTES}"
"""What the property above was before a maintenance changed it for a while; empty: it was not set."""


class Upkeep:
    """One table and the steps of its maintenance.

    Args:
        jvm, table: the launcher's JVM and Iceberg's table in it.
        session, catalog: a Spark session and what the catalog is called in it.
        config, settings: the table's entry and the settings.
        ledger: whose lock tells living attempts from dead ones.
        closed: partitions that have ended by then (UTC) are closed.
        now: the present (UTC).
    """

    def __init__(
        self,
        jvm: JavaObject,
        table: JavaObject,
        session: SparkSession,
        catalog: str,
        config: TableConfig,
        settings: Settings,
        ledger: Ledger,
        closed: datetime,
        now: datetime,
    ) -> None:
        names = [catalog, *config.target.split(".")]
        self.place = Place(jvm, table, session, ".".join(map(quote, names)), config, settings)
        self._catalog = quote(catalog)
        self._ledger = ledger
        self._closed = closed
        self._now = now

    def drop_dead_branches(self) -> int:
        """Drop the branches of attempts that died, so that their snapshots and files can go; how many.

        Age does not tell a dead one: a branch is as old as the snapshot it was made from. The table's lock does, because every living
        attempt holds it.
        """
        config = self.place.config
        if not self._attempts_branches():
            return 0
        try:
            with self._ledger.locked(config.name, self.place.settings.lock_wait_seconds):
                branches = self._attempts_branches()
                with iceberg_errors(f"dropping branches of {config.target}"):
                    update = self.place.table.manageSnapshots()
                    for name in branches:
                        update = update.removeBranch(name)
                    if branches:
                        update.commit()
                return len(branches)
        except WaitForOtherRun:
            log.info("An offload is at work, which drops the branches of dead attempts itself.")
            return 0

    def _attempts_branches(self) -> list[str]:
        with iceberg_errors(f"reading the branches of {self.place.config.target}"):
            self.place.table.refresh()
            return [name for name in self.place.table.refs().keySet() if name.startswith(BRANCH_PREFIX)]

    def set_properties(self) -> int:
        """Put the properties that keep a table small on tables that lack them; how many."""
        with iceberg_errors(f"setting properties of {self.place.config.target}"):
            self.place.table.refresh()
            held = self.place.table.properties()
            missing = {key: value for key, value in PROPERTIES.items() if not held.containsKey(key)}
            update = self.place.table.updateProperties()
            for key, value in missing.items():
                update = update.set(key, value)
            if missing:
                update.commit()
        return len(missing)

    def due(self) -> list[PartitionFiles]:
        """The closed partitions whose small files are worth rewriting, oldest first."""
        config, settings = self.place.config, self.place.settings
        with iceberg_errors(f"reading {config.target}"):
            self.place.table.refresh()
            if self.place.table.currentSnapshot() is None:
                return []
        partitions = partition_files(self.place)
        foreign = sum(files.delete_files for files in partitions)
        if foreign:
            log.warning(
                "%d delete files were written by others. Their partitions are not compacted: apply the deletes first, for example with "
                "Spark's rewrite_data_files and delete-file-threshold 1 while the table's offload is switched off.",
                foreign,
            )
        return due(partitions, config.partition, self._closed, settings.compaction_target_mb * MEGABYTE)

    def compact(self) -> int:
        """Rewrite the small files of closed partitions into few sorted ones; how many went."""
        config, settings = self.place.config, self.place.settings
        rewritten = 0
        for batch in batches(self.due(), settings.compaction_batch_mb * MEGABYTE):
            result = self._call(
                "rewrite_data_files",
                "strategy => 'sort'",
                f"sort_order => {_text(self._sort_order())}",
                f"where => {_text(' OR '.join(self._ranges(batch)))}",
                f"options => map({', '.join(self._rewrite_options())})",
            )
            count, added = result[0]["rewritten_data_files_count"], result[0]["added_data_files_count"]
            first, last = (config.partition.path_value(files.start) for files in (batch[0], batch[-1]))
            log.info("Compacted %s to %s: %d files became %d", first, last, count, added)
            rewritten += count
        return rewritten

    def _sort_order(self) -> str:
        time = quote(self.place.config.timestamp_col)
        return ", ".join(
            f"{term} ASC NULLS LAST" for term in (f"hours({time})", *map(quote, sort_columns(self.place.config)))
        )

    def _ranges(self, partitions: Sequence[PartitionFiles]) -> Iterator[str]:
        """Conditions that name exactly these partitions; neighbours share one."""
        column, partition = quote(self.place.config.timestamp_col), self.place.config.partition
        starts = [files.start for files in partitions]
        first = starts[0]
        for start, following in zip(starts, [*starts[1:], None], strict=True):
            end = partition.next(start)
            if following != end:
                yield f"({column} >= {_moment(first)} AND {column} < {_moment(end)})"
                first = following or end

    def _rewrite_options(self) -> Iterator[str]:
        options = {
            "target-file-size-bytes": self.place.settings.compaction_target_mb * MEGABYTE,
            "min-file-size-bytes": small_below(self.place.settings),
            "min-input-files": 2,
        }
        return (f"'{key}', '{value}'" for key, value in options.items())

    def rewrite_manifests(self) -> int:
        """Rewrite the manifests into as many as planning is quickest with, sorted by partition; how many went."""
        with iceberg_errors(f"reading the manifests of {self.place.config.target}"):
            self.place.table.refresh()
            snapshot = self.place.table.currentSnapshot()
            manifests = list(snapshot.dataManifests(self.place.table.io())) if snapshot is not None else []
            sizes = [int(manifest.length()) for manifest in manifests]
            files = sum(int(manifest.addedFilesCount() + manifest.existingFilesCount()) for manifest in manifests)
        self._restore_manifest_size()  # a maintenance that was killed may have left its own
        wanted = manifests_wanted(files, len(partition_files(self.place)) if sizes else 0)
        if not manifests_are_due(len(sizes), wanted):
            return 0
        self._set_manifest_size(math.ceil(sum(sizes) / wanted))
        try:
            return int(self._call("rewrite_manifests", "use_caching => false")[0]["rewritten_manifests_count"])
        finally:
            self._restore_manifest_size()

    def _set_manifest_size(self, size: int) -> None:
        """Let Iceberg make manifests of this size (bytes), which it takes from a table property and nowhere else.

        The value that the property had is kept in another one by the same commit: it comes back whatever happens to this process.
        """
        held = self.place.table.properties().get(_MANIFEST_BYTES) or ""
        pairs = {_MANIFEST_BYTES: str(size), _HELD_MANIFEST_BYTES: held}
        values = ", ".join(f"{_text(key)} = {_text(value)}" for key, value in pairs.items())
        with spark_errors(f"setting the size of manifests of {self.place.config.target}"):
            self.place.session.sql(f"ALTER TABLE {self.place.name} SET TBLPROPERTIES ({values})")

    def _restore_manifest_size(self) -> None:
        with iceberg_errors(f"setting the size of manifests of {self.place.config.target}"):
            self.place.table.refresh()
            held = self.place.table.properties().get(_HELD_MANIFEST_BYTES)
            if held is None:
                return
            update = self.place.table.updateProperties().remove(_HELD_MANIFEST_BYTES)
            (update.set(_MANIFEST_BYTES, held) if held else update.remove(_MANIFEST_BYTES)).commit()

    def expire_snapshots(self) -> int:
        """Expire old snapshots with the files that only they refer to; how many went.

        The snapshot that carries this pipeline's newest marker stays, and all that are newer than it on `main`: the next run reads its
        place from there. Iceberg itself keeps what branches and tags point to, those of living attempts included.
        """
        place, settings = self.place, self.place.settings
        with iceberg_errors(f"expiring snapshots of {place.config.target}"):
            place.table.refresh()
            needed = _oldest_needed(place.table, settings.pipeline_id)
            if needed is None or not self._may_delete():
                return 0
            before = len(place.table.operations().current().snapshots())
            old = to_micros(self._now - timedelta(hours=settings.snapshot_age_hours)) // 1000
            expiry = place.table.expireSnapshots().expireOlderThan(min(old, needed))
            expiry.retainLast(settings.snapshots_to_keep).commit()
            place.table.refresh()
            return max(0, before - len(place.table.operations().current().snapshots()))

    def delete_orphans(self) -> int:
        """Delete files that no snapshot refers to and that are older than the longest write; how many went."""
        settings = self.place.settings
        if not self._may_delete():
            return 0
        moment = self._now - timedelta(hours=settings.orphan_age_hours)
        with iceberg_errors(f"reading {self.place.config.target}"):
            location = str(self.place.table.location())
        # Hadoop lists its own file systems; an object store is listed by Iceberg's file system for it.
        by_prefix = not location.startswith(("/", "file:", "hdfs:", "s3a:"))
        arguments = [f"older_than => {_moment(moment)}", *(["prefix_listing => true"] if by_prefix else [])]
        deleted = [row["orphan_file_location"] for row in self._call("remove_orphan_files", *arguments)]
        for file in deleted[:20]:
            log.info("Deleted the orphan %s", file)
        if len(deleted) > 20:
            log.info("… and %d more", len(deleted) - 20)
        return len(deleted)

    def _may_delete(self) -> bool:
        """Whether the table lets anybody delete its files: `gc.enabled` is off where several tables share them."""
        if str(self.place.table.properties().get("gc.enabled")).lower() != "false":
            return True
        log.info("gc.enabled is false: neither snapshots nor orphan files are deleted.")
        return False

    def _call(self, procedure: str, *arguments: str) -> list[dict[str, Any]]:
        listed = ", ".join([f"table => {_text(self.place.name)}", *arguments])
        with spark_errors(f"running {procedure} on {self.place.config.target}"):
            rows = self.place.session.sql(f"CALL {self._catalog}.system.{procedure}({listed})").collect()
        return [row.asDict() for row in rows]


def _oldest_needed(table: JavaObject, pipeline: str) -> int | None:
    """The least timestamp (milliseconds) of the snapshot with the newest marker and of those after it on `main`; None without a marker."""
    snapshot, times = table.currentSnapshot(), []
    while snapshot is not None:
        times.append(int(snapshot.timestampMillis()))
        if snapshot.summary().get(f"{PREFIX}pipeline") == pipeline:
            # Clocks differ: a later snapshot may carry an earlier time.
            return min(times)
        parent = snapshot.parentId()
        snapshot = table.snapshot(parent) if parent is not None else None
    return None


def _moment(moment: datetime) -> str:
    return f"TIMESTAMP '{format_time(moment)}'"


def _text(text: str) -> str:
    """A string as a Spark SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
