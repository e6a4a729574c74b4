"""The sensor's decision about an interval that has been offloaded before, with real servers."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from airflow.models.dagrun import DagRun

from offload_airflow.compat.sdk import DAG, AirflowFailException
from offload_airflow.sensors.watermark import WatermarkSensor
from offload_core.config.connections import Connections
from offload_core.config.tables import Layer, TableConfig
from offload_core.source.queries import format_time
from tests.support.checkout import CHECKOUT
from tests.support.spark.world import World, new_world
from tests.support.stack.airflow_connections import SetConnection, set_connections
from tests.support.stack.airflow_home import process_environment
from tests.support.stack.runs import attempt, manual_run, scheduled_run, task_instance
from tests.support.stack.servers import unique_name

pytestmark = pytest.mark.integration

NOW = datetime.now(timezone.utc).replace(microsecond=0)
LAST_QUARTER = NOW - timedelta(minutes=NOW.minute % 15, seconds=NOW.second)
HOUR = timedelta(hours=1)
OLD = LAST_QUARTER - 3 * HOUR
"""End of the interval that is run again; its rows are older than the buffer."""
CLOSED = OLD - timedelta(minutes=10)
TABLE = TableConfig(
    source="rerun_trades",
    target="cold.rerun_trades",
    layer=Layer.BRONZE,
    timestamp_col="at",
    sequence_col="number",
    keys=("number",),
)

_COUNT = itertools.count()


@dataclass
class Trades:
    """The table of this module: three rows in the old interval and one later, all offloaded."""

    world: World

    def insert(self, at: datetime, number: int) -> None:
        """Add one row to the hot tier."""
        self.world.hot.insert(TABLE.source, f"{format_time(at)},{number}\n".encode(), "CSV")

    def take(self, number: int) -> None:
        """Delete one row from the hot tier."""
        self.world.hot.command(f"ALTER TABLE {TABLE.source} DELETE WHERE number = {number} SETTINGS mutations_sync = 2")


@pytest.fixture(scope="module")
def offloaded(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trades]:
    with new_world(servers, tmp_path_factory.mktemp("world")) as world:
        world.hot.command(
            f"CREATE TABLE {TABLE.source} (at DateTime64(6, 'UTC'), number UInt64) "
            "ENGINE = MergeTree ORDER BY (at, number)"
        )
        trades = Trades(world)
        for number in (1, 2, 3):
            trades.insert(CLOSED, number)
        trades.insert(LAST_QUARTER - HOUR, 4)
        world.init(TABLE)
        world.run_well(TABLE)
        yield trades


@pytest.fixture
def trades(
    offloaded: Trades, set_connection: SetConnection, set_variable: Callable[[str, object], None]
) -> Iterator[Trades]:
    set_connections(offloaded.world.connections, set_connection)
    set_variable("iceberg_offload_tables", [TABLE.model_dump(mode="json")])
    before = offloaded.world.history(TABLE)
    yield offloaded
    # Whatever the sensor found: neither the watermark nor the lag clock nor the count of failures has moved.
    assert offloaded.world.history(TABLE) == before


@pytest.fixture
def task() -> WatermarkSensor:
    with DAG(unique_name("rerun"), schedule=None, start_date=NOW - timedelta(days=1)):
        return WatermarkSensor(task_id="wait", table=TABLE.name, mode="reschedule", poke_interval=10, timeout=60)


def named(task: WatermarkSensor, mode: str, **conf: object) -> DagRun:
    """A run by hand over the old rows' hour."""
    span = {"from": (OLD - HOUR).isoformat(), "to": OLD.isoformat()}
    # Airflow allows one run per logical date.
    return manual_run(task.dag, NOW + timedelta(seconds=next(_COUNT)), conf={"mode": mode, **span, **conf})


def sense(task: WatermarkSensor, run: DagRun) -> str:
    return str(attempt(run, task).state)


def note(task: WatermarkSensor, run: DagRun) -> object:
    return task_instance(run, task).xcom_pull(task_ids="wait", key="offload_note")


