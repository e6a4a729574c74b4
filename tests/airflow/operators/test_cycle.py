"""Whole cycles of the shipped DAG, run by Airflow with a fake Spark, and the tasks that frame them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.utils.session import create_session

from offload_airflow.compat.sdk import DAG, AirflowFailException
from offload_airflow.operators.cycle import CloseCycleOperator, OpenCycleOperator
from offload_airflow.operators.cycle_summary import TableTasks
from offload_core.config.connections import PostgresConnection
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import LedgerUnavailable
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import Step, StepKind
from offload_core.ledger.session import connect
from offload_core.ledger.tables import TableRegister
from offload_core.protocol.window import ORIGIN
from offload_core.source.quoting import quote_identifier
from tests.support.fakes.spark import FakeSpark, report
from tests.support.stack.airflow_connections import SetConnection, clickhouse_fields
from tests.support.stack.airflow_version import AIRFLOW_3, parsed
from tests.support.stack.runs import attempt, scheduled_run, whole_run
from tests.support.stack.servers import HotTier, unique_name

pytestmark = pytest.mark.integration

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)

SetVariable = Callable[[str, object], None]


def frame(now: datetime = NOON) -> tuple[DAG, OpenCycleOperator, CloseCycleOperator]:
    """An opening and a closing task around nothing."""
    tables = [TableTasks("one", "wait_one", "offload_one"), TableTasks("two", "wait_two", "offload_two")]
    with DAG(unique_name("frame"), schedule="*/15 * * * *", start_date=now - timedelta(days=1), catchup=False) as dag:
        opening = OpenCycleOperator(task_id="open_cycle", tables=["one", "two"])
        for task_id in ("wait_one", "offload_one", "wait_two", "offload_two"):
            OpenCycleOperator(task_id=task_id, tables=[])
        return dag, opening, CloseCycleOperator(task_id="close_cycle", tables=tables)


def end(run: DagRun, **states: str) -> None:
    """Say how the tasks of a run ended."""
    with create_session() as session:
        for instance in run.get_task_instances(session=session):
            if instance.task_id in states:
                instance.state = states[instance.task_id]


@pytest.mark.usefixtures("pipeline")
def test_the_opening_task_says_that_the_cycle_started(caplog: pytest.LogCaptureFixture) -> None:
    dag, opening, _ = frame()
    caplog.set_level(logging.INFO)
    run = scheduled_run(dag, NOON)
    attempt(run, opening)
    assert f"CYCLE STARTED {run.run_id}: 2 tables: one, two" in caplog.messages


@pytest.mark.usefixtures("airflow_database")
def test_the_opening_task_tells_the_exporter_which_tables_are_switched_on(
    set_variable: SetVariable, connect_postgres: PostgresConnection, pipeline: str
) -> None:
    off = DEFAULT_TABLES[0].model_copy(update={"enabled": False}).model_dump(mode="json")
    set_variable("iceberg_offload_tables", [off, DEFAULT_TABLES[2].model_dump(mode="json")])
    dag, opening, _ = frame()

    attempt(scheduled_run(dag, NOON), opening)

    with connect(connect_postgres) as session:
        assert TableRegister(session, pipeline).switched_off() == {DEFAULT_TABLES[0].name}


def test_the_opening_task_succeeds_when_the_exporter_can_not_be_told(
    set_connection: SetConnection, caplog: pytest.LogCaptureFixture
) -> None:
    set_connection("postgres_default", conn_type="postgres", host="127.0.0.1", port=1, login="x", schema="x")
    dag, opening, _ = frame()

    attempt(scheduled_run(dag, NOON), opening)

    assert "Could not record for the metrics exporter which tables are switched on" in caplog.text


@pytest.mark.skipif(AIRFLOW_3, reason="the scheduler does it: tests/airflow/compat/test_scheduler_duties.py")
def test_the_opening_task_makes_the_missing_pool_and_leaves_an_existing_one_as_it_is(set_variable: SetVariable) -> None:
    pool = unique_name("pool")
    set_variable("iceberg_offload_settings", {"pool": pool})
    dag, opening, _ = frame()
    attempt(scheduled_run(dag, NOON), opening)
    made = Pool.get_pool(pool)
    assert made is not None
    assert made.slots == 2
    Pool.create_or_update_pool(pool, slots=5, description="mine", include_deferred=False)
    attempt(scheduled_run(dag, NOON + timedelta(minutes=15)), opening)
    kept = Pool.get_pool(pool)
    assert kept is not None
    assert kept.slots == 5


def test_the_closing_task_adds_up_what_the_run_wrote_into_the_ledger(
    connect_postgres: PostgresConnection, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    assert connect_postgres
    now = datetime.now(timezone.utc)
    dag, _, closing = frame(now)
    run = scheduled_run(dag, now)
    end(run, wait_one="success", offload_one="success", wait_two="skipped", offload_two="skipped")
    ledger.initialize("one")
    for run_id, rows in ((run.run_id, 70), ("another", 1000), (run.run_id, 50)):
        step = Step(StepKind.INCREMENT, ORIGIN, 0, None, run_id=run_id, attempt=1, rows=rows, seconds=1.5)
        ledger.append(ledger.watermark("one"), step)
    caplog.set_level(logging.INFO)
    assert attempt(run, closing).state == "success"
    assert "✓ one: Rows offloaded: 120, 3.0 s" in caplog.messages
    assert "✓ two: No new data to offload" in caplog.messages
    (line,) = [message for message in caplog.messages if "COMPLETED" in message]
    assert line.startswith("OFFLOAD CYCLE COMPLETED | Success: 2 | Failed: 0 | Rows offloaded: 120 | Duration: ")
    assert re.search(r"^Next run: \d{4}-\d\d-\d\d \d\d:(00|15|30|45):00\+00:00$", "\n".join(caplog.messages), re.M)


def test_what_a_run_wrote_before_it_was_cleared_is_not_counted_again(
    connect_postgres: PostgresConnection, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    assert connect_postgres
    dag, _, closing = frame()
    ledger.initialize("one")
    run = scheduled_run(dag, datetime.now(timezone.utc) + timedelta(minutes=1))
    end(run, wait_one="success", offload_one="success", wait_two="skipped", offload_two="skipped")
    ledger.append(
        ledger.watermark("one"), Step(StepKind.INCREMENT, ORIGIN, 0, None, run_id=run.run_id, attempt=1, rows=70)
    )
    caplog.set_level(logging.INFO)
    attempt(run, closing)
    assert "| Rows offloaded: 0 |" in caplog.text


def test_a_failed_table_fails_the_closing_task_at_once_and_is_named_with_its_error(
    connect_postgres: PostgresConnection, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    assert connect_postgres
    now = datetime.now(timezone.utc)
    dag, _, closing = frame(now)
    run = scheduled_run(dag, now)
    end(run, wait_one="skipped", offload_one="skipped", wait_two="success", offload_two="failed")
    ledger.initialize("two")
    ledger.record_failure("two", "column", "price can't be carried over.", run_id=run.run_id, attempt=3)
    caplog.set_level(logging.INFO)
    with pytest.raises(AirflowFailException, match=r"^1 of 2 tables failed: two\.$"):
        attempt(run, closing)
    assert "✗ Offload failed: two: price can't be carried over." in caplog.messages
    assert "| Success: 1 | Failed: 1 |" in caplog.text


@pytest.mark.usefixtures("pipeline")
def test_without_the_ledger_the_closing_task_does_not_make_up_figures(set_connection: SetConnection) -> None:
    # Nobody listens on port 1.
    set_connection("postgres_default", conn_type="postgres", host="127.0.0.1", port=1, login="me", schema="offload")
    dag, _, closing = frame()
    with pytest.raises(LedgerUnavailable):
        attempt(scheduled_run(dag, NOON), closing)


class Cycle:
    """Runs the shipped DAG with tables of the test's own."""

    def __init__(self, hot: HotTier, ledger: Ledger, set_variable: SetVariable) -> None:
        self._hot, self._ledger, self._set_variable = hot, ledger, set_variable
        self._entries: list[dict[str, object]] = []
        self.sources: list[str] = []

    def table(self, layer: str, name: str, *, rows: int = 0, **changes: object) -> None:
        """Add a table to the configuration, with rows or without."""
        source = unique_name(name)
        self.sources.append(source)
        self._hot.client.command(
            f"CREATE TABLE {quote_identifier(source)} (at DateTime64(6, 'UTC'), number UInt64) "
            "ENGINE = MergeTree ORDER BY (at, number)"
        )
        if rows:
            at = "toDateTime64('2026-02-01 00:00:00', 6, 'UTC')"
            self._hot.client.command(f"INSERT INTO {quote_identifier(source)} SELECT {at}, number FROM numbers({rows})")
        entry = {
            "source": source,
            "target": f"cold.{name}",
            "layer": layer,
            "timestamp_col": "at",
            "sequence_col": "number",
            "keys": ["number"],
            "write_mode": "append",
        }
        self._entries.append({**entry, **changes})
        self._ledger.initialize(name)

    def run(self) -> tuple[str, dict[str, str]]:
        """State of the run and of its tasks, after all of it."""
        self._set_variable("iceberg_offload_tables", self._entries)
        dag = parsed().get_dag("iceberg_offload")
        assert dag is not None
        run = whole_run(dag)
        return str(run.state), {instance.task_id: str(instance.state) for instance in run.get_task_instances()}


