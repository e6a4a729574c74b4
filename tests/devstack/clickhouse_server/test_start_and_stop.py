"""The command: its options, its ready file, and how it stops."""

import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.stack.gateway import PASSWORD, Gateway, devstack_python, running

pytestmark = pytest.mark.integration


def _refused(process, log):
    assert process.wait(30) == 1
    return log.read_text()


def test_a_folder_in_use_is_refused_with_a_remedy(gateway):
    log = gateway.log.read_text()

    text = _refused(Gateway(gateway.path).launch(), gateway.log).removeprefix(log)

    assert "ClickHouse does not start" in text
    assert "is in use by another process" in text
    assert "choose another --path" in text
    assert "Traceback" not in text
    assert gateway.ask("SELECT 1") == "1\n"
    assert gateway.ready_file.exists(), "the refused server took away the running one's ready file"


@pytest.mark.parametrize("protocol", ["http_port", "native_port"])
def test_a_taken_port_is_refused_with_a_remedy(tmp_path, protocol):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Gateway(tmp_path / "clickhouse")
        text = _refused(server.launch(**{protocol: taken.getsockname()[1]}), server.log)

    assert "choose another port" in text
    assert "Traceback" not in text
    assert not server.ready_file.exists()


def test_without_a_password_it_does_not_start(tmp_path):
    command = [devstack_python(), "-m", "devstack.clickhouse_server", "--path", str(tmp_path / "clickhouse")]
    environ = {name: value for name, value in os.environ.items() if name != "CLICKHOUSE_PASSWORD"}

    result = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert "there is no password" in result.stderr


def test_the_password_may_come_from_the_environment(tmp_path):
    ready = tmp_path / "ready"
    command = [devstack_python(), "-m", "devstack.clickhouse_server", "--path", str(tmp_path / "clickhouse")]
    command += ["--http-port", "0", "--native-port", "0", "--user", "offload", "--ready-file", str(ready)]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env={**os.environ, "CLICKHOUSE_PASSWORD": PASSWORD}, stderr=subprocess.DEVNULL
    )
    server = Gateway(tmp_path / "clickhouse", process=process)
    try:
        end = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < end:
            time.sleep(0.02)
        server.adopt(ready)
        assert server.ask("SELECT currentDatabase()") == "default\n"
    finally:
        server.stop()


def test_it_listens_on_loopback_only_and_logs_its_version(gateway):
    assert gateway.ask("SELECT version()").count(".") == 3
    assert gateway.ask("SELECT name FROM system.databases WHERE name = 'k2'") == "k2\n"
    assert PASSWORD not in gateway.log.read_text()


def test_a_stop_signal_lets_a_short_query_finish_and_ends_a_long_one(tmp_path):
    with running(tmp_path / "clickhouse") as gateway:
        answers = {}

        def ask(name, sql):
            answers[name] = gateway.send(sql, query_id=name)

        queries = {"short": "SELECT sleep(1)", "long": "SELECT count() FROM system.numbers WHERE sipHash64(number) = 1"}
        threads = [threading.Thread(target=ask, args=item) for item in queries.items()]
        for thread in threads:
            thread.start()
        gateway.wait_until("SELECT count() FROM system.processes WHERE query_id IN ('short', 'long')", "2")

        status = gateway.stop(signal.SIGTERM)

        for thread in threads:
            thread.join()
    assert status == 0
    assert answers["short"].body == b"0\n"
    assert answers["long"].headers["X-ClickHouse-Exception-Code"] == "394"
    assert not gateway.ready_file.exists()
    assert "Stopped" in gateway.log.read_text()
    assert "WARNING" not in gateway.log.read_text()
    assert "Traceback" not in gateway.log.read_text()


def test_a_server_killed_in_the_middle_of_its_work_starts_again(tmp_path):
    gateway = Gateway(tmp_path / "clickhouse").start()
    gateway.stop(signal.SIGKILL)

    try:
        assert gateway.start().ask("SELECT 1") == "1\n"
    finally:
        gateway.stop()
