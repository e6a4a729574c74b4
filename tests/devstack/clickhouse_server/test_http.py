"""The HTTP protocol."""

import base64
import gzip
import json
import zlib

import lz4.frame
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.support.stack.gateway import PASSWORD, USER


def _basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    "credentials",
    [{"headers": _basic(USER, PASSWORD), "plain": True}, {"user": USER, "password": PASSWORD, "plain": True}, {}],
    ids=["basic", "url", "headers"],
)
def test_the_password_is_taken_from_basic_url_and_headers(gateway, credentials):
    assert gateway.ask("SELECT 1", **credentials) == "1\n"


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("nobody", PASSWORD), (USER, ""), ("default", "")])
def test_a_wrong_password_is_error_516_and_status_403(gateway, user, password):
    response = gateway.send("SELECT 1", user=user, password=password, plain=True)
    text = response.text

    assert response.status == 403
    assert response.headers["X-ClickHouse-Exception-Code"] == "516"
    assert text.startswith(f"Code: 516. DB::Exception: {user}: Authentication failed")
    assert "(AUTHENTICATION_FAILED)" in text


def test_only_ping_is_answered_without_a_password(gateway):
    assert gateway.send("SELECT 1", plain=True).status == 403
    assert gateway.send(method="GET", path="/ping", plain=True).body == b"Ok.\n"


def test_clickhouse_connect_reads_and_writes(gateway, table):
    client = gateway.connect()
    client.insert(table, [[1, "a"], [2, "ü'\t\\"]], column_names=["a", "b"])

    result = client.query(
        f"SELECT a, b FROM {table} WHERE b = {{b:String}} AND a < {{a:UInt8}}", parameters={"b": "ü'\t\\", "a": 5}
    )

    assert result.result_rows == [(2, "ü'\t\\")]
    assert client.command("SELECT version()") == client.server_version
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM nowhere")


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", None])
def test_clickhouse_connect_compresses_both_ways(gateway, table, compression):
    client = gateway.connect(compress=compression or False)
    client.insert(table, [[i, "x" * 50] for i in range(50_000)], column_names=["a", "b"])

    rows = client.query(f"SELECT count(), sum(a), any(length(b)) FROM {table}").result_rows
    frame = client.query(f"SELECT a, b FROM {table}").result_columns

    assert rows == [(50_000, sum(range(50_000)), 50)]
    assert len(frame[0]) == 50_000


def test_settings_in_the_url_apply_to_the_query(gateway):
    sql = "SELECT getSetting('max_threads'), getSetting('max_block_size')"

    assert gateway.ask(sql, max_threads=1, max_block_size=1234) == "1\t1234\n"
    assert gateway.ask("SELECT getSetting('max_block_size')") != "1234\n"


def test_parameters_are_escaped_as_in_clickhouse(gateway):
    sql = "SELECT {s:String}, {d:DateTime64(6,'UTC')}, {a:Array(UInt8)}, {n:Nullable(String)} FORMAT JSONCompactEachRow"

    answer = gateway.ask(sql, param_s="a\\tb'", param_d="2026-11-20 01:02:03.000004", param_a="[1,2]", param_n="\\N")

    assert json.loads(answer) == ["a\tb'", "2026-11-20 01:02:03.000004", [1, 2], None]


def test_the_database_is_the_requested_one_or_the_default(gateway):
    assert gateway.ask("SELECT currentDatabase()") == "k2\n"
    assert gateway.ask("SELECT currentDatabase()", database="system") == "system\n"
    assert gateway.ask("SELECT currentDatabase()", headers={"X-ClickHouse-Database": "system"}) == "system\n"


@pytest.mark.parametrize("where", ["url", "header", "query"])
def test_the_format_is_the_requested_one(gateway, where):
    url = {"default_format": "CSV"} if where == "url" else {}
    headers = {"X-ClickHouse-Format": "CSV"} if where == "header" else {}

    response = gateway.send(f"SELECT 1, 'a'{' FORMAT CSV' if where == 'query' else ''}", headers=headers, **url)

    assert response.body == b'1,"a"\n'
    assert response.headers["X-ClickHouse-Format"] == "CSV"
    assert response.headers["Content-Type"].startswith("text/csv")


def test_the_answer_names_the_query_and_counts_its_rows(gateway):
    response = gateway.send("SELECT number FROM numbers(7)", query_id="seven")

    summary = json.loads(response.headers["X-ClickHouse-Summary"])

    assert response.headers["X-ClickHouse-Query-Id"] == "seven"
    assert (summary["read_rows"], summary["result_rows"]) == ("7", "7")


def test_an_insert_counts_the_rows_that_it_wrote(gateway, table):
    response = gateway.send("1,a\n2,b\n", query=f"INSERT INTO {table} FORMAT CSV")

    assert json.loads(response.headers["X-ClickHouse-Summary"])["written_rows"] == "2"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_results_are_compressed_only_if_both_sides_want_it(gateway, encoding):
    headers = {"Accept-Encoding": encoding}
    packed = gateway.send("SELECT 'abc'", headers=headers, enable_http_compression=1)
    plain = gateway.send("SELECT 'abc'", headers=headers)
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, "lz4": lz4.frame.decompress}.get(encoding)

    data = packed.body

    assert packed.headers["Content-Encoding"] == encoding
    assert data != b"abc\n"
    assert unpack is None or unpack(data) == b"abc\n"
    assert plain.headers["Content-Encoding"] is None
    assert plain.body == b"abc\n"


