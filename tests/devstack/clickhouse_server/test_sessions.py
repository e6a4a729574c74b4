"""HTTP sessions."""

import threading

import pytest


def _code(answer):
    return answer.headers["X-ClickHouse-Exception-Code"]


def test_a_session_keeps_settings_and_temporary_tables(gateway):
    gateway.ask("CREATE TEMPORARY TABLE kept (a UInt8)", session_id="one")
    gateway.ask("INSERT INTO kept VALUES (7)", session_id="one")
    gateway.ask("SET max_block_size = 77", session_id="one")

    assert gateway.ask("SELECT a, getSetting('max_block_size') FROM kept", session_id="one") == "7\t77\n"
    assert _code(gateway.send("SELECT a FROM kept", session_id="two")) == "60"
    assert _code(gateway.send("SELECT a FROM kept")) == "60"


def test_settings_of_one_query_end_with_it(gateway):
    sql = "SELECT getSetting('max_block_size'), getSetting('log_comment')"
    gateway.ask("SET max_block_size = 77, log_comment = 'it\\'s \\\\ mine'", session_id="three")

    assert gateway.ask(sql, session_id="three", max_block_size=5, log_comment="x") == "5\tx\n"
    assert gateway.ask(f"{sql} FORMAT TSVRaw", session_id="three") == "77\tit's \\ mine\n"


def test_a_session_serves_one_query_at_a_time(gateway):
    with gateway.stream("SELECT number FROM system.numbers", session_id="busy", query_id="busy") as response:
        response.read(100)
        assert _code(gateway.send("SELECT 1", session_id="busy")) == "373"

    gateway.wait_until("SELECT count() FROM system.processes WHERE query_id = 'busy'", "0")


def test_a_session_that_must_exist_is_not_created(gateway):
    assert _code(gateway.send("SELECT 1", session_id="new", session_check=1)) == "372"
    gateway.ask("SELECT 1", session_id="new")
    assert gateway.ask("SELECT 1", session_id="new", session_check=1) == "1\n"


@pytest.mark.parametrize("seconds", [0, 3601, "abc"])
def test_a_session_lives_no_longer_than_allowed(gateway, seconds):
    assert _code(gateway.send("SELECT 1", session_id="long", session_timeout=seconds)) in ("374", "36")


def test_an_idle_session_is_closed(gateway):
    gateway.ask("SELECT 1", session_id="idle", session_timeout=1)
    assert gateway.ask("SELECT 1", session_id="idle", session_check=1, session_timeout=1) == "1\n"

    forgotten = threading.Event()
    for _ in range(40):
        # Only a look from outside: asking the session itself would keep it alive.
        forgotten.wait(0.1)
    assert _code(gateway.send("SELECT 1", session_id="idle", session_check=1)) == "372"


def test_a_session_is_closed_immediately_on_request(gateway):
    gateway.ask("SELECT 1", session_id="closed", close_session=1)

    assert _code(gateway.send("SELECT 1", session_id="closed", session_check=1)) == "372"


def test_a_session_follows_the_database_of_the_request(gateway):
    gateway.ask("USE system", session_id="moving")

    assert gateway.ask("SELECT currentDatabase()", session_id="moving") == "system\n"
    assert gateway.ask("SELECT currentDatabase()", session_id="moving", database="k2") == "k2\n"


def test_clickhouse_connect_works_in_its_own_session(gateway):
    client = gateway.connect(autogenerate_session_id=True)
    client.command("CREATE TEMPORARY TABLE mine (a UInt8)")
    client.insert("mine", [[1], [2]], column_names=["a"])

    assert client.query("SELECT sum(a) FROM mine").result_rows == [(3,)]
