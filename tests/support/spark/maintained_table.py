"""Running the maintenance job of a table."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from offload_core.config.tables import TableConfig
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.maintenance_log import MaintenanceLog, MaintenanceRecord
from offload_core.ledger.session import connect
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.spark.world import FinishedJob, World

if TYPE_CHECKING:
    from pyiceberg.table import Table


def start_maintenance(world: World, table: TableConfig, run_id: str = "maintenance") -> subprocess.Popen[str]:
    """Start the maintenance job."""
    application = str(spark_submit.maintenance_application(world.environ()))
    return world.submit(application, JobArguments(table, world.settings, run_id=run_id).to_argv())


def maintain(world: World, table: TableConfig) -> FinishedJob:
    """Run the maintenance job until it ends, successfully or not."""
    return world.finish(start_maintenance(world, table))


def maintain_well(world: World, table: TableConfig) -> MaintenanceRecord:
    """Run the maintenance job, which must succeed; returns what it recorded."""
    result = maintain(world, table)
    assert result.status == 0, result.output
    return newest_record(world, table)


def newest_record(world: World, table: TableConfig) -> MaintenanceRecord:
    """The record of a table's last maintenance."""
    with connect(world.connections.postgres) as session:
        return MaintenanceLog(session, world.settings.pipeline_id).newest()[table.name]


def cold(world: World, table: TableConfig) -> Table:
    """The Iceberg table in pyiceberg."""
    return open_cold_table(world.connections.iceberg, table.target)


def files_by_day(world: World, table: TableConfig) -> dict[str, int]:
    """How many data files each day has."""
    found: dict[str, int] = {}
    for file in cold(world, table).inspect.files().to_pylist():
        day = file["file_path"].split("_day=")[1].split("/")[0]
        found[day] = found.get(day, 0) + 1
    return found


def snapshot_ids(world: World, table: TableConfig) -> set[int]:
    """The ids of all snapshots that the table keeps."""
    return {snapshot.snapshot_id for snapshot in cold(world, table).snapshots()}