def test_compressed_bodies_are_decompressed_even_in_several_frames(gateway, table):
    body = gzip.compress(b"1,a\n") + gzip.compress(b"2,b\n")

    gateway.ask(body, query=f"INSERT INTO {table} FORMAT CSV", headers={"Content-Encoding": "gzip"})

    assert gateway.ask(f"SELECT count() FROM {table}") == "2\n"


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [(gzip.compress(b"1,a\n" * 9999)[:-20], "gzip", "271"), (b"1,a\n", "gzip", "271"), (b"1,a\n", "rot13", "779")],
    ids=["truncated", "not packed", "unknown"],
)
def test_a_body_that_cannot_be_decompressed_inserts_nothing(gateway, table, body, encoding, code):
    response = gateway.send(body, query=f"INSERT INTO {table} FORMAT CSV", headers={"Content-Encoding": encoding})

    assert response.headers["X-ClickHouse-Exception-Code"] == code
    assert gateway.ask(f"SELECT count() FROM {table}") == "0\n"


def test_a_get_reads_and_changes_nothing(gateway, table):
    assert gateway.ask(None, method="GET", query=f"SELECT count() FROM {table}") == "0\n"
    for sql in (f"INSERT INTO {table} VALUES (1, 'a')", f"DROP TABLE {table}", "KILL QUERY WHERE 1"):
        response = gateway.send(method="GET", query=sql)
        assert "(READONLY)" in response.text
        assert response.headers["X-ClickHouse-Exception-Code"] == "164"
    assert gateway.ask(f"SELECT count() FROM {table}") == "0\n"


@pytest.mark.parametrize("split", [0, 4, 15, 999])
def test_a_statement_may_be_split_between_url_and_body(gateway, table, split):
    sql = f"INSERT INTO {table} FORMAT CSV\n1,a\n"
    # ClickHouse puts a line end behind the URL's part, so that it can be cut between words only.
    cut = sql.find(" ", split) if split < len(sql) else len(sql) - len("\n1,a\n")

    gateway.ask(sql[cut + 1 :], query=sql[:cut])

    assert gateway.ask(f"SELECT count() FROM {table}") == "1\n"


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM nowhere", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT * FROM nowhere.t", 404, 81, "UNKNOWN_DATABASE"),
        ("SELECT nothing", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT nofunction(1)", 404, 46, "UNKNOWN_FUNCTION"),
        ("SELECT 1 FORMAT Nothing", 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT FROM WHERE", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
        ("INSERT INTO nowhere VALUES (1)", 404, 60, "UNKNOWN_TABLE"),
        ("INSERT INTO nowhere FORMAT CSV\n1", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("CREATE TABLE system.one (a Int8) ENGINE = Memory", 500, 57, "TABLE_ALREADY_EXISTS"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.1", 408, 159, "TIMEOUT_EXCEEDED"),
    ],
)
def test_errors_have_the_status_and_code_that_clickhouse_gives_them(gateway, sql, status, code, name):
    response = gateway.send(sql)
    text = response.text

    assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (status, str(code)), text
    assert text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version " in text


def test_an_unknown_setting_or_database_is_an_error(gateway):
    assert gateway.send("SELECT 1", no_such_setting=1).headers["X-ClickHouse-Exception-Code"] == "115"
    assert gateway.send("SELECT 1", database="nowhere").headers["X-ClickHouse-Exception-Code"] == "81"


def test_rows_that_cannot_be_parsed_are_an_error_and_not_inserted(gateway, table):
    response = gateway.send("1,a\nx,b\n", query=f"INSERT INTO {table} FORMAT CSV")

    assert response.status == 400
    assert response.headers["X-ClickHouse-Exception-Code"] == "27"
    assert gateway.ask(f"SELECT count() FROM {table}") == "0\n"


def test_long_statements_work_in_body_and_url(gateway):
    many = ", ".join(str(i) for i in range(100_000))

    assert gateway.ask(f"SELECT length([{many}])", max_query_size=10_000_000) == "100000\n"
    assert gateway.ask("", query=f"SELECT length('{'x' * 100_000}')") == "100000\n"


def test_rows_for_input_are_refused_rather_than_lost(gateway, table):
    response = gateway.send(f"INSERT INTO {table} SELECT a * 10, b FROM input('a UInt64, b String') FORMAT CSV\n1,x\n")

    assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (501, "48")


def test_a_long_insert_select_is_read_to_its_end(gateway, table):
    parts = " UNION ALL ".join(f"SELECT {i}, '{'x' * 1000}'" for i in range(1200))

    gateway.ask(f"INSERT INTO {table} {parts}", max_query_size=10_000_000)

    assert gateway.ask(f"SELECT count() FROM {table}") == "1200\n"
