"""Killed queries, memory limits and many parallel clients."""

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from clickhouse_driver.errors import ServerException

from tests.support.stack.gateway import running

pytestmark = pytest.mark.integration

ENDLESS = "SELECT count() FROM system.numbers WHERE sipHash64(number) = 1"


@pytest.mark.parametrize("mode", ["SYNC", "ASYNC"])
def test_a_query_is_killed_by_the_id_its_client_gave_it(gateway, mode):
    query_id = f"it's {mode}"
    quoted = query_id.replace("'", "\\'")
    with ThreadPoolExecutor() as pool:
        running_query = pool.submit(gateway.send, ENDLESS, query_id=query_id)
        gateway.wait_until(f"SELECT count() FROM system.processes WHERE query_id = '{quoted}'", "1")
        twin = gateway.send("SELECT 1", query_id=query_id)

        killed = gateway.ask(f"KILL QUERY WHERE query_id = '{quoted}' {mode} FORMAT TSVRaw").split("\t")

        answer = running_query.result(10)
    assert killed[:2] == ["finished" if mode == "SYNC" else "waiting", query_id]
    assert answer.headers["X-ClickHouse-Exception-Code"] == "394"
    assert twin.headers["X-ClickHouse-Exception-Code"] == "216"


def test_a_native_query_is_killed_by_the_id_its_client_gave_it(gateway):
    client, killer = gateway.driver(), gateway.driver()
    caught: list[ServerException] = []

    def execute() -> None:
        with pytest.raises(ServerException) as error:
            client.execute(ENDLESS, query_id="native one")
        caught.append(error.value)

    thread = threading.Thread(target=execute)
    thread.start()
    gateway.wait_until("SELECT count() FROM system.processes WHERE query_id = 'native one'", "1")

    assert killer.execute("KILL QUERY WHERE query_id = 'native one' TEST")[0][:2] == ("waiting", "native one")
    assert killer.execute("KILL QUERY WHERE query_id = 'nowhere'") == []
    killer.execute("KILL QUERY WHERE query_id = 'native one'")

    thread.join(10)
    assert [error.code for error in caught] == [394]
    client.disconnect()
    killer.disconnect()


def test_an_insert_that_waits_for_rows_can_be_killed(gateway, table):
    go_on = threading.Event()

    def rows():
        yield b"1,a\n" * 10
        go_on.wait(20)
        yield b"2,b\n"

    with ThreadPoolExecutor() as pool:
        insert = pool.submit(gateway.send, rows(), query=f"INSERT INTO {table} FORMAT CSV", query_id="waiting insert")
        gateway.wait_until("SELECT count() FROM system.processes WHERE query_id = 'waiting insert'", "1")

        gateway.ask("KILL QUERY WHERE query_id = 'waiting insert' SYNC")

        go_on.set()
        assert insert.exception(10) is not None or insert.result().headers["X-ClickHouse-Exception-Code"] == "394"
    assert gateway.ask(f"SELECT count() FROM {table}") == "0\n"


def test_a_native_insert_that_waits_for_rows_can_be_killed(gateway, table):
    client, go_on = gateway.driver(), threading.Event()

    def rows():
        yield from ([i, "x"] for i in range(3))
        go_on.wait(20)

    def insert():
        with pytest.raises((ServerException, EOFError, OSError)):
            client.execute(f"INSERT INTO {table} VALUES", rows(), settings={"insert_block_size": 1}, query_id="idle")

    thread = threading.Thread(target=insert)
    thread.start()
    gateway.wait_until("SELECT count() FROM system.processes WHERE query_id = 'idle'", "1")

    begin = time.monotonic()
    gateway.ask("KILL QUERY WHERE query_id = 'idle' SYNC")

    assert time.monotonic() - begin < 10
    go_on.set()
    thread.join()
    client.disconnect()
    assert gateway.ask(f"SELECT count() FROM {table}") == "0\n"


def test_a_query_beyond_the_memory_limit_is_error_241_and_the_server_keeps_running(tmp_path):
    with running(tmp_path / "clickhouse", max_memory=700 << 20) as gateway:
        groups = "SELECT groupArray(toString(number)) FROM numbers(100000000) GROUP BY number % 1000000"
        sql = f"SELECT count() FROM ({groups})"

        answer = gateway.send(sql, max_bytes_before_external_group_by=0, max_bytes_ratio_before_external_group_by=0)

        assert answer.headers["X-ClickHouse-Exception-Code"] == "241", answer.text
        assert "(MEMORY_LIMIT_EXCEEDED)" in answer.text
        assert gateway.ask("SELECT 1") == "1\n"
        # The engine itself takes 300 MB and gives back slowly; the query's groups would take more than 10 GB.
        assert gateway.memory() < 1536 << 20


def test_many_clients_do_not_wait_for_each_other(gateway):
    def over_http(_):
        return gateway.ask("SELECT sleep(1)")

    def over_native(_):
        client = gateway.driver()
        found = client.execute("SELECT sleep(1)")
        client.disconnect()
        return found

    begin = time.monotonic()
    with ThreadPoolExecutor(60) as pool:
        http = list(pool.map(over_http, range(30)))
        native = list(pool.map(over_native, range(30)))

    assert http == ["0\n"] * 30
    assert native == [[(0,)]] * 30
    assert time.monotonic() - begin < 10


def test_clients_of_both_kinds_read_and_write_the_same_table_at_once(gateway, table):
    def work(n):
        for i in range(5):
            if n % 2:
                gateway.ask(f"{n},{i}\n", query=f"INSERT INTO {table} FORMAT CSV")
            else:
                client = gateway.driver()
                client.execute(f"INSERT INTO {table} VALUES", [[n, str(i)]])
                client.execute(f"SELECT * FROM {table}")
                client.disconnect()

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(work, range(30)))

    assert gateway.ask(f"SELECT count(), uniqExact(a, b) FROM {table}") == "150\t150\n"


def test_abandoned_queries_leave_nothing_behind(gateway):
    for _ in range(20):
        with gateway.stream("SELECT number FROM system.numbers") as response:
            response.read(10)

    gateway.wait_until("SELECT count() FROM system.processes", "1")


def test_disconnecting_clients_are_not_logged_as_errors(gateway):
    before = gateway.log.read_text()
    with gateway.stream("SELECT number FROM system.numbers", query_id="no news") as response:
        response.read(10)
    broken = gateway.stream("SELECT number, throwIf(number = 3000000) FROM system.numbers")
    with broken as response, pytest.raises(http.client.IncompleteRead):
        response.read()
    gateway.wait_until("SELECT count() FROM system.processes", "1")

    assert gateway.log.read_text().removeprefix(before) == ""
