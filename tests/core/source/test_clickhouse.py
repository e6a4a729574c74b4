"""The ClickHouse client against a real engine: quoting, parameters, errors, files that are whole or absent."""

from __future__ import annotations

import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from offload_core.config.connections import ClickHouseConnection
from offload_core.errors import (
    ClickHouseUnavailable,
    FixCredentials,
    FixSource,
    OffloadError,
    QueryFailed,
)
from offload_core.source.clickhouse import ClickHouse, server_error
from offload_core.source.quoting import quote_identifier, quote_table
from tests.support.stack.servers import HotTier

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
on_the_engine = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.integration
class TestQuoting:
    @on_the_engine
    @given(name=texts.filter(bool))
    def test_any_text_can_be_an_identifier(self, clickhouse: HotTier, name):
        (row,) = clickhouse.client.rows(f"SELECT 1 AS {quote_identifier(name)}")

        assert row == {name: 1}

    @pytest.mark.parametrize(
        "name", ["`", "\\", "\\`", "a`b", "x` AS y, (SELECT 1) AS `z", "a b", "sélect", "🧊", "'", '"']
    )
    def test_a_nasty_name_stays_one_name(self, clickhouse: HotTier, name):
        assert clickhouse.client.rows(f"SELECT 1 AS {quote_identifier(name)}") == [{name: 1}]

    def test_a_table_may_name_its_database(self, clickhouse: HotTier):
        assert quote_table("trades") == "`trades`"
        assert quote_table("k2.trades") == "`k2`.`trades`"
        assert clickhouse.client.rows(f"SELECT count() AS n FROM {quote_table('system.one')}") == [{"n": "1"}]


@pytest.mark.integration
class TestParameters:
    @on_the_engine
    @given(value=texts)
    def test_any_text_arrives_as_it_is(self, clickhouse: HotTier, value):
        assert clickhouse.client.rows("SELECT {value:String} AS value", {"value": value}) == [{"value": value}]

    @pytest.mark.parametrize("value", ["'; DROP TABLE x; --", "\\", "\\N", "a\tb", "a\nb", "{other:String}", "%s", ""])
    def test_a_nasty_value_stays_one_value(self, clickhouse: HotTier, value):
        assert clickhouse.client.rows("SELECT {value:String} AS value", {"value": value}) == [{"value": value}]


@pytest.mark.integration
class TestRows:
    def test_large_numbers_and_decimals_lose_no_digit(self, clickhouse: HotTier):
        (row,) = clickhouse.client.rows(
            "SELECT toUInt64(18446744073709551615) AS n, toDecimal128('123456789012345678901234567890.12345678', 8) AS "
            "d"
        )

        assert row == {"n": "18446744073709551615", "d": "123456789012345678901234567890.12345678"}

    @pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\u2028b", "a\x85b", "a\x1cb"])
    def test_text_with_any_line_break_stays_in_one_row(self, clickhouse: HotTier, text):
        rows = clickhouse.client.rows("SELECT {text:String} AS text FROM numbers(2)", {"text": text})

        assert rows == 2 * [{"text": text}]

    def test_no_rows_are_an_empty_list(self, clickhouse: HotTier):
        assert clickhouse.client.rows("SELECT 1 AS n WHERE 0") == []

    def test_settings_of_a_query_and_of_the_client_reach_the_server(self, clickhouse: HotTier):
        query = "SELECT getSetting('max_threads') AS threads"

        with closing(ClickHouse(clickhouse.connection, settings={"max_threads": 1})) as client:
            assert int(client.rows(query)[0]["threads"]) == 1
            assert int(client.rows(query, settings={"max_threads": "2"})[0]["threads"]) == 2

    def test_an_error_after_many_rows_is_an_error_and_not_a_short_result(self, clickhouse: HotTier):
        query = "SELECT throwIf(number = 30000), repeat('x', 1000) AS text FROM numbers(40000)"

        with pytest.raises(QueryFailed, match="error 395"):
            clickhouse.client.rows(query, settings={"max_block_size": "1000"})

    def test_several_threads_may_share_a_client(self, clickhouse: HotTier):
        def ask(number: int) -> int:
            return int(clickhouse.client.rows("SELECT {n:UInt32} AS n", {"n": str(number)})[0]["n"])

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(ask, range(60))) == list(range(60))


@pytest.mark.integration
class TestWriting:
    def test_inserted_rows_are_there(self, clickhouse: HotTier):
        clickhouse.client.command("CREATE TABLE `in sert` (n UInt8) ENGINE = MergeTree ORDER BY n")

        clickhouse.client.insert("in sert", b"n\n1\n2\n", "CSVWithNames")

        assert clickhouse.client.rows("SELECT sum(n) AS n FROM `in sert`") == [{"n": "3"}]

    def test_a_table_that_is_missing_is_named(self, clickhouse: HotTier):
        with pytest.raises(FixSource, match="no_such_table"):
            clickhouse.client.insert("no_such_table", b"n\n1\n", "CSVWithNames")
        with pytest.raises(FixSource, match="no_such_table"):
            clickhouse.client.command("DROP TABLE no_such_table")


