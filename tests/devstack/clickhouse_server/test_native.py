"""The native protocol, as clickhouse-driver speaks it."""

import datetime
import ipaddress
import socket
import threading
import time
import uuid
from decimal import Decimal

import pytest
from clickhouse_driver.errors import Error, NetworkError, ServerException

from tests.support.stack.gateway import PASSWORD

UTC = datetime.timezone.utc

VALUES = {
    "Int8": [-128, 127],
    "UInt64": [0, 2**64 - 1],
    "Int128": [-(2**127), 2**127 - 1],
    "UInt256": [0, 2**256 - 1],
    "Float64": [0.1, -1e300],
    "Bool": [True, False],
    "String": ["", "ü\0'" * 100],
    "FixedString(3)": ["abc", "xyz"],
    "Date": [datetime.date(1970, 1, 2), datetime.date(2149, 6, 6)],
    "Date32": [datetime.date(1900, 1, 1), datetime.date(2299, 12, 31)],
    "DateTime('Asia/Tokyo')": [datetime.datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)] * 2,
    "DateTime64(6, 'Asia/Tokyo')": [datetime.datetime(2026, 11, 20, 23, 59, 59, 999999, tzinfo=UTC)] * 2,
    "Decimal(9, 2)": [Decimal("-1234567.89"), Decimal("0.01")],
    "Decimal(18, 8)": [Decimal("-1234567890.12345678")] * 2,
    "Decimal(38, 8)": [Decimal("123456789012345678901234567890.12345678"), Decimal("-0.00000001")],
    "Decimal(76, 8)": [Decimal("1" * 60 + ".12345678"), Decimal("-0.00000001")],
    "Enum8('buy' = 1, 'se,ll)' = 2)": ["buy", "se,ll)"],
    "Enum16('a' = -5, 'b' = 500)": ["a", "b"],
    "UUID": [uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)],
    "IPv4": [ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv4Address("255.255.255.255")],
    "IPv6": [ipaddress.IPv6Address("::1"), ipaddress.IPv6Address("2001:db8::ff")],
    "Nullable(Decimal(38, 8))": [None, Decimal("5.50000000")],
    "Nullable(String)": [None, "x"],
    "Nullable(Enum8('buy' = 1, 'sell' = 2))": [None, "sell"],
    "LowCardinality(String)": ["", "BTC-USD"],
    "LowCardinality(Nullable(String))": [None, "BTC-USD"],
    "LowCardinality(FixedString(2))": ["ab", "cd"],
    "Array(UInt8)": [[], [1, 2, 3]],
    "Array(Array(Nullable(String)))": [[], [["a", None], []]],
    "Array(LowCardinality(String))": [[], ["a", "b", "a"]],
    "Array(LowCardinality(Nullable(String)))": [["a", None], []],
    "Map(String, UInt64)": [{}, {"a": 1, "b": 2}],
    "Map(LowCardinality(String), Array(UInt8))": [{}, {"a": [1], "b": []}],
    "Tuple(UInt8, String)": [(1, "a"), (2, "")],
    "Tuple(a UInt8, b LowCardinality(String), c Array(Tuple(x Int8, y Nullable(Int8))))": [
        (1, "q", []),
        (2, "q", [(1, None), (2, 5)]),
    ],
    "SimpleAggregateFunction(max, Decimal(38, 8))": [Decimal("1.00000000"), Decimal("2.00000000")],
}


@pytest.fixture
def driver(gateway):
    client = gateway.driver()
    yield client
    client.disconnect()


@pytest.mark.parametrize("type_name", VALUES)
def test_values_of_every_type_survive_the_way_in_and_out(driver, type_name):
    driver.execute("DROP TABLE IF EXISTS one_type")
    driver.execute(f"CREATE TABLE one_type (i UInt8, v {type_name}, last String) ENGINE = MergeTree ORDER BY i")
    values = VALUES[type_name]
    rows = [{"i": i, "v": value, "last": "end"} for i, value in enumerate(values)]

    assert driver.execute("INSERT INTO one_type VALUES", rows) == len(values)

    found = driver.execute("SELECT v, last FROM one_type ORDER BY i")
    assert found == [(value, "end") for value in values]


def test_all_types_travel_in_blocks_of_many_rows(driver):
    names = {f"c{i}": type_name for i, type_name in enumerate(VALUES)}
    columns = ", ".join(f"{name} {type_name}" for name, type_name in names.items())
    driver.execute("DROP TABLE IF EXISTS many_types")
    driver.execute(f"CREATE TABLE many_types (i UInt64, {columns}) ENGINE = MergeTree ORDER BY i")
    rows = [{"i": i, **{name: VALUES[names[name]][i % 2] for name in names}} for i in range(2000)]

    driver.execute("INSERT INTO many_types VALUES", rows, settings={"insert_block_size": 300})

    assert driver.execute("SELECT * FROM many_types ORDER BY i") == [tuple(row.values()) for row in rows]


