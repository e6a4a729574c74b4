"""Upkeep of one Iceberg table: few files, few snapshots, quick planning, while offloads go on beside it.

branches → properties → compaction → manifests → snapshots → orphans. Each step stands for itself: one that fails does not keep the others
from their turn, and is raised at the end. A step whose commit meets another one plans anew.
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
from offload_core.maintenance import Figures, Step, closed_before, figure_lines, step_lines
from offload_spark.iceberg.catalog import iceberg_errors, identifier, open_catalog
from offload_spark.iceberg.history import cold_state
from offload_spark.job.main import guarded
from offload_spark.maintenance.stats import measure
from offload_spark.maintenance.steps import Upkeep
from offload_spark.runtime.jvm import JavaObject, attach
from offload_spark.runtime.session import start_session

log = logging.getLogger("offload")

DRY_RUN = "--dry-run"
_TRIES = 3
"""How often a step plans anew before it leaves the table to the next maintenance."""


@dataclass(frozen=True)
class Maintained:
    """What a maintenance came to.

    Attributes:
        before, after: the table's figures.
        steps: what was done, in order.
    """

    before: Figures
    after: Figures
    steps: tuple[Step, ...]


def main(argv: Sequence[str]) -> int:
    """Run the job; the exit status is that of `guarded`."""

    def work() -> None:
        arguments = parse([argument for argument in argv if argument != DRY_RUN])
        job = plan if DRY_RUN in argv else maintain
        job(arguments, load_connections(os.environ), datetime.now(timezone.utc))

    return guarded(work)


def plan(arguments: JobArguments, connections: Connections, now: datetime) -> None:
    """Log the table's figures and what a compaction would rewrite; change nothing. Arguments and errors as `maintain`."""
    table, settings = arguments.table, arguments.settings
    with closing(connect(connections.postgres, f"offload plan {table.name}")) as session:
        ledger = Ledger(session, settings.pipeline_id)
        with open_catalog(attach(), connections.iceberg) as catalog:
            upkeep = _open(catalog, arguments, connections, ledger, now)
            for line in figure_lines(["now"], [measure(upkeep.place)]):
                log.info("%s", line)
            for files in upkeep.due():
                log.info(
                    "Would be compacted: %s, %d small files, %d bytes",
                    table.partition.path_value(files.start),
                    files.small_files,
                    files.small_bytes,
                )


def maintain(arguments: JobArguments, connections: Connections, now: datetime) -> Maintained:
    """Do all steps for one table, and write what they came to into PostgreSQL.

    Args:
        arguments: table, settings, run and attempt; interval and mode mean nothing here.
        connections: PostgreSQL and the Iceberg catalog are used.
        now: the present (UTC), which ages are counted from.

    Raises:
        TableHalted, LedgerAhead, ColdRowsLost: something happened to the table that an operator has to judge: nothing was touched, so
            that all there is to find out and bring back is still there.
        WaitForOtherRun: another maintenance of this table is going on.
        OffloadError: a step failed; the others were done.
    """
    table, settings = arguments.table, arguments.settings
    started = time.monotonic()
    name = f"offload maintenance {table.name} {arguments.run_id} try {arguments.attempt}"
    with closing(connect(connections.postgres, name)) as session:
        ledger, history = Ledger(session, settings.pipeline_id), MaintenanceLog(session, settings.pipeline_id)
        history.newest()  # fails before the work, not after it, where the ledger's tables are of an older version
        lock = table_lock(session, settings.pipeline_id, f"{table.name}/maintenance", settings.lock_wait_seconds)
        with lock, open_catalog(attach(), connections.iceberg) as catalog:
            upkeep = _open(catalog, arguments, connections, ledger, now)
            before = measure(upkeep.place)
            steps, failures = _work(upkeep)
            result = Maintained(before, measure(upkeep.place), tuple(steps))
        seconds = time.monotonic() - started
        lines = figure_lines(["before", "after"], [result.before, result.after])
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


def _open(
    catalog: JavaObject, arguments: JobArguments, connections: Connections, ledger: Ledger, now: datetime
) -> Upkeep:
    """The table, ready for its steps, once ledger and Iceberg are seen to agree on it."""
    config, settings = arguments.table, arguments.settings
    watermark, last_commit = ledger.watermark(config.name), ledger.last_commit(config.name)
    operator_row = ledger.operator_row(config.name)
    jvm = attach()
    with iceberg_errors(f"opening {config.target}"):
        table = catalog.loadTable(identifier(jvm, config.target))
        # After the ledger: what a run commits meanwhile is newer than what the ledger said, and that is no disagreement.
        cold = cold_state(table, settings.pipeline_id)
    if unrecorded_commit(watermark, last_commit, operator_row, cold) is None:
        require_agreement(watermark, last_commit, cold, watermark.source_uuid or uuid.UUID(int=0))
    closed = closed_before(config, settings, watermark.cursor.timestamp, now)
    session = start_session(connections.iceberg)
    return Upkeep(jvm, table, session, connections.iceberg.name, config, settings, ledger, closed, now)


def _work(upkeep: Upkeep) -> tuple[list[Step], list[OffloadError]]:
    todo: dict[str, Callable[[], int]] = {
        "branches": upkeep.drop_dead_branches,
        "properties": upkeep.set_properties,
        "compaction": upkeep.compact,
        "manifests": upkeep.rewrite_manifests,
        "snapshots": upkeep.expire_snapshots,
        "orphans": upkeep.delete_orphans,
    }
    steps: list[Step] = []
    failures: list[OffloadError] = []
    for name, work in todo.items():
        started = time.monotonic()
        try:
            done = _until_undisturbed(name, work)
        except OffloadError as error:
            log.error("✗ Maintenance failed: %s: %s", name, error)
            failures.append(error)
            continue
        steps.append(Step(name, done, round(time.monotonic() - started, 3)))
    return steps, failures


def _until_undisturbed(name: str, work: Callable[[], int]) -> int:
    """Do a step; where another commit came first, plan it anew."""
    for number in range(1, _TRIES + 1):
        try:
            return work()
        except StartOver as error:
            if number == _TRIES:
                raise
            log.info("%s: planned anew, because %s", name, error.problem)
    raise AssertionError("the last try returns or raises")
