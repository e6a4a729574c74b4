"""What the parts of one run of one table share."""

from __future__ import annotations

from dataclasses import dataclass

from offload_core.config.connections import Connections
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.ledger import Ledger, LedgerRow, Step
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Cursor, Window
from offload_core.source.projection import Column
from offload_core.source.table import SourceTable
from offload_spark.fetch.clickhouse_source import ClickHouseSource, Slice
from offload_spark.fetch.fetch import Fetching
from offload_spark.iceberg.table import IcebergTable
from offload_spark.write.writer import Published


@dataclass(frozen=True)
class RunContext:
    """One run of one table, under its lock.

    Attributes:
        arguments: what the run was asked for.
        connections: the three servers.
        ledger: the watermarks.
        source, described: the ClickHouse table and what ClickHouse said of it when the run began.
        columns: the projection.
        iceberg: the Iceberg table.
        fetching: who fetches its files.
        attempt_id: unique to this attempt.
    """

    arguments: JobArguments
    connections: Connections
    ledger: Ledger
    source: ClickHouseSource
    described: SourceTable
    columns: list[Column]
    iceberg: IcebergTable
    fetching: Fetching
    attempt_id: str

    @property
    def table(self) -> TableConfig:
        """The table's entry."""
        return self.arguments.table

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self.arguments.settings

    def marker(self, watermark: LedgerRow, kind: str, window: Window, cursor: Cursor, slices: list[Slice]) -> Marker:
        """What a commit of this attempt carries.

        Args:
            watermark: the ledger row it starts from.
            kind: `increment`, `repair` or `restate`.
            window: the rows that it covers.
            cursor: the watermark after it.
            slices: its rows, counted by partition.
        """
        return Marker(
            pipeline=self.settings.pipeline_id,
            source_uuid=self.described.uuid,
            generation=watermark.generation,
            window=window,
            cursor=cursor,
            rows=sum(part.rows for part in slices),
            run_id=self.arguments.run_id,
            attempt=self.arguments.attempt,
            attempt_id=self.attempt_id,
            ledger_id=watermark.id,
            kind=kind,
        )

    def record(self, watermark: LedgerRow, published: Published, seconds: float) -> LedgerRow:
        """Append what was published to the ledger and return the new row. Raises StartOver if the ledger has moved on."""
        marker = published.marker
        step = Step(
            kind=marker.kind,
            cursor=marker.cursor,
            generation=watermark.generation,
            source_uuid=marker.source_uuid,
            run_id=marker.run_id,
            attempt=marker.attempt,
            window=marker.window,
            rows=published.rows,
            snapshot_id=published.snapshot_id,
            total_records=published.total_records,
            seconds=seconds,
        )
        return self.ledger.append(watermark, step)
