"""Reads from and inserts into the hot tier over HTTP."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from devstack.market_feed.position import FeedPosition
from devstack.market_feed.trades import bronze_table
from offload_core.config.connections import ClickHouseConnection
from offload_core.errors import ClickHouseUnavailable, FixCredentials, OffloadError, QueryFailed, RunInit

UNKNOWN_TABLE = 60
UNKNOWN_DATABASE = 81
AUTHENTICATION = frozenset({192, 193, 194, 516})
WIRE_ROWS = 65_536


def connect(server: ClickHouseConnection) -> Client:
    """Return a client for one thread; close it, or use it in a `with` statement.

    Raises:
        ClickHouseUnavailable: ClickHouse does not answer.
        FixCredentials: ClickHouse refuses user or password.
        RunInit: the database does not exist.
    """
    with _translating_errors(f"{server.host}:{server.http_port}"):
        return clickhouse_connect.get_client(
            host=server.host,
            port=server.http_port,
            username=server.user,
            password=server.password.get_secret_value(),
            database=server.database,
            secure=server.secure,
            compress=False,
            autogenerate_session_id=False,
        )


def read_position(client: Client, exchange: str) -> FeedPosition:
    """Return the greatest numbers in the exchange's bronze table; ids that are not numbers are ignored.

    Raises:
        RunInit: the table does not exist.
        ClickHouseUnavailable: ClickHouse does not answer.
    """
    table = bronze_table(exchange)
    query = "SELECT symbol, max(toUInt64OrZero(trade_id)), max(sequence_number) FROM {table:Identifier} GROUP BY symbol"
    with _translating_errors(table):
        rows = client.query(query, parameters={"table": table}).result_rows
    return FeedPosition(
        sequence=max((int(sequence) for _, _, sequence in rows), default=0),
        trade_ids={str(symbol): int(trade_id) for symbol, trade_id, _ in rows},
    )


def stored_ids(client: Client, exchange: str, symbols: Sequence[str]) -> pa.Table:
    """Return the columns `symbol` and `trade_id` of the trades of `symbols` in the exchange's bronze table.

    Raises:
        RunInit: the table does not exist.
        ClickHouseUnavailable: ClickHouse does not answer.
    """
    table = bronze_table(exchange)
    query = (
        "SELECT toString(symbol) AS symbol, trade_id FROM {table:Identifier} AS bronze "
        "WHERE bronze.symbol IN {symbols:Array(String)}"
    )
    with _translating_errors(table):
        return client.query_arrow(query, parameters={"table": table, "symbols": list(symbols)}, use_strings=True)


def insert(client: Client, exchange: str, trades: pa.Table) -> None:
    """Insert trades (`TRADE_SCHEMA`) into the exchange's bronze table, in one request.

    Raises:
        RunInit: the table does not exist.
        QueryFailed: ClickHouse refused the rows; none of them was stored.
        ClickHouseUnavailable: ClickHouse does not answer. The rows may be stored or not: check before sending again.
    """
    table = bronze_table(exchange)
    with _translating_errors(table):
        # A stream, because the driver sends bytes again when the connection breaks, which could insert them twice.
        client.raw_insert(
            table, column_names=trades.column_names, insert_block=_arrow_stream(trades), fmt="ArrowStream"
        )


def _arrow_stream(trades: pa.Table) -> Generator[bytes, None, None]:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, trades.schema) as writer:
        for batch in trades.unify_dictionaries().to_batches(max_chunksize=WIRE_ROWS):
            writer.write_batch(batch)
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


@contextmanager
def _translating_errors(target: str) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise _explain(target, error) from error
    except ClickHouseError as error:
        raise QueryFailed(
            f"The ClickHouse driver failed at {target}: {error}.", "Read ClickHouse's message."
        ) from error


def _explain(target: str, error: DatabaseError) -> OffloadError:
    if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
        return RunInit(
            f"The hot tier is not set up: ClickHouse has no {target}, or not its database.",
            "Run `offload init --hot-tier`.",
        )
    if error.code in AUTHENTICATION:
        return FixCredentials(
            f"ClickHouse refused the login at {target}.", "Correct user and password in the connections."
        )
    if error.code is None:
        return ClickHouseUnavailable(
            f"ClickHouse does not answer at {target}: {error}.",
            "Start it (`make up`), then check what the table contains.",
        )
    return QueryFailed(f"ClickHouse refused {target}: {error}.", "Correct what its message names.", code=error.code)
