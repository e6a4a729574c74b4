"""Maintenance of one Iceberg table: keeps files and snapshots few and planning quick, while offloads run beside it.

branches → properties → compaction → manifests → snapshots → orphans

Every step runs even if another one fails; the first error is raised at the end. A step whose commit conflicts with
another commit plans again.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone

from offload_core.config.connections import Connections, load_connections
from offload_core.errors import OffloadError, StartOver
from offload_core.jobs.arguments import JobArguments, parse
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.reconcile import require_agreement, unrecorded_commit
from offload_core.ledger.session import connect, table_lock
from offload_core.maintenance import MaintenanceStep, TableStats, closed_before, stats_lines, step_lines
from offload_spark.iceberg.catalog import identifier, open_catalog
from offload_spark.iceberg.errors import iceberg_errors
from offload_spark.iceberg.history import cold_state
from offload_spark.job.main import run_and_report
from offload_spark.maintenance.stats import MaintenanceTarget, measure
from offload_spark.maintenance.steps import MaintenanceRunner
from offload_spark.runtime.jvm import JavaObject, attach
from offload_spark.runtime.session import start_session

log = logging.getLogger("offload")

DRY_RUN = "--dry-run"
_MAX_TRIES = 3
"""How often a step plans before it leaves the table to the next maintenance."""


@dataclass(frozen=True)
class MaintenanceResult:
    """The result of a maintenance.

    Attributes:
        before, after: the table's measurements.
        steps: what each step did, in order.
    """

    before: TableStats
    after: TableStats
    steps: tuple[MaintenanceStep, ...]


def main(argv: Sequence[str]) -> int:
    """Run the job. Returns the exit code of `run_and_report`."""

    def work() -> None:
        arguments = parse([argument for argument in argv if argument != DRY_RUN])
        job = plan if DRY_RUN in argv else maintain
        job(arguments, load_connections(os.environ), datetime.now(timezone.utc))

    return run_and_report(work)


def plan(arguments: JobArguments, connections: Connections, now: datetime) -> None:
    """Log the table's measurements and what a compaction would rewrite, without changing anything.

    Args:
        arguments, connections, now: as for `maintain`.

    Raises:
        TableHalted, LedgerAhead, ColdRowsLost: an operator must decide about the table.
    """
    table, settings = arguments.table, arguments.settings
    with closing(connect(connections.postgres, f"offload plan {table.name}")) as session:
        ledger = Ledger(session, settings.pipeline_id)
        with open_catalog(attach(), connections.iceberg) as catalog:
            runner = _open_runner(catalog, arguments, connections, ledger, now)
            for line in stats_lines(["now"], [measure(runner.target)]):
                log.info("%s", line)
            for files in runner.due():
                log.info(
                    "Would be compacted: %s, %d small files, %d bytes",
                    table.partition.path_value(files.start),
                    files.small_files,
                    files.small_bytes,
                )


def maintain(arguments: JobArguments, connections: Connections, now: datetime) -> MaintenanceResult:
    """Run all steps for one table, and record their results in PostgreSQL.

    Args:
        arguments: table, settings, run and attempt; interval and mode are ignored.
        connections: PostgreSQL and the Iceberg catalog are used.
        now: the present (UTC), from which ages are counted.

    Raises:
        TableHalted, LedgerAhead, ColdRowsLost: an operator must decide about the table. Maintenance changed nothing, so
            that everything needed for the diagnosis and the repair is still there.
        WaitForOtherRun: another maintenance of this table is running.
        OffloadError: a step failed; the other steps ran.
    """
    table, settings = arguments.table, arguments.settings
    started = time.monotonic()
    name = f"offload maintenance {table.name} {arguments.run_id} try {arguments.attempt}"
    with closing(connect(connections.postgres, name)) as session:
        ledger, history = Ledger(session, settings.pipeline_id), MaintenanceLog(session, settings.pipeline_id)
        history.newest()  # fails now, not after the work, if the ledger's tables are of an older version
        lock = table_lock(session, settings.pipeline_id, f"{table.name}/maintenance", settings.lock_wait_seconds)
        with lock, open_catalog(attach(), connections.iceberg) as catalog:
            runner = _open_runner(catalog, arguments, connections, ledger, now)
            before = measure(runner.target)
            steps, failures = _run_steps(runner)
            result = MaintenanceResult(before, measure(runner.target), tuple(steps))
        seconds = time.monotonic() - started
        lines = stats_lines(["before", "after"], [result.before, result.after])
        for line in [*lines, *step_lines(result.steps)]:
            log.info("%s", line)
        history.append(
            table.name,
            run_id=arguments.run_id,
            attempt=arguments.attempt,
            seconds=seconds,
            before=result.before,
            after=result.after,
            steps=result.steps,
        )
    if failures:
        raise failures[0]
    return result


def _open_runner(
    catalog: JavaObject, arguments: JobArguments, connections: Connections, ledger: Ledger, now: datetime
) -> MaintenanceRunner:
    """Open the table, and check that ledger and Iceberg agree on it."""
    config, settings = arguments.table, arguments.settings
    watermark, last_commit = ledger.watermark(config.name), ledger.last_commit(config.name)
    operator_row = ledger.operator_row(config.name)
    jvm = attach()
    with iceberg_errors(f"opening {config.target}"):
        table = catalog.loadTable(identifier(jvm, config.target))
        # Iceberg is read after the ledger: a commit in between makes Iceberg newer, which is no disagreement.
        cold = cold_state(table, settings.pipeline_id)
    if unrecorded_commit(watermark, last_commit, operator_row, cold) is None:
        require_agreement(watermark, last_commit, cold, watermark.source_uuid or uuid.UUID(int=0))
    closed = closed_before(config, settings, watermark.cursor.timestamp, now)
    target = MaintenanceTarget(
        jvm=jvm,
        table=table,
        session=start_session(connections.iceberg),
        catalog=connections.iceberg.name,
        config=config,
        settings=settings,
    )
    return MaintenanceRunner(target, ledger, closed=closed, now=now)


def _run_steps(runner: MaintenanceRunner) -> tuple[list[MaintenanceStep], list[OffloadError]]:
    todo: dict[str, Callable[[], int]] = {
        "branches": runner.drop_dead_branches,
        "properties": runner.set_properties,
        "compaction": runner.compact,
        "manifests": runner.rewrite_manifests,
        "snapshots": runner.expire_snapshots,
        "orphans": runner.delete_orphans,
    }
    steps: list[MaintenanceStep] = []
    failures: list[OffloadError] = []
    for name, work in todo.items():
        started = time.monotonic()
        try:
            done = _retry_conflicts(name, work)
        except OffloadError as error:
            log.error("✗ Maintenance failed: %s: %s", name, error)
            failures.append(error)
            continue
        steps.append(MaintenanceStep(name, done, round(time.monotonic() - started, 3)))
    return steps, failures


def _retry_conflicts(name: str, work: Callable[[], int]) -> int:
    """Run a step, and plan it again if another commit came first."""
    for number in range(1, _MAX_TRIES + 1):
        try:
            return work()
        except StartOver as error:
            if number == _MAX_TRIES:
                raise
            log.info("%s: planned again, because %s", name, error.problem)
    raise AssertionError("the last try returns or raises")