@pytest.fixture
def cycle(
    spark: FakeSpark,
    clickhouse: HotTier,
    ledger: Ledger,
    set_variable: SetVariable,
    set_connection: SetConnection,
) -> Iterator[Cycle]:
    assert spark
    set_connection("clickhouse_default", **clickhouse_fields(clickhouse.connection))
    made = Cycle(clickhouse, ledger, set_variable)
    yield made
    for source in made.sources:
        clickhouse.client.command(f"DROP TABLE {quote_identifier(source)} SYNC")


def test_a_cycle_offloads_what_has_rows_and_skips_what_has_none(cycle: Cycle) -> None:
    cycle.table("bronze", "first", rows=3)
    cycle.table("silver", "second")
    cycle.table("gold", "third", rows=3)
    state, tasks = cycle.run()
    assert state == "success"
    assert tasks == {
        "open_cycle": "success",
        "bronze.wait_first": "success",
        "bronze.offload_first": "success",
        "silver.wait_second": "skipped",
        "silver.offload_second": "skipped",
        "gold.wait_third": "success",
        "gold.offload_third": "success",
        "close_cycle": "success",
    }


def test_a_failed_job_fails_the_run_and_stops_no_other_table(
    cycle: Cycle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cycle.table("bronze", "first", rows=3)
    cycle.table("bronze", "second", rows=3)
    cycle.table("silver", "third", rows=3)
    cycle.table("gold", "fourth")
    report(monkeypatch, retryable=False)
    monkeypatch.setenv("FAKE_SPARK_TABLE", "cold.first")
    caplog.set_level(logging.INFO)
    state, tasks = cycle.run()
    assert state == "failed"
    assert [task for task, end in tasks.items() if end == "failed"] == ["bronze.offload_first", "close_cycle"]
    assert tasks["bronze.offload_second"] == tasks["silver.offload_third"] == "success"
    assert tasks["gold.wait_fourth"] == "skipped"
    assert "| Success: 3 | Failed: 1 |" in caplog.text


def test_a_broken_entry_fails_its_own_tasks_and_no_other(cycle: Cycle, caplog: pytest.LogCaptureFixture) -> None:
    cycle.table("bronze", "first", rows=3)
    cycle.table("bronze", "second", rows=3, timestamp_column="at")
    cycle.table("silver", "third", rows=3)
    caplog.set_level(logging.INFO)
    state, tasks = cycle.run()
    assert state == "failed"
    assert tasks["bronze.wait_second"] == "failed"
    assert tasks["bronze.offload_second"] == "upstream_failed"
    assert tasks["bronze.offload_first"] == tasks["silver.offload_third"] == "success"
    assert "timestamp_column: Extra inputs are not permitted" in caplog.text
