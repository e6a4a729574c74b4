"""Results and inserts larger than the server's memory, and broken streams."""

import http.client
import io
import json
import socket
import threading
import time

import pyarrow.parquet
import pytest

from tests.support.stack.gateway import PASSWORD, USER

MIB = 1 << 20


def _highest_memory(gateway, stop):
    highest = 0
    while not stop.is_set():
        highest = max(highest, gateway.memory())
        stop.wait(0.02)
    return highest


@pytest.fixture
def growth(gateway):
    """The largest growth of the server's memory since the test began, in bytes."""
    before, stop, found = gateway.memory(), threading.Event(), []
    thread = threading.Thread(target=lambda: found.append(_highest_memory(gateway, stop)))
    thread.start()

    def finish():
        stop.set()
        thread.join()
        return found[0] - before

    yield finish
    stop.set()
    thread.join()


def test_a_result_of_any_size_needs_little_memory(gateway, growth):
    size = 0
    sql = "SELECT number, repeat('x', 100) FROM numbers(6000000) FORMAT TSV"
    with gateway.stream(sql) as response:
        while piece := response.read(MIB):
            size += len(piece)

    assert size > 600 * MIB
    assert growth() < 250 * MIB


def test_a_slow_reader_slows_down_the_engine(gateway, growth):
    with gateway.stream("SELECT repeat('x', 100) FROM numbers(100000000) FORMAT TSV", query_id="slow") as response:
        response.read(MIB)
        time.sleep(0.5)
        read = int(gateway.ask("SELECT read_rows FROM system.processes WHERE query_id = 'slow'"))

    assert read < 10_000_000
    assert growth() < 250 * MIB


def test_an_insert_of_any_size_needs_little_memory(gateway, growth):
    gateway.ask("CREATE TABLE large (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    piece = b"".join(b"%d,%s\n" % (i, b"x" * 100) for i in range(10_000))
    count = 600

    # The engine gathers a million rows for a part by default, which would hide what the server itself holds.
    sql = "INSERT INTO large SETTINGS min_insert_block_size_rows = 100000 FORMAT CSV"
    gateway.ask((piece for _ in range(count)), query=sql)

    assert gateway.ask("SELECT count() FROM large") == f"{count * 10_000}\n"
    assert count * len(piece) > 600 * MIB
    assert growth() < 350 * MIB
    gateway.ask("DROP TABLE large")


def test_parquet_arrives_complete_and_with_its_settings(gateway):
    sql = "SELECT number AS n, toDecimal128(number, 8) AS d, toString(number) AS s FROM numbers(200000) FORMAT Parquet"
    with_filter = gateway.send(sql, output_format_parquet_write_bloom_filter=1).body
    without = gateway.send(sql, output_format_parquet_write_bloom_filter=0).body

    table = pyarrow.parquet.read_table(io.BytesIO(without))

    assert table.num_rows == 200_000
    assert table["n"][-1].as_py() == 199_999
    assert len(without) < len(with_filter)


@pytest.mark.parametrize("options", [{}, {"enable_http_compression": 1, "headers": {"Accept-Encoding": "gzip"}}])
def test_an_error_in_the_middle_of_a_result_breaks_the_connection(gateway, options):
    sql = "SELECT number, throwIf(number = 3000000, 'too far') FROM numbers(10000000) FORMAT TSV"

    with gateway.stream(sql, **options, max_threads=1) as response:
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead) as caught:
            response.read()

    if not options:
        assert b"Code: 395. DB::Exception: too far" in caught.value.partial[-1000:]


def test_clickhouse_connect_notices_an_error_in_the_middle(gateway):
    client = gateway.connect()
    sql = "SELECT number, throwIf(number = 3000000, 'too far') FROM numbers(10000000)"

    with pytest.raises(Exception, match=r"too far|395"), client.query_row_block_stream(sql) as blocks:
        for _ in blocks:
            pass


def test_an_error_after_the_first_rows_of_a_small_result_is_a_plain_error(gateway):
    sql = "SELECT number, throwIf(number = 30) FROM numbers(100) SETTINGS max_block_size = 10"

    assert gateway.send(sql).status == 500


def test_with_wait_end_of_query_an_error_is_never_in_the_middle(gateway):
    sql = "SELECT number, throwIf(number = 3000000) FROM numbers(10000000) FORMAT TSV"

    assert gateway.send(sql, wait_end_of_query=1).status == 500

    good = gateway.send("SELECT number FROM numbers(1000000)", wait_end_of_query=1)
    assert good.headers["Content-Length"] == str(len(good.body))
    assert json.loads(good.headers["X-ClickHouse-Summary"])["result_rows"] == "1000000"


def _raw_request(gateway, head, body):
    connection = socket.create_connection(("127.0.0.1", gateway.http_port))
    credentials = f"X-ClickHouse-User: {USER}\r\nX-ClickHouse-Key: {PASSWORD}\r\n"
    connection.sendall(f"POST /?{head} HTTP/1.1\r\nHost: x\r\n{credentials}".encode() + body)
    return connection


def test_an_insert_whose_client_disconnects_is_not_completed(gateway, table):
    query = f"query_id=broken&query=INSERT+INTO+{table}+FORMAT+CSV"
    with _raw_request(gateway, query, b"Content-Length: 1000\r\n\r\n1,a\n2,b\n3,"):
        time.sleep(0.2)

    gateway.wait_until("SELECT count() FROM system.processes WHERE query_id = 'broken'", "0")
    assert gateway.ask(f"SELECT count() FROM {table}") == "0\n"


def test_a_query_ends_if_nobody_reads_its_result(gateway):
    with gateway.stream("SELECT number FROM system.numbers FORMAT TSV", query_id="endless") as response:
        response.read(MIB)
        assert gateway.ask("SELECT count() FROM system.processes WHERE query_id = 'endless'") == "1\n"

    gateway.wait_until("SELECT count() FROM system.processes WHERE query_id = 'endless'", "0")


def test_a_query_without_any_output_yet_ends_with_its_client(gateway):
    sql = b"SELECT count() FROM system.numbers WHERE sipHash64(number) = 1"
    running = "SELECT count() FROM system.processes WHERE query_id = 'silent'"
    with _raw_request(gateway, "query_id=silent", b"Content-Length: %d\r\n\r\n%s" % (len(sql), sql)):
        gateway.wait_until(running, "1")

    gateway.wait_until(running, "0")