@pytest.mark.integration
class TestErrors:
    @pytest.mark.parametrize(
        ("query", "kind", "message"),
        [
            ("SELECT * FROM no_such_table", FixSource, "has no such table: Code: 60"),
            ("SELECT * FROM no_such_database.t", FixSource, "has no such table: Code: 81"),
            ("SELECT no_such_column FROM silver_trades", FixSource, "has no such column: Code: 47"),
            ("SELEC 1", QueryFailed, "error 62"),
            ("SELECT throwIf(1)", QueryFailed, "error 395"),
            (
                "SELECT sum(number) FROM numbers(1000000000000) SETTINGS max_execution_time = 0.2",
                ClickHouseUnavailable,
                "159",
            ),
        ],
    )
    def test_a_query_that_fails_has_its_class(self, clickhouse: HotTier, query, kind, message):
        with pytest.raises(kind, match=message) as caught:
            clickhouse.client.rows(query)

        assert "\n" not in str(caught.value)
        assert "HTTPConnection" not in str(caught.value)

    def test_clickhouses_code_is_kept(self, clickhouse: HotTier):
        with pytest.raises(QueryFailed) as caught:
            clickhouse.client.rows("SELECT throwIf(1)")

        assert caught.value.code == 395

    @pytest.mark.parametrize("change", [{"password": SecretStr("wr0ng secret")}, {"user": "nobody"}])
    def test_a_refused_login_names_the_user_and_no_password(self, clickhouse: HotTier, change):
        connection = clickhouse.connection.model_copy(update=change)

        with closing(ClickHouse(connection)) as client, pytest.raises(FixCredentials) as caught:
            client.rows("SELECT 1")

        assert f"refused user {connection.user}" in str(caught.value)
        text = "".join(traceback.format_exception(caught.value))
        for secret in ("wr0ng secret", clickhouse.connection.password.get_secret_value()):
            assert secret not in text

    def test_a_server_that_is_not_there_is_worth_another_try(self, clickhouse: HotTier):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        connection = clickhouse.connection.model_copy(update={"http_port": port})

        with closing(ClickHouse(connection)) as client, pytest.raises(ClickHouseUnavailable) as caught:
            client.rows("SELECT 1")

        assert caught.value.problem == (
            f"ClickHouse at 127.0.0.1:{port} can't be reached or broke off: [Errno 111] Connection refused."
        )

    def test_a_server_that_falls_silent_is_worth_another_try(self, clickhouse: HotTier):
        impatient = ClickHouse(clickhouse.connection, timeout_seconds=0.3)

        with closing(impatient) as client, pytest.raises(ClickHouseUnavailable, match="timed out"):
            client.rows("SELECT sleep(2)")


class TestErrorsByCode:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            *((code, FixCredentials) for code in (192, 193, 194, 497, 516)),
            *((code, FixSource) for code in (16, 47, 60, 81)),
            *((code, ClickHouseUnavailable) for code in (159, 202, 209, 210, 236, 241, 394, 439, 999)),
            *((code, QueryFailed) for code in (0, 6, 62, 395)),
        ],
    )
    @pytest.mark.parametrize("from_text", [True, False])
    def test_an_error_has_its_class_over_either_protocol(self, code, kind, from_text):
        text = f"Code: {code}. DB::Exception: Something. (NAME) (version 26.9)" if from_text else "Something."

        error = server_error(0 if from_text else code, text, "offload")

        assert type(error) is kind
        assert "Something." in error.problem

    def test_of_a_long_message_the_first_line_counts(self):
        error = server_error(62, "Code: 62. DB::Exception: " + "x" * 10_000 + "\nStack trace: ...", "offload")

        assert len(error.problem) < 700
        assert "Stack trace" not in str(error)


