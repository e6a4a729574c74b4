"""Everything that the parts of one run of one table share."""

from __future__ import annotations

from dataclasses import dataclass

from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow, Step, StepKind
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Cursor, Window
from offload_core.source.table import SourceTable
from offload_spark.fetch.clickhouse_source import Slice
from offload_spark.write.context import WriteContext
from offload_spark.write.writer import Published


@dataclass(frozen=True, kw_only=True)
class RunContext(WriteContext):
    """One run of one table, under its lock.

    Attributes:
        arguments: the job's arguments.
        ledger: the watermarks.
        described: ClickHouse's description of the source when the run began.
        attempt_id: unique to this attempt.
    """

    arguments: JobArguments
    ledger: Ledger
    described: SourceTable
    attempt_id: str

    def marker(
        self, watermark: LedgerRow, kind: StepKind, window: Window, cursor: Cursor, slices: list[Slice]
    ) -> Marker:
        """The marker of a commit of this attempt.

        Args:
            watermark: the ledger row that the commit starts from.
            kind: `increment`, `repair` or `restate`.
            window: the window that it covers.
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
            kind=kind.value,
        )

    def record(self, watermark: LedgerRow, published: Published, seconds: float) -> LedgerRow:
        """Append a published chunk to the ledger and return the new row.

        Raises:
            StartOver: the watermark is no longer the ledger's newest row.
        """
        marker = published.marker
        step = Step(
            kind=StepKind.of_marker(marker),
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