def test_results_have_their_columns_even_without_rows(driver):
    columns = [("a", "UInt8"), ("b", "LowCardinality(String)")]
    sql = "SELECT 1 AS a, toLowCardinality('x') AS b"

    assert driver.execute(sql, with_column_types=True) == ([(1, "x")], columns)
    assert driver.execute(f"{sql} LIMIT 0", with_column_types=True) == ([], columns)
    assert driver.execute("SHOW TABLES LIKE 'nowhere'", with_column_types=True) == ([], [("name", "String")])


def test_the_zone_of_a_time_arrives_with_it(driver):
    sql = "SELECT toDateTime('2026-01-02 03:04:05', 'Asia/Tokyo') AS a, 'x' AS b, toDateTime64(0, 3, 'UTC') AS c"
    types = [("a", "DateTime('Asia/Tokyo')"), ("b", "String"), ("c", "DateTime64(3, 'UTC')")]

    rows, found = driver.execute(sql, with_column_types=True)

    assert found == types
    assert rows[0][0] == datetime.datetime(2026, 1, 1, 18, 4, 5, tzinfo=UTC)
    assert driver.execute(f"{sql} LIMIT 0", with_column_types=True) == ([], types)


def test_the_time_zone_of_the_server_is_utc(driver, gateway):
    assert driver.execute("SELECT timezone()") == [("UTC",)]
    assert gateway.send("SELECT 1").headers["X-ClickHouse-Timezone"] == "UTC"


def test_every_kind_of_statement_works(driver):
    assert driver.execute("CREATE TABLE kinds (a UInt8) ENGINE = MergeTree ORDER BY a") == []
    assert driver.execute("INSERT INTO kinds (a) VALUES (1), (2)") == []
    assert driver.execute("INSERT INTO kinds SELECT 3") == []
    assert driver.execute("INSERT INTO kinds (a) VALUES", [[4]]) == 1
    assert driver.execute("SELECT sum(a) FROM kinds FORMAT CSV SETTINGS max_threads = 1") == [(10,)]
    assert driver.execute("WITH 5 AS x SELECT a FROM kinds WHERE a + 1 = x") == [(4,)]
    assert driver.execute("EXISTS TABLE kinds") == [(1,)]
    assert driver.execute("DESCRIBE TABLE kinds")[0][:2] == ("a", "UInt8")
    assert driver.execute("ALTER TABLE kinds DELETE WHERE a = 4 SETTINGS mutations_sync = 2") == []
    assert driver.execute("OPTIMIZE TABLE kinds FINAL") == []
    assert driver.execute("SELECT count() FROM kinds") == [(3,)]
    assert driver.execute("DROP TABLE kinds") == []


def test_a_large_result_comes_in_blocks(driver):
    total = rows = 0
    for row in driver.execute_iter(
        "SELECT number, toString(number) FROM numbers(300000)", settings={"strings_as_bytes": True}
    ):
        rows += 1
        total += row[0]

    assert (rows, total) == (300_000, sum(range(300_000)))


@pytest.mark.parametrize(
    ("user", "password"), [("offload", "wrong"), ("nobody", PASSWORD), ("default", ""), ("offload", "")]
)
def test_a_wrong_password_is_error_516(gateway, user, password):
    client = gateway.driver(user=user, password=password)

    with pytest.raises(ServerException, match="Authentication failed") as caught:
        client.execute("SELECT 1")

    assert caught.value.code == 516
    client.disconnect()


def test_errors_have_their_codes_and_the_connection_stays_open(driver):
    for sql, code in [
        ("SELECT * FROM nowhere", 60),
        ("SELEC 1", 62),
        ("SELECT number, throwIf(number = 200000) FROM numbers(300000)", 395),
        ("INSERT INTO nowhere (a) VALUES (1)", 60),
        ("SELECT 1; SELECT 2", 62),
    ]:
        with pytest.raises(ServerException) as caught:
            driver.execute(sql)
        assert caught.value.code == code
        assert driver.execute("SELECT 1") == [(1,)]


def test_an_unknown_database_is_error_81(gateway):
    client = gateway.driver(database="nowhere")

    with pytest.raises(ServerException) as caught:
        client.execute("SELECT 1")

    assert caught.value.code == 81
    client.disconnect()


def test_an_insert_that_a_constraint_forbids_is_an_error(driver):
    driver.execute("DROP TABLE IF EXISTS checked")
    driver.execute("CREATE TABLE checked (a UInt8, CONSTRAINT small CHECK a < 5) ENGINE = MergeTree ORDER BY a")

    with pytest.raises(ServerException) as caught:
        driver.execute("INSERT INTO checked VALUES", [[9]])

    assert caught.value.code == 469
    assert driver.execute("SELECT count() FROM checked") == [(0,)]


