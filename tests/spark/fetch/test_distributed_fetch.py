"""The job on a real cluster: executors fetch a large window exactly once, whichever process dies, and hide secrets."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from offload_core.failpoints import FAILPOINT_ENV, PAUSE_FILE_ENV
from offload_core.protocol.window import Cursor
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.spark.cluster import Cluster, distributed, environ_of, events, kept_open, spark_cluster
from tests.support.spark.faults import assert_exact
from tests.support.spark.s3_world import KEY, SECRET, warehouse_objects
from tests.support.spark.trades import NOON, TRADES, create_trades, insert_trades
from tests.support.spark.world import World
from tests.support.stack.s3_server import S3Server
from tests.support.waiting import wait_until

ROWS = 40


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with spark_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(autouse=True)
def on_the_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environ_of(cluster).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def trades(world: World) -> World:
    """A world with one small, empty table."""
    create_trades(world)
    return world


def insert_two_days(world: World, first: int = 1, rows: int = ROWS) -> None:
    """Insert rows with ids from `first`, a second apart, the twentieth at midnight."""
    midnight = NOON + timedelta(hours=12)
    ids = range(first, first + rows)
    insert_trades(world, first, *[(midnight + timedelta(seconds=number - ROWS / 2), number) for number in ids])


def data_files(world: World) -> set[str]:
    """The files in the table's data folder."""
    folder = world.warehouse / "cold" / "trades" / "data"
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".crc")}


def referenced(world: World) -> set[str]:
    """The names of the data files that the table refers to."""
    files = open_cold_table(world.connections.iceberg, TRADES.target).inspect.files()
    return {Path(name).name for name in files["file_path"].to_pylist()}


def executors_of_tasks(folder: Path) -> set[str]:
    """The ids of the executors that completed a task, from Spark's own event log."""
    ended = [event for event in events(folder) if event["Event"] == "SparkListenerTaskEnd"]
    return {event["Task Info"]["Executor ID"] for event in ended if not event["Task Info"]["Failed"]}  # type: ignore[index]


@contextmanager
def paused_executors(world: World, cluster: Cluster, folder: Path) -> Iterator[tuple[object, Path]]:
    """A job whose executors wait after their first file, and the file whose absence lets them continue."""
    gate = folder / "gate"
    armed = {FAILPOINT_ENV: "mid-read:pause", PAUSE_FILE_ENV: str(gate)}
    conf = {f"spark.executorEnv.{name}": value for name, value in armed.items()}
    job = world.start(TRADES, environ=cluster.environ(folder, **conf))
    try:
        wait_until(lambda: gate.exists() or job.poll() is not None, "an executor in the middle")
        assert job.poll() is None, job.communicate()[0]
        yield job, gate
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.communicate()


