"""Impossible watermarks, whatever their origin, are refused and explained, and one command corrects them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.ledger.ddl import statements
from offload_core.ledger.session import connect
from offload_core.protocol.window import Cursor
from tests.support.checkout import CHECKOUT
from tests.support.spark.fault_tables import NOON, prepared
from tests.support.spark.faults import assert_exact
from tests.support.spark.operated_table import OperatedTrades

INSERT = (
    "INSERT INTO offload_watermarks (table_name, max_timestamp, max_sequence_number, created_at) "
    "VALUES (%s, %s, %s, %s)"
)


@pytest.fixture(scope="module")
def trades(
    request: pytest.FixtureRequest, servers: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatedTrades]:
    """A table for every test here."""
    with prepared(OperatedTrades, request, servers, tmp_path_factory) as tables:
        yield tables


def insert_by_hand(
    trades: OperatedTrades,
    table: TableConfig,
    moment: str | None,
    sequence: str | None = "0",
    created_at: datetime | None = None,
) -> None:
    """Add a row with plain SQL, as an operator may do."""
    with closing(connect(trades.world.connections.postgres)) as session:
        session.execute(INSERT, (table.name, moment, sequence, created_at or datetime.now(timezone.utc)))


def insert_past_the_constraint(trades: OperatedTrades, table: TableConfig, moment: str) -> None:
    """Add a row that a ledger from an old backup may contain."""
    with closing(connect(trades.world.connections.postgres)) as session:
        session.execute("ALTER TABLE offload_watermarks DROP CONSTRAINT offload_watermarks_true_watermark")
        session.execute(INSERT, (table.name, moment, "0", datetime.now(timezone.utc)))
        for statement in statements(CHECKOUT / "include" / "sql" / "postgres"):
            session.execute(statement.encode())


REFUSED = [
    (None, "0"),
    ("yesterday-ish", "0"),
    ("infinity", "0"),
    ("-infinity", "0"),
    ("9999-12-31 23:59:59+00", "0"),
    ("0044-03-15 12:00:00+00 BC", "0"),
    ("2026-11-01 12:00:00+00", None),
    ("2026-11-01 12:00:00+00", "-1"),
    ("2026-11-01 12:00:00+00", "NaN"),
    ("2026-11-01 12:00:00+00", "18446744073709551616"),
]


def test_garbage_typed_by_hand_is_refused_by_postgresql_itself(trades: OperatedTrades) -> None:
    table = trades.take(0)
    for moment, sequence in REFUSED:
        with pytest.raises((psycopg.DataError, psycopg.IntegrityError)):
            insert_by_hand(trades, table, moment, sequence)
    assert [row.kind for row in trades.world.history(table)] == ["init"]


@pytest.mark.parametrize(
    "moment",
    [
        "infinity",
        pytest.param("0044-03-15 12:00:00+00 BC", marks=pytest.mark.full),
        pytest.param("-infinity", marks=pytest.mark.full),
        pytest.param("9999-12-31 23:59:59+00", marks=pytest.mark.full),
        pytest.param("20000-01-01 00:00:00+00", marks=pytest.mark.full),
    ],
)
def test_a_watermark_outside_all_time_stops_the_table_and_can_be_reset(trades: OperatedTrades, moment: str) -> None:
    table = trades.take(0)
    trades.offload(table, 10)
    insert_past_the_constraint(trades, table, moment)
    trades.insert(table, 10, 5)
    assert "`offload reset`" in trades.require_error(table, "watermark_corrupt")
    environ = {"OFFLOAD_TABLES": f"[{table.model_dump_json()}]"}
    assert table.name in trades.world.offload("status", environ=environ)
    assert table.name in trades.operate("history", table)
    assert "offload: " in trades.operate("resume", table, "--yes", status=2)
    trades.operate("reset", table, "--to", NOON.isoformat(), "--yes")
    trades.world.run_well(table)
    assert_exact(trades.world, table, rows=15)


def test_a_watermark_in_the_future_stops_the_table(trades: OperatedTrades) -> None:
    table = trades.take(0)
    trades.offload(table, 10)
    trades.world.reset(table, Cursor(datetime.now(timezone.utc) + timedelta(days=1)))
    trades.insert(table, 10, 5)
    message = trades.require_error(table, "watermark_corrupt")
    assert "lies in the future" in message
    assert "`offload reset`" in message


@pytest.mark.full
def test_a_watermark_set_to_1970_by_hand_reads_everything_again_and_inserts_nothing_twice(
    trades: OperatedTrades,
) -> None:
    table = trades.take(0)
    trades.offload(table, 10)
    insert_by_hand(trades, table, "1970-01-01 00:00:00+00")
    result = trades.offload(table, 5)
    assert "Rows offloaded: 5" in result.output
    assert_exact(trades.world, table, rows=15)


def test_a_table_without_a_watermark_is_an_error_and_never_starts_from_zero(trades: OperatedTrades) -> None:
    table = trades.take(0)
    trades.offload(table, 10)
    with closing(connect(trades.world.connections.postgres)) as session:
        session.execute("DELETE FROM offload_watermarks WHERE table_name = %s", (table.name,))
    trades.insert(table, 10, 5)
    assert f"Watermark not found for table: {table.name}" in trades.require_error(table, "watermark_not_found")


def test_ledger_rows_count_in_the_order_they_were_written_whatever_postgresqls_clock_said(
    trades: OperatedTrades,
) -> None:
    table = trades.take(0)
    trades.offload(table, 10)
    ahead = datetime.now(timezone.utc) + timedelta(minutes=10)
    insert_by_hand(trades, table, f"{(NOON + timedelta(seconds=9)).isoformat()}", "9", created_at=ahead)
    for _ in range(2):
        trades.offload(table, 5)
    rows = trades.valid_history(table)
    assert [row.kind for row in rows] == ["init", "increment", "reset", "increment", "increment"]
    assert [row.row_count for row in rows] == [0, 10, 0, 5, 5]
    assert_exact(trades.world, table, rows=20)
