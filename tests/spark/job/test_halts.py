"""Errors and halts of a table say what to do and leave nothing half-written."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta, timezone

import psutil
import pytest
from pydantic import SecretStr

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Cursor
from tests.support.spark.world import World

TRADES = TableConfig.model_validate(
    {
        "source": "trades",
        "target": "cold.trades",
        "layer": "bronze",
        "timestamp_col": "happened",
        "sequence_col": "number",
        "keys": ["number"],
    }
)
CREATE = "CREATE TABLE trades (happened DateTime64(6, 'UTC'), number UInt64) ENGINE = MergeTree ORDER BY happened"
NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def trades(world: World) -> World:
    """A world with one table and ten rows of it offloaded."""
    world.hot.command(CREATE)
    world.init(TRADES)
    insert(world, 0, 10)
    world.run_well(TRADES)
    return world


def insert(world: World, first: int, count: int) -> None:
    """Insert rows, one a second from noon."""
    world.hot.command(
        f"INSERT INTO trades SELECT toDateTime64('{NOON:%F %T}', 6, 'UTC') + number + {first}, number + {first} "
        f"FROM numbers({count})"
    )


@pytest.mark.parametrize("after_a_reset", [False, True])
def test_rows_that_ttl_takes_between_counting_and_fetching_halt_the_table(world: World, after_a_reset: bool) -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    world.hot.command(f"{CREATE} TTL toDateTime(happened) + INTERVAL 1 DAY")
    world.hot.command("SYSTEM STOP TTL MERGES trades")
    ages = (timedelta(hours=26), timedelta(hours=25), timedelta(hours=1))
    old, expired, fresh = (f"toDateTime64('{now - age:%F %T}', 6, 'UTC')" for age in ages)
    world.init(TRADES)
    world.hot.command(f"INSERT INTO trades VALUES ({old}, 1)")
    world.run_well(TRADES, interval_end=now - timedelta(hours=25, minutes=30))
    if after_a_reset:
        world.reset(TRADES, Cursor(now - timedelta(hours=26)))
    world.hot.command(f"INSERT INTO trades VALUES ({expired}, 2), ({fresh}, 3)")

    with world.paused(TRADES, "before-read") as job:
        world.hot.command("ALTER TABLE trades DELETE WHERE number = 2 SETTINGS mutations_sync = 2")
    result = world.finish(job)

    assert result.error["kind"] == "hot_rows_expired", result.output
    assert "TTL removed 1 rows of trades" in str(result.error["message"])
    assert world.run(TRADES).error["kind"] == "halted"


def test_a_quiet_table_is_not_taken_for_one_that_lost_rows(world: World) -> None:
    now = datetime.now(timezone.utc)
    world.hot.command(f"{CREATE} TTL toDateTime(happened) + INTERVAL 1 DAY")
    world.init(TRADES)
    world.run_well(TRADES)
    world.hot.command(f"INSERT INTO trades VALUES ('{now - timedelta(minutes=10):%F %T}', 1)")
    world.run_well(TRADES)
    world.require_equal(TRADES, rows=1)


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


BROKEN = {
    "unknown source table": ("source", "nothing", 20, "source_table", "Correct `source`"),
    "unknown target table": ("target", "cold.nothing", 20, "watermark_not_found", "offload init"),
    "missing timestamp column": ("timestamp_col", "nowhen", 20, "column", "'nowhen'"),
    "missing sequence column": ("sequence_col", "nonumber", 20, "column", "'nonumber'"),
    "missing key column": ("keys", ("nokey",), 20, "column", "'nokey'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_wrong_table_entry_says_what_to_correct(trades: World, case: str) -> None:
    field, value, status, kind, remedy = BROKEN[case]
    rows = len(list(trades.warehouse.rglob("*.parquet")))
    result = trades.run(TRADES.model_copy(update={field: value}))
    assert (result.status, result.error["kind"]) == (status, kind), result.output
    assert remedy in str(result.error["message"])
    assert len(list(trades.warehouse.rglob("*.parquet"))) == rows


@pytest.mark.parametrize(
    ("part", "update", "status", "kind"),
    [
        ("clickhouse", {"http_port": 0}, 10, "clickhouse_connection"),
        ("clickhouse", {"password": SecretStr("wrong-secret")}, 20, "credentials"),
        ("postgres", {"port": 0}, 10, "postgres_connection"),
        ("postgres", {"password": SecretStr("wrong-secret")}, 20, "credentials"),
        ("iceberg", {"uri": ""}, 10, "iceberg_catalog"),
        ("iceberg", {"password": SecretStr("wrong-secret")}, 20, "credentials"),
    ],
)
def test_a_server_that_is_down_or_refuses_says_what_to_do(
    trades: World, part: str, update: dict[str, object], status: int, kind: str
) -> None:
    port = free_port()
    values = {
        key: port if value == 0 else value or f"jdbc:postgresql://127.0.0.1:{port}/none"
        for key, value in update.items()
    }
    right = trades.connections
    trades.connections = right.model_copy(update={part: getattr(right, part).model_copy(update=values)})
    insert(trades, 10, 5)
    result = trades.run(TRADES)
    trades.connections = right
    assert (result.status, result.error["kind"]) == (status, kind), result.output
    assert "wrong-secret" not in result.output
    assert any(text in str(result.error["message"]) for text in ("Start it", "Correct", "Check that", "See that")), (
        result.error
    )
    trades.run_well(TRADES)
    trades.require_equal(TRADES, rows=15)


def test_no_secret_is_printed_or_shown_on_a_command_line(trades: World) -> None:
    insert(trades, 10, 5)
    secrets = [
        getattr(trades.connections, part).password.get_secret_value() for part in ("clickhouse", "postgres", "iceberg")
    ]
    with trades.paused(TRADES, "after-files") as job:
        tree = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
        lines = [" ".join(process.cmdline()) for process in tree if process.status() != psutil.STATUS_ZOMBIE]
    result = trades.finish(job)
    assert result.status == 0
    assert len(lines) >= 2
    for secret in secrets:
        assert secret not in result.output
        assert not any(secret in line for line in lines)
