"""One run of one table: the eight steps of the offload, in order.

lock → reconcile → window → count → fetch → branch and audit → publish → ledger

A large window repeats the last five steps, chunk by chunk. `increment` moves the rows ahead of the watermark,
`reprocess` repairs or restates an interval behind it.
"""

from __future__ import annotations

import logging
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from offload_core.attempt_log import attempt_line
from offload_core.config.connections import Connections
from offload_core.errors import (
    ColdRowsLost,
    HotRowsExpired,
    LedgerAhead,
    OffloadError,
    SourceReplaced,
    StartOver,
    WaitForOtherRun,
)
from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.reconcile import require_agreement, unrecorded_commit
from offload_core.ledger.rows import LedgerRow, RowStatus, Step, StepKind
from offload_core.ledger.session import connect
from offload_core.protocol.marker import Marker
from offload_core.protocol.plan import Progress, RunPlan, plan_run
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import Column, project
from offload_core.source.table import SourceTable
from offload_spark.fetch.clickhouse_source import ClickHouseSource
from offload_spark.fetch.distributed_fetch import DistributedFetch
from offload_spark.fetch.fetch import DriverFetch, FetchStrategy
from offload_spark.iceberg.branch import Branch
from offload_spark.iceberg.catalog import open_catalog
from offload_spark.iceberg.data_files import DataFiles
from offload_spark.iceberg.schema_evolution import evolve_schema, with_field_ids
from offload_spark.iceberg.table import IcebergTable
from offload_spark.job.increment import move
from offload_spark.job.reprocess import reprocess
from offload_spark.job.run_context import RunContext
from offload_spark.runtime.jvm import attach, spark_master

log = logging.getLogger("offload")

NEW_HALTS = (SourceReplaced, LedgerAhead, ColdRowsLost, HotRowsExpired)

_MAX_STARTS = 3
"""How often one attempt starts before it leaves the table to the next attempt."""


@dataclass(frozen=True)
class JobResult:
    """The result of a run: how many rows it published (for candles: newly closed ones), and the watermark after it."""

    rows: int
    watermark: LedgerRow


def run(arguments: JobArguments, connections: Connections) -> JobResult:
    """Offload one table's window under the table's lock. A failure is recorded in the ledger before it is raised.

    Raises:
        OffloadError: one of its subclasses; each says what to do next.
    """
    table, settings = arguments.table, arguments.settings
    started = time.monotonic()
    name = f"offload {table.name} {arguments.run_id} try {arguments.attempt}"
    with closing(connect(connections.postgres, name)) as session:
        ledger = Ledger(session, settings.pipeline_id)
        try:
            with ledger.locked(table.name, settings.lock_wait_seconds):
                result = _run_from_newest_state(arguments, connections, ledger)
        except Exception as error:
            if not isinstance(error, WaitForOtherRun):
                _record(ledger, arguments, error)
            kind = error.kind if isinstance(error, OffloadError) else OffloadError.kind
            log.error("%s", _line(arguments, kind, seconds=time.monotonic() - started))
            raise
    row, seconds = result.watermark, time.monotonic() - started
    log.info(
        "%s",
        _line(
            arguments,
            RowStatus.SUCCESS.value if result.rows else StepKind.EMPTY.value,
            window=(row.window_lower, row.window_upper),
            rows=result.rows,
            seconds=seconds,
        ),
    )
    log.info("Duration: %.1f seconds", seconds)
    return result


def _line(arguments: JobArguments, outcome: str, **known: Any) -> str:
    return attempt_line(arguments.table.name, arguments.run_id, arguments.attempt, outcome, **known)


def _run_from_newest_state(arguments: JobArguments, connections: Connections, ledger: Ledger) -> JobResult:
    """Run, and start over at once if something else, such as a compaction, moved the table meanwhile.

    A run whose session has ended no longer has the lock and must not continue.

    Raises:
        StartOver: the table moved every time, or the session has ended.
    """
    for start in range(1, _MAX_STARTS + 1):
        try:
            return Offload(arguments, connections, ledger).run()
        except StartOver as error:
            if start == _MAX_STARTS or not ledger.is_alive():
                raise
            log.info("Starting over at once, start %d of %d: %s", start + 1, _MAX_STARTS, error.problem)
    raise AssertionError("the last start returns or raises")


def _record(ledger: Ledger, arguments: JobArguments, error: Exception) -> None:
    try:
        ledger.record_failure(
            arguments.table.name,
            error.kind if isinstance(error, OffloadError) else OffloadError.kind,
            str(error) or type(error).__name__,
            run_id=arguments.run_id,
            attempt=arguments.attempt,
            halt=isinstance(error, NEW_HALTS),
        )
    except OffloadError as second:
        # The operator needs the first error, so this one must not replace it.
        log.warning("The failure could not be recorded in the ledger: %s", second)


