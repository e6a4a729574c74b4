"""How the server parses a statement."""

import pytest

from devstack.clickhouse_server.errors import ServerError
from devstack.clickhouse_server.sql import Kind, begins_insert, parse


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT 1", Kind.RESULT),
        ("  -- why\n/* how */ select 1;", Kind.RESULT),
        ("WITH 1 AS x SELECT x", Kind.RESULT),
        ("(SELECT 1) UNION ALL (SELECT 2)", Kind.RESULT),
        ("SHOW TABLES", Kind.RESULT),
        ("DESCRIBE TABLE t", Kind.RESULT),
        ("EXPLAIN SELECT 1", Kind.RESULT),
        ("KILL QUERY WHERE query_id = 'a' SYNC", Kind.KILL),
        ("KILL MUTATION WHERE table = 'a'", Kind.RESULT),
        ("INSERT INTO t VALUES", Kind.INSERT_DATA),
        ("INSERT INTO t (a, b) FORMAT Native", Kind.INSERT_DATA),
        ("INSERT INTO t SELECT 1", Kind.COMMAND),
        ("INSERT INTO t (a) WITH 1 AS x SELECT x", Kind.COMMAND),
        ("WITH 1 AS x INSERT INTO t SELECT x", Kind.COMMAND),
        ("CREATE TABLE t (a Int8) ENGINE = Memory", Kind.COMMAND),
    ],
)
def test_statements_are_classified_by_their_words(text, kind):
    assert parse(text.encode()).kind is kind


@pytest.mark.parametrize(
    ("text", "format_name"),
    [
        ("SELECT 1 FORMAT CSV", "CSV"),
        ("SELECT 1 FORMAT `CSV` SETTINGS max_threads = 1;", "CSV"),
        ("select 1 format JSON -- the end", "JSON"),
        ("SELECT format FROM t", None),
        ("SELECT 1 AS format", None),
        ("SELECT * FROM format", None),
        ("SELECT 'FORMAT CSV'", None),
        ("SELECT 1 -- FORMAT CSV", None),
        ("SELECT * FROM (SELECT 1 AS FORMAT)", None),
    ],
)
def test_a_format_clause_is_found_only_where_it_is_one(text, format_name):
    assert parse(text.encode()).format == format_name


def test_the_result_is_sent_to_a_file_in_front_of_format_and_settings():
    statement = parse(b"SELECT 'a;' -- why\n FORMAT JSON SETTINGS max_threads = 1;")

    sql = statement.into_file("/proc/self/fd/7", "CSV", None, 0)

    assert sql.split("\n") == [
        "SELECT 'a;'",
        "INTO OUTFILE '/proc/self/fd/7' APPEND FORMAT `JSON` SETTINGS max_threads = 1",
    ]


@pytest.mark.parametrize(
    ("text", "head", "format_name", "rows"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV  \r\n1,2\n", "INSERT INTO t ", "CSV", b"1,2\n"),
        (b"INSERT INTO t (a, b) VALUES (1, '\xff;SELECT')", "INSERT INTO t (a, b) ", "Values", b" (1, '\xff;SELECT')"),
        (b"INSERT INTO t FORMAT Native\n\n\x01", "INSERT INTO t ", "Native", b"\n\x01"),
        (b"INSERT INTO t SETTINGS async_insert=0 FORMAT CSV 1", "INSERT INTO t ", "CSV", b"1"),
    ],
)
def test_an_insert_is_split_in_front_of_its_rows(text, head, format_name, rows):
    statement = parse(text)

    assert (statement.sql, statement.format, text[statement.data :]) == (head, format_name, rows)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("INSERT INTO t VALUES", "SELECT * FROM t"),
        ("INSERT INTO db.`t` (a, `b c`) VALUES", "SELECT a, `b c` FROM db.`t`"),
        ("INSERT INTO TABLE t (* EXCEPT(a)) SETTINGS async_insert = 0 FORMAT Native", "SELECT * EXCEPT(a) FROM t"),
        ("INSERT t (a) VALUES", "SELECT a FROM t"),
        ("INSERT INTO table.t VALUES", "SELECT * FROM table.t"),
        ("INSERT INTO function.t (a) VALUES", "SELECT a FROM function.t"),
        ("INSERT INTO FUNCTION null('a Int8') (a) VALUES", "SELECT a FROM null('a Int8')"),
        ("INSERT INTO FUNCTION null('a Int8') VALUES", "SELECT * FROM null('a Int8')"),
    ],
)
def test_the_target_of_an_insert_selects_the_columns_of_its_rows(text, target):
    assert parse(text.encode()).target == target


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *[(text, 62) for text in ("", ";", "SELECT 1; SELECT 2", "INSERT INTO t", "KILL QUERY")],
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 358),
        ("INSERT INTO t FROM INFILE 'x' FORMAT CSV", 48),
        ("INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV", 48),
    ],
)
def test_unsupported_statements_are_refused_with_a_code(text, code):
    with pytest.raises(ServerError) as caught:
        parse(text.encode())

    assert caught.value.code == code


def test_kill_query_is_split_into_condition_mode_and_format():
    statement = parse(b"KILL QUERY WHERE query_id = 'a' AND user = 'b' TEST FORMAT JSON")

    assert (statement.condition.strip(), statement.sql, statement.format) == (
        "query_id = 'a' AND user = 'b'",
        "TEST",
        "JSON",
    )


def test_system_processes_is_read_through_the_view_with_the_clients_query_ids():
    assert "system.gateway_processes" in parse(b"SELECT query_id FROM system.processes").sql
    assert "system.processes" in parse(b"SELECT 'system.processes'").sql


def test_an_insert_is_recognized_by_its_beginning():
    assert begins_insert(b"/* dbt */ -- x\n insert into t")
    assert not begins_insert(b"SELECT 1")
    assert not begins_insert(b"")