@pytest.mark.integration
class TestDownload:
    def test_a_result_becomes_a_file_and_its_size_is_told(self, clickhouse: HotTier, tmp_path: Path):
        path = tmp_path / "numbers.tsv"

        size = clickhouse.client.download(
            "SELECT number FROM numbers({n:UInt32}) FORMAT TSV", {"n": "300000"}, {"max_block_size": "1000"}, path
        )

        assert path.read_text().splitlines() == [str(number) for number in range(300_000)]
        assert size == path.stat().st_size
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("output", ["Parquet", "TSV"])
    def test_an_error_in_mid_stream_leaves_no_file_and_says_why(self, clickhouse: HotTier, tmp_path: Path, output):
        query = f"SELECT throwIf(number = 3000000, 'a bad row'), number FROM numbers(5000000) FORMAT {output}"

        with pytest.raises(QueryFailed, match=r"error 395: .*a bad row"):
            clickhouse.client.download(query, {}, {}, tmp_path / "numbers")

        assert list(tmp_path.iterdir()) == []

    def test_an_error_before_the_first_byte_leaves_no_file(self, clickhouse: HotTier, tmp_path: Path):
        with pytest.raises(FixSource):
            clickhouse.client.download("SELECT * FROM no_such_table FORMAT TSV", {}, {}, tmp_path / "numbers")

        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_was_there_stays_until_the_new_one_is_complete(self, clickhouse: HotTier, tmp_path: Path):
        path = tmp_path / "numbers"
        path.write_text("before")
        with pytest.raises(QueryFailed):
            clickhouse.client.download("SELECT throwIf(1) FORMAT TSV", {}, {}, path)
        assert path.read_text() == "before"

        clickhouse.client.download("SELECT 1 FORMAT TSV", {}, {}, path)

        assert path.read_text() == "1\n"


class TestBrokenServers:
    """Servers that answer as no ClickHouse should; each speaks once over a real socket."""

    @pytest.fixture
    def serve(self) -> Iterator[Callable[[bytes], ClickHouse]]:
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            clients, threads = [], []

            def serve(answer: bytes) -> ClickHouse:
                def speak() -> None:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1 << 16)
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(1 << 16):
                            pass

                threads.append(threading.Thread(target=speak))
                threads[-1].start()
                client = ClickHouse(
                    ClickHouseConnection(host="127.0.0.1", http_port=server.getsockname()[1]), timeout_seconds=5
                )
                clients.append(client)
                return client

            yield serve
            for client in clients:
                client.close()
            for thread in threads:
                thread.join(5)

    CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (b"", "Remote end closed connection without response"),
            (b"Port 9000 is for clickhouse-client program\r\n", "Port 9000 is for clickhouse-client program"),
            (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", "HTTP status 502"),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP status 404"),
            (b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nCode: 62", "IncompleteRead"),
            (CHUNKED + b'5\r\n{"n":\r\n', "Response ended prematurely|IncompleteRead|InvalidChunkLength"),
            (b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"n": 1}', "IncompleteRead"),
            (b"HTTP/1.1 200 OK\r\nX-ClickHouse-Server-Display-Name: here\r\n", "declare its end"),
            (b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"n": 1}', "declare its end"),
        ],
    )
    def test_an_answer_that_breaks_off_is_worth_another_try(self, serve, answer, reason):
        with pytest.raises(ClickHouseUnavailable, match=reason) as caught:
            serve(answer).rows("SELECT 1")

        assert "object at 0x" not in str(caught.value)

    @pytest.mark.parametrize(
        "answer", [CHUNKED + b"5\r\nhello\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"]
    )
    def test_a_download_that_breaks_off_leaves_no_file(self, serve, answer, tmp_path):
        with pytest.raises(ClickHouseUnavailable):
            serve(answer).download("SELECT 1 FORMAT TSV", {}, {}, tmp_path / "file")

        assert list(tmp_path.iterdir()) == []

    def test_what_clickhouse_says_before_it_breaks_off_is_told(self, serve, tmp_path):
        text = b"data\nCode: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"
        answer = self.CHUNKED + f"{len(text):x}\r\n".encode() + text + b"\r\n"

        with pytest.raises(ClickHouseUnavailable, match=r"can't do that now: Code: 241\."):
            serve(answer).download("SELECT 1 FORMAT TSV", {}, {}, tmp_path / "file")

    def test_user_password_and_database_travel_as_utf_8(self):
        heard: list[bytes] = []
        with closing(socket.create_server(("127.0.0.1", 0))) as server:

            def listen() -> None:
                connection, _ = server.accept()
                with connection:
                    heard.append(connection.recv(1 << 16))

            thread = threading.Thread(target=listen)
            thread.start()
            connection = ClickHouseConnection(
                host="127.0.0.1",
                http_port=server.getsockname()[1],
                user="jürgen",
                password=SecretStr("pässwörd 🧊"),
                database="börse",
            )
            with closing(ClickHouse(connection, timeout_seconds=5)) as client, pytest.raises(OffloadError):
                client.rows("SELECT 1")
            thread.join(5)

        for value in ("jürgen", "pässwörd 🧊", "börse"):
            assert f": {value}\r\n".encode() in heard[0]


def test_a_client_shows_no_password():
    client = ClickHouse(ClickHouseConnection(host="127.0.0.1", password=SecretStr("hunter2")))

    assert "hunter2" not in f"{client!r} {json.dumps(str(client))}"
