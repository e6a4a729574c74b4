"""An acknowledged row is in the table, and a row that isn't in the table is not acknowledged."""

import itertools
import signal
import threading

import pytest
from clickhouse_driver.errors import ServerException

from tests.support.stack.gateway import Gateway, running

pytestmark = pytest.mark.integration


@pytest.fixture
def refusing(gateway):
    """A table with a constraint, and one with a view behind it that fails."""
    gateway.ask("CREATE TABLE checked (a UInt64, CONSTRAINT not_nine CHECK a != 9) ENGINE = MergeTree ORDER BY a")
    gateway.ask("CREATE TABLE viewed (a UInt64) ENGINE = MergeTree ORDER BY a")
    gateway.ask("CREATE MATERIALIZED VIEW v ENGINE = Memory AS SELECT a, throwIf(a = 9) AS b FROM viewed")
    yield
    for name in ("v", "viewed", "checked"):
        gateway.ask(f"DROP TABLE {name}")


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(("table", "code"), [("checked", 469), ("viewed", 395)])
@pytest.mark.parametrize(
    "form", ["VALUES (9)", "FORMAT CSV\n9\n", "FORMAT CSV\n1\n9\n2\n", 'FORMAT JSONEachRow {"a":9}']
)
def test_rows_that_the_table_refuses_are_an_error_over_http(gateway, table, code, form):
    answer = gateway.send(f"INSERT INTO {table} {form}")

    assert answer.status == 500
    assert answer.headers["X-ClickHouse-Exception-Code"] == str(code), answer.text


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(("table", "code"), [("checked", 469), ("viewed", 395)])
def test_rows_that_the_table_refuses_are_an_error_over_the_native_protocol(gateway, table, code):
    client = gateway.driver()

    with pytest.raises(ServerException) as caught:
        client.execute(f"INSERT INTO {table} VALUES", [[9]])

    assert caught.value.code == code
    assert client.execute("SELECT 1") == [(1,)]
    client.disconnect()


@pytest.mark.usefixtures("refusing")
def test_an_insert_refused_at_its_beginning_ends_before_all_rows_are_sent(gateway):
    client = gateway.driver()
    rows = ([i] for i in itertools.chain([9], range(100, 500_000)))

    with pytest.raises(ServerException) as caught:
        client.execute("INSERT INTO checked VALUES", rows, settings={"insert_block_size": 10_000})

    assert caught.value.code == 469
    assert gateway.ask("SELECT count() FROM checked") == "0\n"
    client.disconnect()


def test_columns_that_are_left_out_get_their_defaults(gateway):
    gateway.ask("CREATE TABLE filled (a UInt64, b String DEFAULT concat('b', toString(a))) ENGINE = Memory")
    client = gateway.driver()

    gateway.ask('{"a": 1}\n{"a": 2, "b": "x"}', query="INSERT INTO filled FORMAT JSONEachRow")
    client.execute("INSERT INTO filled (a) VALUES", [[3]])

    assert gateway.ask("SELECT a, b FROM filled ORDER BY a") == "1\tb1\n2\tx\n3\tb3\n"
    gateway.ask("DROP TABLE filled")
    client.disconnect()


def test_an_insert_without_rows_inserts_none(gateway, table):
    client = gateway.driver()

    gateway.ask("", query=f"INSERT INTO {table} FORMAT Native")
    gateway.ask(f"INSERT INTO {table} FORMAT CSV")
    assert client.execute(f"INSERT INTO {table} VALUES", []) == 0

    assert gateway.ask(f"SELECT count() FROM {table}") == "0\n"
    client.disconnect()


def test_asynchronous_inserts_are_acknowledged_when_they_are_in_the_table(gateway, table):
    gateway.ask("1,a\n", query=f"INSERT INTO {table} FORMAT CSV", async_insert=1)
    gateway.ask(f"INSERT INTO {table} VALUES (2, 'b')", async_insert=1, wait_for_async_insert=0)

    assert gateway.ask(f"SELECT count() FROM {table}") == "2\n"


def test_a_native_insert_whose_client_disconnects_is_not_completed(gateway, table):
    for _ in range(5):
        client = gateway.driver()
        rows = ([i, "x" * (100 // (5000 - i))] for i in range(10_000))
        with pytest.raises(ZeroDivisionError):
            client.execute(f"INSERT INTO {table} VALUES", rows, settings={"insert_block_size": 1000})
        client.disconnect()

    gateway.wait_until("SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'", "0")
    assert gateway.ask(f"SELECT count() FROM {table}") == "0\n"


def _insert_until_the_end(gateway, acknowledged, worker):
    """Insert one batch after another and record the acknowledged ones."""
    for batch in itertools.count():
        rows = [[worker, batch, i] for i in range(20)]
        try:
            if worker % 2:
                gateway.connect().insert("kept", rows, column_names=["w", "b", "i"])
            else:
                client = gateway.driver()
                client.execute("INSERT INTO kept VALUES", rows)
                client.disconnect()
        except Exception:  # whatever a client raises when its server is killed
            return
        acknowledged.append((worker, batch))


def test_acknowledged_rows_survive_a_killed_server(tmp_path):
    acknowledged: list[tuple[int, int]] = []
    gateway = Gateway(tmp_path / "clickhouse").start()
    gateway.ask("CREATE TABLE kept (w UInt8, b UInt32, i UInt8) ENGINE = MergeTree ORDER BY (w, b, i)")
    try:
        for kill in range(3):
            before = len(acknowledged)
            workers = [
                threading.Thread(target=_insert_until_the_end, args=(gateway, acknowledged, 10 * kill + n))
                for n in range(4)
            ]
            for worker in workers:
                worker.start()
            gateway.wait_until(f"SELECT uniqExact(w, b) > {before + 60} FROM kept", "1")
            gateway.stop(signal.SIGKILL)
            for worker in workers:
                worker.join()
            gateway.start()
            found = gateway.ask("SELECT w, b FROM kept GROUP BY w, b HAVING count() = 20 AND uniqExact(i) = 20")
            in_table = {tuple(map(int, line.split("\t"))) for line in found.splitlines()}
            assert len(acknowledged) > before + 40
            assert set(acknowledged) - in_table == set()
    finally:
        gateway.stop()


def test_rows_acknowledged_before_a_clean_stop_are_there_afterwards(tmp_path):
    path = tmp_path / "clickhouse"
    with running(path) as gateway:
        gateway.ask("CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a")
        gateway.ask("INSERT INTO kept VALUES (1), (2)")
        assert gateway.stop() == 0

    with running(path) as gateway:
        assert gateway.ask("SELECT sum(a) FROM kept") == "3\n"