class Offload:
    """The steps of one run that happen under the table's lock."""

    def __init__(self, arguments: JobArguments, connections: Connections, ledger: Ledger) -> None:
        self._arguments = arguments
        self._table = arguments.table
        self._settings = arguments.settings
        self._connections = connections
        self._ledger = ledger

    def run(self) -> JobResult:
        """Reconcile ledger and Iceberg, reprocess the interval behind the watermark, move the rows ahead of it."""
        watermark = self._ledger.watermark(self._table.name)
        client = ClickHouse.from_settings(
            self._connections.clickhouse, self._settings, pool_size=self._settings.fetch_parallelism + 1
        )
        with closing(client):
            source = ClickHouseSource(client, self._table, self._connections.clickhouse.database)
            described = source.describe()
            columns = project(self._table, described.columns)
            jvm = attach()
            with open_catalog(jvm, self._connections.iceberg) as catalog:
                iceberg = IcebergTable(jvm, catalog, self._table)
                before = self._ledger.progress(self._table.name, watermark)
                watermark, recovered = self._reconcile(iceberg, watermark, described)
                context = self._context(source, described, columns, iceberg)
                if recovered is not None and self._covers(recovered, self._plan(before, described)):
                    log.info("All of this run's window was in that commit.")
                    return JobResult(recovered.rows, watermark)
                return self._work(context, watermark)

    def _context(
        self, source: ClickHouseSource, described: SourceTable, columns: list[Column], iceberg: IcebergTable
    ) -> RunContext:
        attempt_id = uuid.uuid4().hex
        files = DataFiles(iceberg)
        return RunContext(
            arguments=self._arguments,
            table=self._table,
            settings=self._settings,
            catalog=self._connections.iceberg,
            ledger=self._ledger,
            source=source,
            described=described,
            columns=columns,
            fetch=self._fetch_strategy(source, files, spark_master(iceberg.jvm)),
            iceberg=iceberg,
            branch=Branch(iceberg, attempt_id),
            files=files,
            attempt_id=attempt_id,
        )

    def _fetch_strategy(self, source: ClickHouseSource, files: DataFiles, master: str) -> FetchStrategy:
        return FetchStrategy(
            driver=DriverFetch(source, self._settings, files),
            executors=DistributedFetch(self._connections, self._table, self._settings, files),
            files=files,
            settings=self._settings,
            master=master,
        )

    def _plan(self, progress: Progress, described: SourceTable) -> RunPlan:
        arguments, buffer = self._arguments, timedelta(minutes=self._settings.buffer_minutes)
        start, end = arguments.interval_start, arguments.interval_end
        return plan_run(arguments.mode, start, end, progress, described.now, buffer)

    @staticmethod
    def _covers(marker: Marker, plan: RunPlan) -> bool:
        """Whether a commit that was missing in the ledger already did all that the run has to do."""
        moved = marker.kind == StepKind.INCREMENT and plan.ahead is not None and marker.window.upper >= plan.ahead.upper
        return moved and plan.behind is None

    def _work(self, run: RunContext, watermark: LedgerRow) -> JobResult:
        arguments = self._arguments
        for change in evolve_schema(run.iceberg, run.columns, self._table.schema_contract):
            log.info("%s", change)
        run = replace(run, columns=with_field_ids(run.iceberg, run.columns))
        progress = self._ledger.progress(self._table.name, watermark)
        plan = self._plan(progress, run.described)
        rows = 0
        if plan.behind is not None:
            log.info("watermark %s, interval %s behind it: %s", watermark.cursor, plan.behind, arguments.mode.value)
            rows, watermark = reprocess(run, watermark, plan.behind)
        if plan.ahead is not None:
            log.info("watermark %s, window %s", watermark.cursor, plan.ahead)
            moved, watermark = move(run, watermark, plan.ahead, is_rerun=plan.behind is not None)
            rows += moved
        if plan.ahead is None and plan.behind is None:
            log.info("Nothing to do: the interval holds no rows that this run could move or reprocess.")
        return JobResult(rows, watermark)

    def _reconcile(
        self, iceberg: IcebergTable, watermark: LedgerRow, described: SourceTable
    ) -> tuple[LedgerRow, Marker | None]:
        """The newest valid ledger row, and the marker of a commit that was missing in the ledger, if there is one."""
        cold = iceberg.cold_state(self._settings.pipeline_id)
        name = self._table.name
        last_commit, operator_row = self._ledger.last_commit(name), self._ledger.operator_row(name)
        marker = unrecorded_commit(watermark, last_commit, operator_row, cold)
        if marker is not None:
            log.info(
                "Recovered: snapshot %s of an earlier run was not in the ledger; watermark %s",
                cold.snapshot_id,
                marker.cursor,
            )
            step = Step(
                kind=StepKind.RECOVERED if marker.kind == StepKind.INCREMENT else StepKind.of_marker(marker),
                cursor=marker.cursor,
                generation=marker.generation,
                source_uuid=marker.source_uuid,
                run_id=marker.run_id,
                attempt=marker.attempt,
                window=marker.window,
                rows=marker.rows,
                snapshot_id=cold.snapshot_id,
                total_records=cold.records_at_marker,
            )
            watermark = last_commit = self._ledger.append(watermark, step)
        require_agreement(watermark, last_commit, cold, described.uuid)
        return watermark, marker
