"""Airflow as `up --airflow` starts it."""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import psutil
import psycopg
import pytest

from devstack.stack.processes import StackPart
from install.airflow_version import AIRFLOW_2
from install.layout import Layout
from tests.support.reaper import temporary_folder
from tests.support.stack.exporter import running_exporter
from tests.support.stack.stack import Commands

pytestmark = pytest.mark.integration

Answer = TypeVar("Answer")
VERSION = Layout.of_checkout().version
WEB = "airflow-webserver" if VERSION is AIRFLOW_2 else "airflow-api-server"
PARTS = ["airflow-scheduler", *([] if VERSION is AIRFLOW_2 else ["airflow-dag-processor"]), WEB]
API = "/api/v1" if VERSION is AIRFLOW_2 else "/api/v2"


@pytest.fixture(scope="module")
def airflow() -> Iterator[Commands]:
    """A stack with Airflow, started from a shell whose variables point to another Airflow."""
    foreign = {"AIRFLOW_HOME": "/nowhere", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://nowhere/production"}
    with temporary_folder("stack") as folder:
        commands = Commands(folder, **foreign)
        try:
            commands.up("--airflow")
            yield commands
        finally:
            commands.run("down")


def metadata(stack: Commands) -> psycopg.Connection[tuple[object, ...]]:
    server = stack.connections().postgres
    return psycopg.connect(
        host=server.host,
        port=server.port,
        dbname="airflow",
        user="airflow",
        password=stack.secrets()["postgres_airflow"],
        autocommit=True,
    )


def web(stack: Commands, path: str, password: str | None = None) -> tuple[int, object]:
    address = stack.status()[1][WEB]["address"]
    request = urllib.request.Request(address + API + path)  # noqa: S310 - loopback
    request.add_header("Accept", "application/json")
    try:
        if password is not None:
            request.add_header("Authorization", login(address, password))
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, None


def login(address: str, password: str) -> str:
    """The Authorization header for the API of this Airflow version."""
    if VERSION is AIRFLOW_2:
        return f"Basic {base64.b64encode(f'admin:{password}'.encode()).decode()}"
    body = json.dumps({"username": "admin", "password": password}).encode()
    request = urllib.request.Request(f"{address}/auth/token", body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return f"Bearer {json.load(response)['access_token']}"


def airflow_parts(stack: Commands) -> list[StackPart]:
    return [StackPart(stack.layout, name) for name in PARTS]


def test_status_includes_airflow(airflow):
    code, parts = airflow.status()

    assert code == 0
    assert list(parts) == ["postgres", "clickhouse", *PARTS, "exporter"]


def test_the_exporter_reports_the_stacks_own_scheduler_and_doctor_finds_it(airflow):
    address = airflow.status()[1]["exporter"]["address"]
    with urllib.request.urlopen(address, timeout=30) as response:  # noqa: S310 - loopback
        metrics = response.read().decode().splitlines()
    with urllib.request.urlopen(address.replace("/metrics", "/scheduler"), timeout=30) as response:  # noqa: S310
        assert response.status == 200

    assert "offload_scheduler_up 1.0" in metrics
    assert f"OFFLOAD_METRICS_URL={address}" in airflow.run("env").stdout.replace("'", "")


def test_a_scheduler_that_hangs_is_down_for_prometheus_until_it_resumes(airflow):
    web_address = airflow.status()[1][WEB]["address"]
    scheduler = StackPart(airflow.layout, "airflow-scheduler").process()
    settings = {"OFFLOAD_AIRFLOW_URL": web_address, "OFFLOAD_SCHEDULER_SILENCE_SECONDS": "8"}
    with running_exporter(airflow.connections().postgres, "any", **settings) as exporter:

        def answers(status: int) -> Callable[[], bool]:
            return lambda: exporter.get("/scheduler")[0] == status

        wait_until(answers(200))
        scheduler.suspend()
        try:
            wait_until(answers(503))
            assert exporter.scrape().value("offload_scheduler_up") == 0
        finally:
            scheduler.resume()
        wait_until(answers(200))


def test_an_exporter_that_died_is_started_again_on_its_port_and_nothing_else_is(airflow):
    _, before = airflow.status()
    StackPart(airflow.layout, "exporter").process().kill()

    airflow.up("--airflow")

    _, after = airflow.status()
    assert after["exporter"]["address"] == before["exporter"]["address"]
    assert after["exporter"]["pid"] != before["exporter"]["pid"]
    assert [after[name]["pid"] for name in PARTS] == [before[name]["pid"] for name in PARTS]


def test_the_generated_password_opens_the_web_interface_and_another_one_does_not(airflow):
    password = (airflow.layout.home / "airflow" / "admin-password").read_text().strip()

    assert web(airflow, "/pools", password)[0] == 200
    assert web(airflow, "/pools", "guess")[0] in (401, 403)


def test_offload_tasks_have_a_pool_of_two(airflow):
    _, pool = web(airflow, "/pools/iceberg_offload", airflow.secrets()["airflow_admin"])

    assert pool["slots"] == 2


def test_the_configuration_is_not_shown_in_the_web_interface(airflow):
    assert web(airflow, "/config", airflow.secrets()["airflow_admin"])[0] == 403


def test_the_connections_lead_to_the_stacks_own_servers(airflow):
    servers = airflow.connections()
    _, listing = web(airflow, "/connections", airflow.secrets()["airflow_admin"])
    found = {one["connection_id"]: one for one in listing["connections"]}

    assert set(found) == {
        "clickhouse_default",
        "clickhouse_http",
        "postgres_default",
        "spark_default",
        "iceberg_default",
    }
    assert found["clickhouse_default"]["port"] == servers.clickhouse.native_port
    assert found["clickhouse_http"]["port"] == servers.clickhouse.http_port
    assert found["postgres_default"]["port"] == servers.postgres.port
    assert found["iceberg_default"]["host"] == servers.iceberg.uri
    _, catalog = web(airflow, "/connections/iceberg_default", airflow.secrets()["airflow_admin"])
    assert json.loads(catalog["extra"]) == {
        "name": "demo",
        "type": "jdbc",
        "warehouse": servers.iceberg.warehouse,
        "properties": servers.iceberg.properties,
    }


def test_passwords_are_encrypted_in_the_database(airflow):
    with metadata(airflow) as connection:
        rows = connection.execute("SELECT password, is_encrypted FROM connection WHERE password IS NOT NULL").fetchall()

    assert len(rows) == 4
    for password, is_encrypted in rows:
        assert is_encrypted
        assert password not in airflow.secrets().values()


def of_each_process(airflow: Commands, ask: Callable[[psutil.Process], Answer]) -> list[Answer]:
    """Call `ask` for each of Airflow's processes; skip helpers of the scheduler that end meanwhile."""
    answers = []
    for process in [process for part in airflow_parts(airflow) for process in part.family()]:
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            answers.append(ask(process))
    assert answers
    return answers


def test_airflow_listens_on_loopback_only(airflow):
    addresses = {
        (connection.laddr.ip, connection.laddr.port)
        for connections in of_each_process(airflow, lambda process: process.net_connections("inet"))
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }

    assert addresses == {("127.0.0.1", airflow_parts(airflow)[-1].ports()["airflow"])}


def test_no_password_is_in_any_command_line_environment_or_log(airflow):
    shown = [log.read_text(errors="replace") for log in airflow.layout.logs.rglob("*.log")]
    for command, environ in of_each_process(airflow, lambda process: (process.cmdline(), process.environ())):
        shown += [*command, *environ.values()]

    assert shown
    for name, secret in airflow.secrets().items():
        assert not any(secret in text for text in shown), name
    for name in ("airflow.cfg", "admin-password", *([] if VERSION is AIRFLOW_2 else ["passwords.json"])):
        assert (airflow.layout.home / "airflow" / name).stat().st_mode & 0o777 == 0o600


def test_airflow_inherits_nothing_of_another_airflow_in_the_users_shell(airflow):
    for command, environ in of_each_process(airflow, lambda process: (process.cmdline(), process.environ())):
        assert not any("nowhere" in value for value in environ.values()), command


def test_starting_again_keeps_the_processes_and_what_was_edited(airflow):
    before = [part.process().pid for part in airflow_parts(airflow)]
    with metadata(airflow) as connection:
        connection.execute("UPDATE slot_pool SET slots = 5 WHERE pool = 'iceberg_offload'")

    airflow.up("--airflow")

    with metadata(airflow) as connection:
        assert connection.execute("SELECT slots FROM slot_pool WHERE pool = 'iceberg_offload'").fetchone() == (5,)
        connection.execute("UPDATE slot_pool SET slots = 2 WHERE pool = 'iceberg_offload'")
    assert [part.process().pid for part in airflow_parts(airflow)] == before


def test_a_killed_scheduler_is_replaced_and_its_workers_do_not_stay(airflow):
    scheduler = airflow_parts(airflow)[0]
    orphans = [process for process in scheduler.family() if process != scheduler.process()]
    assert orphans
    scheduler.process().kill()
    wait_until(lambda: scheduler.process() is None)
    assert airflow.status()[1]["airflow-scheduler"]["state"] == "died"

    airflow.up("--airflow")

    assert airflow.status()[0] == 0
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in orphans)


def test_stopping_leaves_nothing_behind_and_the_next_start_is_quick(airflow):
    assert airflow.run("down").returncode == 0
    assert airflow.processes() == []
    prepared = os.stat(airflow.layout.logs / "airflow-setup.log").st_mtime_ns

    start = time.monotonic()
    airflow.up("--airflow")

    assert time.monotonic() - start < 30
    assert os.stat(airflow.layout.logs / "airflow-setup.log").st_mtime_ns == prepared, "the database was prepared twice"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