def test_settings_apply_to_one_query_and_set_to_the_connection(driver):
    sql = "SELECT getSetting('max_block_size')"
    driver.execute("SET max_block_size = 77")

    assert driver.execute(sql, settings={"max_block_size": 5}) == [(5,)]
    assert driver.execute(sql) == [(77,)]
    with pytest.raises(ServerException) as caught:
        driver.execute(sql, settings={"no_such_setting": 5})
    assert caught.value.code == 115


def test_a_connection_keeps_its_temporary_tables(driver):
    driver.execute("CREATE TEMPORARY TABLE mine (a UInt8)")
    driver.execute("INSERT INTO mine VALUES", [[1], [2]])

    assert driver.execute("SELECT sum(a) FROM mine") == [(3,)]


def test_external_tables_exist_for_one_query(driver):
    tables = [{"name": "ext", "structure": [("x", "Nullable(String)")], "data": [{"x": "q"}, {"x": None}]}]

    for _ in range(2):
        assert driver.execute("SELECT x FROM ext", external_tables=tables) == [("q",), (None,)]
    with pytest.raises(ServerException):
        driver.execute("SELECT x FROM ext")


def test_compression_is_refused_with_a_remedy(gateway):
    client = gateway.driver()
    client.execute("SELECT 1")
    client.connection.compression = True

    with pytest.raises(ServerException, match="connect without compression"):
        client.execute("SELECT 1")

    client.disconnect()


def test_a_type_whose_length_is_unknown_is_refused_with_a_remedy(gateway, driver):
    driver.execute("DROP TABLE IF EXISTS dynamic")
    driver.execute("CREATE TABLE dynamic (a JSON) ENGINE = MergeTree ORDER BY tuple()")

    with pytest.raises(Error):
        driver.execute("INSERT INTO dynamic VALUES", [[{"a": 1}]])

    gateway.ask('{"a": {"b": 1}}', query="INSERT INTO dynamic FORMAT JSONEachRow")
    assert gateway.ask("SELECT a.b FROM dynamic") == "\n" or gateway.ask("SELECT count() FROM dynamic") == "1\n"


def test_a_protocol_violation_ends_the_connection(gateway):
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b""):
        with socket.create_connection(("127.0.0.1", gateway.native_port), timeout=5) as connection:
            connection.sendall(rubbish)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
    assert gateway.ask("SELECT 1") == "1\n"


def test_a_query_ends_when_its_client_disconnects(gateway):
    client = gateway.driver()
    running = "SELECT count() FROM system.processes WHERE query_id = 'left'"

    def execute():
        with pytest.raises((NetworkError, EOFError, OSError)):
            client.execute("SELECT count() FROM system.numbers WHERE sipHash64(number) = 1", query_id="left")

    thread = threading.Thread(target=execute)
    thread.start()
    gateway.wait_until(running, "1")
    client.connection.socket.shutdown(socket.SHUT_RDWR)

    gateway.wait_until(running, "0")
    thread.join()
    client.disconnect()


def test_a_partly_read_result_ends_when_its_client_disconnects(gateway):
    client = gateway.driver()
    rows = client.execute_iter("SELECT number FROM system.numbers", query_id="leaving")
    next(rows)
    assert gateway.ask("SELECT count() FROM system.processes WHERE query_id = 'leaving'") == "1\n"

    client.disconnect()

    gateway.wait_until("SELECT count() FROM system.processes WHERE query_id = 'leaving'", "0")


def test_a_cancelled_result_ends_and_the_connection_stays_open(gateway, driver):
    rows = driver.execute_iter("SELECT number FROM system.numbers", query_id="stopped")
    next(rows)

    driver.cancel()

    gateway.wait_until("SELECT count() FROM system.processes WHERE query_id = 'stopped'", "0")
    assert driver.execute("SELECT 1") == [(1,)]


def test_many_rows_are_inserted_quickly(driver):
    driver.execute("DROP TABLE IF EXISTS quick")
    driver.execute("CREATE TABLE quick (a UInt64, b String, c LowCardinality(String)) ENGINE = MergeTree ORDER BY a")
    columns = [list(range(200_000)), [f"trade-{i}" for i in range(200_000)], ["BTC-USD"] * 200_000]
    begin = time.monotonic()

    driver.execute("INSERT INTO quick VALUES", columns, columnar=True)

    assert time.monotonic() - begin < 5
    assert driver.execute("SELECT sum(a), uniqExact(b) FROM quick") == [(sum(range(200_000)), 200_000)]
