"""The command `offload maintain`: the maintenance of one Iceberg table."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import datetime, timezone

import typer

from offload_core.config.tables import TableConfig
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments
from offload_core.jobs.spark_run import MASTER_ENV, run_application
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.session import connect
from offload_ops.cli.context import Console, Context, DryRun, Json, Table, Yes, confirm, context_of

_DRY_RUN = "--dry-run"


def maintain(
    ctx: typer.Context, table: Table, dry_run: DryRun = False, yes: Yes = False, as_json: Json = False
) -> None:
    """Compact closed partitions of an Iceberg table, rewrite its manifests, expire old snapshots, delete orphan files.

    No row is changed, and the offload may run at the same time. The Spark job runs on this machine, as with `repair`.
    It shows the table's statistics before and after. A dry run shows the current ones, and the partitions that would be
    compacted.
    """
    context, console = context_of(ctx), Console(as_json)
    config = context.one(table)
    started = datetime.now(timezone.utc)
    arguments = JobArguments(config, context.settings, run_id=f"maintain__{started.isoformat(timespec='seconds')}")
    if not dry_run:
        confirm(f"Run the maintenance of {config.name}?", yes=yes)
    application = spark_submit.maintenance_application(os.environ)
    argv = [*arguments.to_argv(), *([_DRY_RUN] if dry_run else [])]
    master = os.environ.get(MASTER_ENV) or "local[*]"
    run_application(application, argv, context.connections, context.settings, console.log, master, bulk=True)
    if dry_run:
        console.echo("Dry run: nothing was changed.")
    console.result({"table": config.name, "dry_run": dry_run, **({} if dry_run else _statistics(context, config))})


def _statistics(context: Context, table: TableConfig) -> dict[str, float]:
    with closing(connect(context.connections.postgres, "offload command")) as session:
        record = MaintenanceLog(session, context.settings.pipeline_id).newest()[table.name]
    before = {f"{name}_before": value for name, value in record.before.to_json().items()}
    return {**before, **record.after.to_json(), "seconds": record.seconds}
