"""The audit's tasks, with a real ClickHouse, ledger and Iceberg table: late, surplus and lost rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from airflow.models.dagrun import DagRun

from offload_airflow.compat.sdk import DAG, AirflowFailException
from offload_airflow.operators.audit import AuditTableOperator, LookAgainOperator, RepairAuditedOperator
from offload_core.config.connections import Connections
from offload_core.config.tables import Layer, TableConfig
from offload_core.jobs.arguments import JobArguments
from offload_core.jobs.arguments import parse as parse_job_arguments
from offload_core.protocol.plan import RunMode
from offload_core.source.queries import format_time
from tests.support.spark.world import World, new_world
from tests.support.stack.airflow_connections import SetConnection, set_connections
from tests.support.stack.runs import attempt, manual_run, task_context
from tests.support.stack.servers import unique_name

pytestmark = pytest.mark.integration

NOW = datetime.now(timezone.utc).replace(microsecond=0)
OLD = NOW - timedelta(hours=2)
TABLE = TableConfig(
    source="audited_trades",
    target="cold.audited_trades",
    layer=Layer.BRONZE,
    timestamp_col="at",
    sequence_col="number",
    keys=("number",),
)


@pytest.fixture(scope="module")
def offloaded(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three rows of two hours ago and one of an hour ago, offloaded."""
    with new_world(servers, tmp_path_factory.mktemp("world")) as world:
        world.hot.command(
            f"CREATE TABLE {TABLE.source} (at DateTime64(6, 'UTC'), number UInt64) "
            "ENGINE = MergeTree ORDER BY (at, number)"
        )
        for number in (1, 2, 3):
            insert(world, OLD, number)
        insert(world, NOW - timedelta(hours=1), 4)
        world.init(TABLE)
        world.run_well(TABLE)
        yield world


@pytest.fixture
def world(offloaded: World, set_connection: SetConnection, set_variable: Callable[[str, object], None]) -> World:
    set_connections(offloaded.connections, set_connection)
    set_variable("iceberg_offload_tables", [TABLE.model_dump(mode="json")])
    return offloaded


@pytest.fixture
def dag() -> DAG:
    """The tasks of one table."""
    with DAG(unique_name("audit"), schedule=None, start_date=NOW - timedelta(days=1)) as dag:
        audit = AuditTableOperator(task_id="audit", table=TABLE.name)
        repair = RepairAuditedOperator(task_id="repair", table=TABLE.name, audit="audit", conn_id="spark_default")
        audit >> repair >> LookAgainOperator(task_id="look_again", table=TABLE.name, audit="audit")
    return dag


def insert(world: World, at: datetime, number: int) -> None:
    """Add one row to the hot tier."""
    world.hot.insert(TABLE.source, f"{format_time(at)},{number}\n".encode(), "CSV")


def repair_arguments(dag: DAG, run: DagRun) -> JobArguments:
    """What the repair's task would give its job."""
    repair = dag.get_task("repair")
    with task_context(run, repair) as context:
        return parse_job_arguments(repair.job_arguments(context, TABLE).to_argv())


def test_tiers_that_agree_leave_nothing_to_do(world: World, dag: DAG) -> None:
    run = manual_run(dag, NOW)

    assert attempt(run, dag.get_task("audit")).state == "success"
    assert attempt(run, dag.get_task("repair")).state == "skipped"
    assert attempt(run, dag.get_task("look_again")).state == "skipped"
    assert world.history(TABLE)[0].kind == "increment"


def test_rows_that_came_late_are_repaired_and_counted(world: World, dag: DAG) -> None:
    run = manual_run(dag, NOW + timedelta(seconds=1))
    before = world.history(TABLE)[0]
    insert(world, OLD + timedelta(seconds=1), 101)
    insert(world, OLD + timedelta(seconds=2), 102)

    audit = attempt(run, dag.get_task("audit"))
    assert audit.xcom_pull(task_ids="audit", key="late_rows") == 2
    arguments = repair_arguments(dag, run)
    assert arguments.mode is RunMode.REPAIR
    world.run_well(
        TABLE, mode=arguments.mode, interval_start=arguments.interval_start, interval_end=arguments.interval_end
    )
    assert attempt(run, dag.get_task("look_again")).state == "success"

    row = world.history(TABLE)[0]
    assert (row.kind, row.row_count, row.cursor) == ("repair", 2, before.cursor)
    world.require_equal(TABLE, rows=6)


def test_rows_that_only_iceberg_holds_fail_the_second_look_and_are_named(world: World, dag: DAG) -> None:
    run = manual_run(dag, NOW + timedelta(seconds=2))
    world.hot.command(f"ALTER TABLE {TABLE.source} DELETE WHERE number = 2 SETTINGS mutations_sync = 2")

    assert attempt(run, dag.get_task("audit")).state == "success"
    assert attempt(run, dag.get_task("repair")).state == "skipped"
    with pytest.raises(AirflowFailException, match="1 row"):
        attempt(run, dag.get_task("look_again"))
    insert(world, OLD, 2)


def test_a_data_file_that_is_gone_halts_the_table(world: World, dag: DAG) -> None:
    run = manual_run(dag, NOW + timedelta(seconds=3))
    file = max(world.warehouse.rglob("*.parquet"), key=lambda path: path.stat().st_mtime)
    kept = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(AirflowFailException, match=file.name):
            attempt(run, dag.get_task("audit"))
    finally:
        file.write_bytes(kept)

    row = world.history(TABLE)[0]
    assert (row.status, row.error_kind) == ("halted", "cold_rows_lost")
