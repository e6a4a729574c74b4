"""The commands of the stack: real servers are started, repaired and stopped."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import clickhouse_driver
import psutil
import psycopg
import pytest

from offload_core.config.connections import Connections, PostgresConnection
from tests.support.stack.stack import SERVERS, Commands

pytestmark = pytest.mark.integration


@pytest.fixture
def new_stack(tmp_path_factory) -> Iterator[Callable[..., Commands]]:
    stacks: list[Commands] = []

    def make(**environ: str) -> Commands:
        stacks.append(Commands(tmp_path_factory.mktemp("stack"), **environ))
        return stacks[-1]

    yield make
    for commands in stacks:
        commands.run("down")


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Commands]:
    """A stack for tests that only read."""
    commands = Commands(tmp_path_factory.mktemp("stack"))
    commands.up()
    yield commands
    commands.run("down")


def postgres(connection: PostgresConnection) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=connection.host,
        port=connection.port,
        dbname=connection.database,
        user=connection.user,
        password=connection.password.get_secret_value(),
        autocommit=True,
    )


def clickhouse(connections: Connections, statement: str, rows: list[tuple[int]] | None = None) -> object:
    server = connections.clickhouse
    password = server.password.get_secret_value()
    with clickhouse_driver.Client(server.host, server.native_port, server.database, server.user, password) as client:
        return client.execute(statement, rows)


def test_both_servers_accept_the_logins_in_connections_json(running):
    connections = running.connections()
    server = connections.clickhouse

    with postgres(connections.postgres) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("offload",)
    assert clickhouse(connections, "SELECT currentDatabase()") == [("k2",)]
    headers = {"X-ClickHouse-User": server.user, "X-ClickHouse-Key": server.password.get_secret_value()}
    with closing(http.client.HTTPConnection(server.host, server.http_port, timeout=10)) as web:
        web.request("GET", "/?query=SELECT%201", headers=headers)
        assert web.getresponse().read() == b"1\n"


def test_a_statement_is_run_and_a_wrong_one_is_reported(running):
    result = running.run("sql", "SELECT currentDatabase() AS db, 41 + 1 AS answer")
    refused = running.run("sql", "SELECT nothing_there")

    assert (result.returncode, refused.returncode) == (0, 1)
    assert {"db", "answer", "k2", "42"} <= set(re.findall(r"\w+", result.stdout))
    assert "UNKNOWN_IDENTIFIER" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_postgres_refuses_a_wrong_password(running):
    connection = running.connections().postgres.model_copy(
        update={"password": type(running.connections().postgres.password)("x")}
    )

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        postgres(connection)


def test_postgres_writes_through_to_disk_and_keeps_time_in_utc(running):
    with postgres(running.connections().postgres) as connection:
        for setting, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "TimeZone": "UTC",
            "data_checksums": "on",
        }.items():
            assert connection.execute("SELECT current_setting(%s)", (setting,)).fetchone() == (value,)


def test_status_shows_every_part_with_its_pid_address_and_memory(running):
    code, parts = running.status()

    assert code == 0
    assert list(parts) == SERVERS
    assert [part["pid"] for part in parts.values()] == running.pids()
    assert all(part["state"] == "running" and part["memory"] > 10_000_000 for part in parts.values())
    assert parts["postgres"]["address"] == f"127.0.0.1:{running.connections().postgres.port}"
    assert running.run("status").returncode == 0


def test_starting_again_changes_nothing(running):
    before = running.pids(), running.connections(), running.secrets()

    running.up()

    assert (running.pids(), running.connections(), running.secrets()) == before


def test_every_server_listens_on_loopback_only(running):
    addresses = {
        connection.laddr.ip
        for part in running.parts()
        for process in part.family()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert addresses == {"127.0.0.1"}


def test_no_password_is_in_any_command_line_or_environment(running):
    shown = []
    for process in psutil.process_iter():
        try:
            shown.append("\0".join(process.cmdline()))
        except psutil.Error:
            continue
    for part in running.parts():
        shown += ["\0".join(process.environ().values()) for process in part.family()]

    assert len(shown) > len(SERVERS)
    for name, secret in running.secrets().items():
        assert not any(secret in text for text in shown), name


def test_no_password_is_in_a_log(running):
    logs = "".join(log.read_text() for log in running.layout.logs.rglob("*.log"))

    assert "database system is ready" in logs
    assert not any(secret in logs for secret in running.secrets().values())


def test_only_the_owner_may_read_passwords_and_data(running):
    home = running.layout.home
    for file in (home / "connections.json", home / "secrets.json", home / "run" / "clickhouse.password"):
        assert file.stat().st_mode & 0o777 == 0o600, file
    for folder in ("postgres", "clickhouse", "warehouse", "logs", "run"):
        assert (home / folder).stat().st_mode & 0o777 == 0o700, folder


def test_the_shell_exports_point_to_the_running_stack_and_contain_no_password(running):
    exports = running.run("env").stdout
    script = """
        echo "$OFFLOAD_CONNECTIONS_FILE"
        command -v airflow
        command -v spark-submit
        "$JAVA_HOME/bin/java" -version
    """

    result = subprocess.run(["sh", "-euc", exports + script], check=True, capture_output=True, text=True)

    layout = running.layout
    programs = [f"{layout.airflow_python.parent}/airflow", f"{layout.spark_home}/bin/spark-submit"]
    assert result.stdout.splitlines() == [str(layout.connections_file), *programs]
    assert not any(secret in exports for secret in running.secrets().values())


def test_two_stacks_run_side_by_side_although_they_request_the_same_ports(running, new_stack):
    taken = running.connections()
    other = new_stack(
        OFFLOAD_PORT_POSTGRES=str(taken.postgres.port),
        OFFLOAD_PORT_CLICKHOUSE_HTTP=str(taken.clickhouse.http_port),
        OFFLOAD_PORT_CLICKHOUSE_NATIVE=str(taken.clickhouse.native_port),
    )
    given = other.up()

    assert given.postgres.port != taken.postgres.port
    assert given.clickhouse.http_port != taken.clickhouse.http_port
    assert given.clickhouse.native_port != taken.clickhouse.native_port
    assert given.iceberg.warehouse != taken.iceberg.warehouse

    assert other.run("down").returncode == 0
    assert running.status()[0] == 0


def test_stopping_leaves_nothing_behind_and_keeps_data_ports_and_passwords(new_stack):
    stack = new_stack()
    before = stack.up()
    with postgres(before.postgres) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    clickhouse(before, "CREATE TABLE kept (answer UInt8) ORDER BY answer")
    clickhouse(before, "INSERT INTO kept VALUES", [(42,)])

    assert stack.run("down").returncode == 0

    code, parts = stack.status()
    assert code == 1
    assert {part["state"] for part in parts.values()} == {"stopped"}
    assert stack.processes() == []
    assert stack.run("down").returncode == 0

    assert stack.up() == before
    with postgres(before.postgres) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]
    assert clickhouse(before, "SELECT answer FROM kept") == [(42,)]


def test_starting_repairs_what_was_killed_and_acknowledged_rows_are_still_there(new_stack):
    stack = new_stack()
    before = stack.up()
    with postgres(before.postgres) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    clickhouse(before, "CREATE TABLE kept (answer UInt8) ORDER BY answer")
    clickhouse(before, "INSERT INTO kept VALUES", [(42,)])

    for part in stack.parts():
        part.process().kill()
    wait_until(lambda: all(part.process() is None for part in stack.parts()))
    code, parts = stack.status()
    assert code == 1
    assert {part["state"] for part in parts.values()} == {"died"}

    assert stack.up() == before
    with postgres(before.postgres) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]
    assert clickhouse(before, "SELECT answer FROM kept") == [(42,)]


def test_a_stale_pid_file_with_the_pid_of_another_process_does_not_stop_postgres(new_stack):
    stack = new_stack()
    stack.up()
    stack.run("down")
    pid_file = stack.layout.home / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{pid_file.parent}\n{int(time.time())}\n1\n\n127.0.0.1\n\nready\n")

    stack.up()


def test_a_second_command_on_the_same_state_is_told_to_wait(new_stack):
    stack = new_stack()
    stack.run("status")
    with (stack.layout.run / "lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = stack.run("up")

    assert result.returncode == 1
    assert "process 4711 is starting or stopping the stack" in result.stderr
    assert "repeat the command" in result.stderr


def test_lost_passwords_are_an_error_with_a_remedy(new_stack):
    stack = new_stack()
    stack.up()
    stack.run("down")
    (stack.layout.home / "secrets.json").unlink()

    result = stack.run("up")

    assert result.returncode == 1
    assert "secrets.json is missing" in result.stderr
    assert "make clean" in result.stderr


def test_a_server_that_cannot_start_shows_its_log_and_leaves_nothing_behind(new_stack):
    stack = new_stack()
    stack.up()
    stack.run("down")
    shutil.rmtree(stack.layout.home / "postgres" / "global")

    result = stack.run("up")

    assert result.returncode == 1
    assert "PostgreSQL does not start" in result.stderr
    assert "could not" in result.stderr
    assert "run make up again" in result.stderr
    assert stack.processes() == []


def test_an_interrupted_first_start_is_repaired(new_stack):
    stack = new_stack()
    incomplete = stack.layout.home / "postgres" / "base"
    incomplete.mkdir(parents=True)

    stack.up()


def test_cleaning_stops_the_stack_and_deletes_its_folder(new_stack):
    stack = new_stack()
    stack.up()

    assert stack.run("clean").returncode == 0

    assert not stack.layout.home.exists()
    assert stack.processes() == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