def test_a_large_window_is_fetched_by_all_executors_and_no_password_shows(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    insert_two_days(trades)
    world = distributed(trades, clickhouse_settings={"output_format_parquet_max_dictionary_size": 0})
    result = world.run_well(TRADES, environ=cluster.environ(tmp_path))

    assert "Files fetched by 2 executors" in result.output
    assert f"Rows offloaded: {ROWS}" in result.output
    assert executors_of_tasks(tmp_path) == {"0", "1"}
    assert_exact(trades, TRADES, rows=ROWS)
    assert data_files(trades) == referenced(trades)
    assert len(data_files(trades)) >= ROWS / 3
    # ClickHouse's settings went with the executors' queries.
    footers = [pq.read_metadata(path) for path in trades.warehouse.rglob("*.parquet")]
    assert not any(footer.row_group(0).column(0).has_dictionary_page for footer in footers)
    logged = "".join(path.read_text() for path in (tmp_path / "events").iterdir())
    assert "SparkListenerEnvironmentUpdate" in logged
    for password in (trades.connections.clickhouse.password, trades.connections.postgres.password):
        secret = password.get_secret_value()
        assert len(secret) > 10
        assert secret not in logged
        assert secret not in result.output
        assert secret not in cluster.written()


def test_a_small_window_makes_no_session(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    insert_two_days(trades, rows=10)
    small = distributed(trades).run_well(TRADES, environ=cluster.environ(tmp_path))
    assert "Files fetched" not in small.output
    assert events(tmp_path) == []
    assert_exact(trades, TRADES, rows=10)


@pytest.mark.full
def test_a_large_window_is_spread_to_its_last_commit(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    insert_two_days(trades)
    large = distributed(trades, max_rows_per_commit=15).run_well(TRADES, environ=cluster.environ(tmp_path))
    assert large.output.count("Files fetched by ") == 3
    assert_exact(trades, TRADES, rows=ROWS)


@pytest.mark.full
def test_a_thousand_files_are_one_job_and_one_commit(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    moment = f"toDateTime64('{NOON:%Y-%m-%d %H:%M:%S}', 6, 'UTC') + INTERVAL number MILLISECOND"
    trades.hot.command(f"INSERT INTO trades SELECT number, {moment}, number, 1 FROM numbers(10000)")
    result = distributed(trades, rows_per_file=10).run_well(TRADES, environ=cluster.environ(tmp_path))

    assert result.output.count("Files fetched by 2 executors") == 1
    cold = open_cold_table(trades.connections.iceberg, TRADES.target)
    assert len(cold.metadata.snapshots) == 1
    assert len(data_files(trades)) > 900
    assert_exact(trades, TRADES, rows=10000)


@pytest.mark.full
def test_an_executor_that_is_killed_while_it_fetches_leaves_nothing_twice_and_no_file(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    insert_two_days(trades)
    with paused_executors(distributed(trades), cluster, tmp_path) as (job, gate):
        cluster.executors()[0].kill()
        with kept_open(gate):
            ended = trades.finish(job)  # type: ignore[arg-type]

    assert ended.status == 0, ended.output
    failed = [event for event in events(tmp_path) if event.get("Event") == "SparkListenerTaskEnd"]
    assert any(event["Task Info"]["Failed"] for event in failed)  # type: ignore[index]
    assert_exact(trades, TRADES, rows=ROWS)
    assert data_files(trades) == referenced(trades)


@pytest.mark.full
def test_after_a_driver_that_is_killed_while_executors_fetch_the_next_run_is_right(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    insert_two_days(trades)
    world = distributed(trades)
    with paused_executors(world, cluster, tmp_path) as (job, gate):
        os.killpg(job.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with kept_open(gate):
            job.communicate()  # type: ignore[attr-defined]
            wait_until(lambda: not cluster.executors(), "the executors' end")
    left = data_files(trades)
    # What the two executors had fetched or begun when they lost their driver.
    assert 1 <= len(left) <= ROWS / 3 + 2

    insert_two_days(trades, first=ROWS + 1, rows=11)
    world.run_well(TRADES, environ=cluster.environ(tmp_path))

    assert_exact(trades, TRADES, rows=ROWS + 11)
    assert data_files(trades) == referenced(trades) | left
    assert referenced(trades).isdisjoint(left)


@pytest.mark.full
def test_rows_that_came_late_are_inserted_from_what_executors_fetched(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    insert_two_days(trades)
    trades.run_well(TRADES, environ=cluster.environ(tmp_path))
    before = data_files(trades)
    insert_trades(trades, 1001, (NOON, 1), (NOON + timedelta(hours=12, milliseconds=1), 2))
    trades.reset(TRADES, Cursor(NOON - timedelta(hours=1)))

    result = distributed(trades).run_well(TRADES, environ=cluster.environ(tmp_path))

    assert "Files fetched by 2 executors" in result.output
    assert f"2 of {ROWS + 2} rows were missing" in result.output
    assert_exact(trades, TRADES, rows=ROWS + 2)
    # Spark has written the two rows; what was fetched only to be compared is gone.
    assert data_files(trades) == referenced(trades)
    assert len(data_files(trades) - before) <= 2


@pytest.mark.full
def test_a_folder_that_the_driver_does_not_share_with_executors_is_told(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    insert_two_days(trades)
    with paused_executors(distributed(trades), cluster, tmp_path) as (job, gate):
        for path in trades.warehouse.rglob("*.parquet"):
            path.unlink()
        with kept_open(gate):
            ended = trades.finish(job)  # type: ignore[arg-type]

    assert ended.error["kind"] == "configuration"
    assert "all of Spark's machines share" in str(ended.error["message"])
    assert data_files(trades) == set()


@pytest.mark.full
def test_executors_write_to_s3_without_its_key(
    s3_world: World,
    s3: S3Server,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    create_trades(s3_world)
    insert_two_days(s3_world)
    result = distributed(s3_world).run_well(TRADES, environ=cluster.environ(tmp_path))

    assert "Files fetched by 2 executors" in result.output
    s3_world.require_equal(TRADES, rows=ROWS)
    objects = {Path(key).name for key in warehouse_objects(s3_world, s3) if key.endswith(".parquet")}
    assert objects == referenced(s3_world)
    logged = "".join(path.read_text() for path in (tmp_path / "events").iterdir())
    for secret in (KEY, SECRET, "X-Amz-Signature"):
        assert secret not in logged + result.output + cluster.written()


def test_what_goes_wrong_on_an_executor_is_told_as_if_the_driver_had_met_it_and_leaves_no_file(
    trades: World,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    insert_two_days(trades)
    trades.hot.command("ALTER TABLE trades ADD COLUMN note String DEFAULT if(id = 7, unhex('ff'), 'fine')")
    result = distributed(trades).run(TRADES, environ=cluster.environ(tmp_path))

    assert result.status != 0
    assert result.error["kind"] == "column"
    assert "'note'" in str(result.error["message"])
    assert data_files(trades) == set()