def test_an_equal_interval_is_skipped_with_its_row_count(
    trades: Trades, task: WatermarkSensor, caplog: pytest.LogCaptureFixture
) -> None:
    assert trades
    caplog.set_level(logging.INFO)
    run = scheduled_run(task.dag, OLD)
    assert sense(task, run) == "skipped"
    assert note(task, run) == "verified, 3 rows equal"
    assert "verified, 3 rows equal; nothing to do" in caplog.text


@pytest.mark.parametrize("mode", ["offload", "repair", "verify"])
def test_an_equal_interval_that_somebody_named_is_skipped_in_every_mode_that_compares(
    trades: Trades, task: WatermarkSensor, mode: str
) -> None:
    assert trades
    run = named(task, mode)
    assert sense(task, run) == "skipped"
    assert note(task, run) == "verified, 3 rows equal"


def test_a_late_row_lets_the_job_run_and_fails_a_run_that_only_verifies(trades: Trades, task: WatermarkSensor) -> None:
    trades.insert(CLOSED, 9)
    try:
        assert sense(task, scheduled_run(task.dag, OLD)) == "success"
        assert sense(task, named(task, "repair")) == "success"
        run = named(task, "verify")
        with pytest.raises(AirflowFailException, match=r"ClickHouse has 4 rows.*Iceberg has 3 rows.*mode repair"):
            sense(task, run)
        assert task_instance(run, task).state == "failed"
        assert "differs in" in str(note(task, run))
    finally:
        trades.take(9)


def test_a_row_that_clickhouse_lacks_is_for_restate_to_mend(trades: Trades, task: WatermarkSensor) -> None:
    trades.take(2)
    try:
        with pytest.raises(AirflowFailException, match=r"ClickHouse has 2 rows.*Iceberg has 3 rows.*mode restate"):
            sense(task, named(task, "verify"))
    finally:
        trades.insert(CLOSED, 2)


def test_restate_lets_the_job_run_without_comparing(
    trades: Trades, task: WatermarkSensor, caplog: pytest.LogCaptureFixture
) -> None:
    assert trades
    assert sense(task, named(task, "restate")) == "success"
    assert "equal" not in caplog.text


@pytest.mark.parametrize("mode", ["restate", "verify"])
def test_an_interval_that_nobody_has_offloaded_yet_is_skipped(trades: Trades, task: WatermarkSensor, mode: str) -> None:
    assert trades
    later = {"from": (NOW + HOUR).isoformat(), "to": (NOW + 2 * HOUR).isoformat()}
    run = named(task, mode, **later)
    assert sense(task, run) == "skipped"
    assert note(task, run) == "nothing offloaded there yet"


def test_an_interval_of_which_clickhouse_holds_nothing_any_more_is_skipped(
    trades: Trades, task: WatermarkSensor
) -> None:
    assert trades
    run = scheduled_run(task.dag, OLD - HOUR)
    assert sense(task, run) == "skipped"
    assert note(task, run) == "no longer in ClickHouse"


@pytest.mark.parametrize("conf", [{"tables": ["another"]}, {"layers": ["gold"]}])
def test_a_table_that_the_run_does_not_select_is_skipped(
    trades: Trades, task: WatermarkSensor, conf: dict[str, object]
) -> None:
    assert trades
    run = named(task, "restate", **conf)
    assert sense(task, run) == "skipped"
    assert note(task, run) == "not selected"


def test_a_conf_that_is_wrong_fails_and_nothing_runs(trades: Trades, task: WatermarkSensor) -> None:
    assert trades
    with pytest.raises(AirflowFailException, match="`to` is missing"):
        sense(task, named(task, "repair", to=None))


def test_pyiceberg_is_loaded_only_when_an_interval_is_compared(trades: Trades) -> None:
    home = trades.world.folder
    loaded = (
        "import sys, offload_airflow.sensors.watermark; print('pyiceberg' in sys.modules, 'pyarrow' in sys.modules)"
    )
    environ = {**process_environment(home), "PYTHONPATH": str(CHECKOUT / "plugins")}
    result = subprocess.run([sys.executable, "-c", loaded], env=environ, capture_output=True, text=True, check=True)
    assert result.stdout.split()[-1] == "False", result.stdout
