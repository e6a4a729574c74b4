"""`offload doctor`: what turns which check red, and that nothing holds it up."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.types import LongType, NestedField
from typer.testing import CliRunner

from offload_core.cli import Context, app
from offload_core.doctor import Check, Finding, Health, examine
from offload_core.doctor_checks import (
    Surroundings,
    all_checks,
    check_failures,
    check_lag,
    check_metrics,
    check_spark,
    check_spark_master,
)
from offload_core.errors import FixConfiguration
from offload_core.ledger import Ledger, Step
from offload_core.ledger_session import LedgerConnection
from offload_core.window import Cursor
from tests.support.offload_command import Offload

NOW = datetime.now(timezone.utc)
TRADES = "bronze_trades_binance"
STEP = Step("increment", Cursor(NOW, 7), 0, None, "run", 1, rows=3, snapshot_id=9, total_records=9)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
    return port


class TestChecks:
    def test_they_run_side_by_side_and_are_told_in_their_order(self):
        meet = threading.Barrier(3, timeout=5)

        def look(name: str) -> Callable[[], list[Finding]]:
            def meet_the_others() -> list[Finding]:
                meet.wait()
                return [Finding(name, Health.GREEN, "fine")]

            return meet_the_others

        found = examine([Check(name, look(name), "") for name in "abc"])

        assert [(finding.check, finding.finding) for finding in found] == [("a", "fine"), ("b", "fine"), ("c", "fine")]

    def test_one_that_does_not_answer_is_red_and_holds_up_nobody(self):
        never = threading.Event()
        started = time.monotonic()

        def hang() -> list[Finding]:
            never.wait(60)
            return []

        found = examine(
            [Check("hung", hang, "Look there."), Check("well", lambda: [Finding("well", Health.GREEN, "fine")], "")],
            0.2,
        )
        never.set()

        assert time.monotonic() - started < 5
        assert (found[0].health, found[0].finding, found[0].remedy) == (
            Health.RED,
            "No answer within 0.2 seconds.",
            "Look there.",
        )
        assert found[1].health is Health.GREEN

    def test_an_error_that_says_what_to_do_is_told_with_it(self):
        def fail() -> list[Finding]:
            raise FixConfiguration("It is wrong.", "Mend it.")

        (found,) = examine([Check("x", fail, "Look there.")])

        assert (found.health, found.finding, found.remedy) == (Health.RED, "It is wrong.", "Mend it.")

    def test_any_other_error_is_told_with_the_checks_own_remedy(self):
        def fail() -> list[Finding]:
            raise ValueError("line 1\nline 2")

        (found,) = examine([Check("x", fail, "Look there.")])

        assert (found.health, found.finding, found.remedy) == (Health.RED, "line 1 line 2", "Look there.")


@pytest.fixture
def surroundings(context: Context) -> Surroundings:
    """One table, here and now."""
    return Surroundings(context.connections, context.tables[:1], context.settings, {}, datetime.now(timezone.utc))


@pytest.mark.integration
class TestLag:
    @pytest.mark.parametrize(
        ("minutes", "health", "level"),
        [
            (14.9, Health.GREEN, "Normal"),
            (15.1, Health.YELLOW, "Elevated"),
            (20.1, Health.YELLOW, "Warning"),
            (30.1, Health.RED, "Critical"),
            (45.1, Health.RED, "Severe"),
            (60.1, Health.RED, "Emergency"),
        ],
    )
    def test_it_is_judged_by_the_severity_matrix(self, ledger: Ledger, surroundings, minutes, health, level):
        ledger.initialize(TRADES)
        row = ledger.append(ledger.watermark(TRADES), STEP)
        assert row.last_successful_run is not None

        (found,) = check_lag(replace(surroundings, now=row.last_successful_run + timedelta(minutes=minutes)))

        assert (found.health, found.finding.partition(":")[0]) == (health, level)
        assert (found.remedy is None) == (health is Health.GREEN)

    def test_a_halted_table_is_red_with_its_reason_even_while_its_lag_is_normal(self, ledger: Ledger, surroundings):
        ledger.initialize(TRADES)
        ledger.append(ledger.watermark(TRADES), STEP)
        ledger.record_failure(TRADES, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)
        ledger.record_failure(TRADES, "halted", "It is halted.", run_id="run", attempt=2)

        (found,) = check_lag(surroundings)

        assert found.health is Health.RED
        assert "Rolled back." in found.finding
        assert f"offload resume {TRADES}" in (found.remedy or "")

    def test_a_table_without_watermark_is_red(self, surroundings):
        (found,) = check_lag(surroundings)

        assert (found.health, found.remedy) == (Health.RED, "Run `offload init`.")

    def test_a_table_that_was_never_offloaded_is_watched_and_red_after_half_an_hour(self, ledger: Ledger, surroundings):
        ledger.initialize(TRADES)

        assert check_lag(surroundings)[0].health is Health.YELLOW
        later = replace(surroundings, now=surroundings.now + timedelta(minutes=31))
        assert check_lag(later)[0].health is Health.RED

    def test_a_disabled_table_is_not_checked(self, surroundings):
        disabled = [table.model_copy(update={"enabled": False}) for table in surroundings.tables]

        assert check_lag(replace(surroundings, tables=disabled))[0].health is Health.NEUTRAL


@pytest.mark.integration
class TestFailures:
    def fail(self, ledger: Ledger, times: int = 1) -> None:
        for attempt in range(times):
            ledger.record_failure(TRADES, "audit", f"The disk is full ({attempt}).", run_id="run", attempt=attempt)

    def test_none_is_green(self, ledger: Ledger, surroundings):
        ledger.initialize(TRADES)

        assert check_failures(surroundings)[0].health is Health.GREEN

    def test_they_are_counted_and_the_last_error_is_told(self, ledger: Ledger, surroundings):
        ledger.initialize(TRADES)
        self.fail(ledger, 2)

        (found,) = check_failures(surroundings)

        assert found.health is Health.YELLOW
        assert found.finding.startswith("2 in the last 60 minutes")
        assert found.finding.endswith(f"{TRADES}: The disk is full (1).")

    def test_a_table_that_failed_a_whole_cycle_is_red_until_it_succeeds(self, ledger: Ledger, surroundings):
        ledger.initialize(TRADES)
        self.fail(ledger, 3)

        assert check_failures(surroundings)[0].health is Health.RED
        ledger.append(ledger.watermark(TRADES), STEP)
        assert check_failures(surroundings)[0].health is Health.YELLOW

    def test_those_of_more_than_sixty_minutes_ago_are_forgotten(
        self, ledger: Ledger, surroundings, session: LedgerConnection, pipeline: str
    ):
        ledger.initialize(TRADES)
        self.fail(ledger)
        session.execute(
            "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp, status, kind, last_error_message, created_at) "
            "VALUES (%s, %s, now(), 'failed', 'failure', 'old', now() - interval '61 minutes')",
            (pipeline, TRADES),
        )

        assert check_failures(surroundings)[0].finding.startswith("1 in the last 60 minutes")


class TestMetrics:
    @pytest.fixture
    def endpoint(self) -> Iterator[Callable[[int], str]]:
        """Serves one answer with a status."""
        servers: list[HTTPServer] = []

        def endpoint(status: int) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(status)
                    self.end_headers()

                def log_message(self, *_: object) -> None: ...

            server = HTTPServer(("127.0.0.1", 0), Handler)
            servers.append(server)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            return f"http://127.0.0.1:{server.server_port}/metrics"

        yield endpoint
        for server in servers:
            server.shutdown()
            server.server_close()

    def test_without_an_address_it_is_not_set_up_which_is_no_fault(self):
        assert check_metrics(None)[0].health is Health.NEUTRAL

    def test_the_environment_says_where_it_is_unless_the_settings_do(self, context: Context):
        environ = {"OFFLOAD_METRICS_URL": "http://here:8000/metrics"}
        given = context.settings.model_copy(update={"metrics_url": "http://there:8000/metrics"})
        around = Surroundings(context.connections, context.tables, context.settings, environ, NOW)

        assert around.metrics_url == "http://here:8000/metrics"
        assert replace(around, settings=given).metrics_url == "http://there:8000/metrics"
        assert replace(around, environ={}).metrics_url is None

    @pytest.mark.parametrize(("status", "health"), [(200, Health.GREEN), (503, Health.RED), (404, Health.RED)])
    def test_it_has_to_answer_with_200(self, endpoint, status, health):
        (found,) = check_metrics(endpoint(status))

        assert found.health is health
        assert f"HTTP {status}" in found.finding

    def test_nobody_there_is_red(self, closed_port: int):
        (found,) = check_metrics(f"http://127.0.0.1:{closed_port}/metrics")

        assert found.health is Health.RED
        assert "metrics_url" in (found.remedy or "")


class TestSpark:
    @pytest.fixture
    def environ(self, tmp_path: Path) -> dict[str, str]:
        """A Spark and a Java of the test's own."""
        self.program(tmp_path / "spark" / "bin" / "spark-submit", "")
        self.program(tmp_path / "java" / "bin" / "java", "echo 'openjdk version \"17.0.9\" 2023-10-17' >&2")
        return {
            "OFFLOAD_SPARK_HOME": str(tmp_path / "spark"),
            "OFFLOAD_JAVA_HOME": str(tmp_path / "java"),
            "PATH": "/none",
        }

    def program(self, path: Path, script: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def test_spark_submit_and_a_java_are_enough(self, environ):
        (found,) = check_spark(environ)

        assert found.health is Health.GREEN
        assert "Java 17" in found.finding

    def test_without_spark_submit_it_says_what_to_set(self, environ):
        with pytest.raises(FixConfiguration, match=r"spark-submit was not found\. Set OFFLOAD_SPARK_HOME"):
            check_spark({**environ, "OFFLOAD_SPARK_HOME": "/none"})

    @pytest.mark.parametrize(
        ("script", "problem"),
        [
            ("echo 'openjdk version \"1.8.0_392\"' >&2", "is version 1,"),
            ("echo 'openjdk version \"25\" 2025-09-16' >&2", "is version 25"),
            ("exit 1", "does not run"),
        ],
    )
    def test_a_java_that_spark_can_not_use_is_named(self, environ, script, problem):
        self.program(Path(environ["OFFLOAD_JAVA_HOME"]) / "bin" / "java", script)

        with pytest.raises(FixConfiguration, match=problem):
            check_spark(environ)

    def test_no_java_at_all_is_told(self, environ):
        with pytest.raises(FixConfiguration, match="no Java on the PATH"):
            check_spark({name: value for name, value in environ.items() if name != "OFFLOAD_JAVA_HOME"})


class TestTheSparkMaster:
    @pytest.fixture
    def closed(self) -> str:
        """An address at which nobody listens."""
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{server.getsockname()[1]}"

    def test_a_spark_master_that_is_down_is_red(self, closed):
        (found,) = check_spark_master(f"spark://{closed}")

        assert found.health is Health.RED
        assert f"{closed}: Connection refused" in found.finding
        assert "spark_default" in (found.remedy or "")

    def test_one_of_several_is_enough(self, closed):
        with socket.create_server(("127.0.0.1", 0)) as server:
            up = f"127.0.0.1:{server.getsockname()[1]}"

            (found,) = check_spark_master(f"spark://{closed},{up}")

        assert (found.health, found.finding) == (Health.GREEN, f"{up} accepts connections.")

    @pytest.mark.parametrize("master", ["local[*]", "local", "yarn", "k8s://https://example.com:6443", ""])
    def test_where_there_is_none_there_is_nothing_to_ask(self, master):
        assert examine([Check("Spark master", lambda: check_spark_master(master), "")]) == []


@pytest.mark.integration
class TestTheCommand:
    @pytest.fixture
    def healthy(
        self, context: Context, ledger: Ledger, session: LedgerConnection, tmp_path: Path, monkeypatch, pipeline: str
    ) -> Iterator[Context]:
        """One table, offloaded just now; an Iceberg table without rows; a Spark that is there."""
        ledger.initialize(TRADES)
        ledger.append(ledger.watermark(TRADES), STEP)
        warehouse = tmp_path / "warehouse"
        warehouse.mkdir()
        schema = Schema(NestedField(1, "number", LongType()))
        metadata = new_table_metadata(schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, f"file://{warehouse}")
        (warehouse / "0.metadata.json").write_text(metadata.model_dump_json())
        session.execute(
            "CREATE TABLE IF NOT EXISTS iceberg_tables "
            "(catalog_name text, table_namespace text, table_name text, metadata_location text)"
        )
        session.execute(
            "INSERT INTO iceberg_tables VALUES (%s, 'cold', %s, %s)",
            (pipeline, TRADES, f"file://{warehouse}/0.metadata.json"),
        )
        for name in ("spark-submit", "java"):
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text("#!/bin/sh\necho 'openjdk version \"17.0.9\"'\n")
            program.chmod(0o755)
        monkeypatch.setenv("OFFLOAD_SPARK_HOME", str(tmp_path))
        monkeypatch.setenv("OFFLOAD_JAVA_HOME", str(tmp_path))
        iceberg = context.connections.iceberg.model_copy(update={"name": pipeline, "warehouse": f"file://{warehouse}"})
        connections = context.connections.model_copy(update={"iceberg": iceberg})
        yield replace(context, connections=connections, tables=context.tables[:1])
        session.execute("DROP TABLE iceberg_tables")

    def findings(self, offload: Offload, context: Context, status: int) -> dict[str, dict[str, str]]:
        started = time.monotonic()
        ended = offload("doctor", "--json", context=context)
        assert time.monotonic() - started < 15
        assert ended.status == status, ended.out + ended.err
        return {row["check"]: row for row in json.loads(ended.out)}

    def red(self, found: dict[str, dict[str, str]]) -> list[str]:
        assert all(row["what_to_do"] for row in found.values() if row["state"] == "RED")
        return [name for name, row in found.items() if row["state"] == "RED"]

    def test_all_is_well_and_what_needs_airflow_says_so(self, offload: Offload, healthy: Context):
        found = self.findings(offload, healthy, 0)

        assert {name: row["state"] for name, row in found.items()} == {
            "1 scheduler": "not checked",
            "2 metrics": "not checked",
            f"3 lag: {TRADES}": "ok",
            "4 last cycles": "not checked",
            "5 failures": "ok",
            "6 servers: ClickHouse": "ok",
            "6 servers: PostgreSQL": "ok",
            "6 servers: Iceberg": "ok",
            "6 servers: Spark": "ok",
        }

    def test_people_read_words_and_what_to_do(self, offload: Offload, healthy: Context, closed_port: int):
        clickhouse = healthy.connections.clickhouse.model_copy(update={"http_port": closed_port})
        broken = replace(healthy, connections=healthy.connections.model_copy(update={"clickhouse": clickhouse}))

        ended = offload("doctor", context=broken)

        assert ended.status == 1
        assert "RED" in ended.out
        assert "→ Start it or correct its Connection" in ended.out

    def test_clickhouse_down_is_red(self, offload: Offload, healthy: Context, closed_port: int):
        clickhouse = healthy.connections.clickhouse.model_copy(update={"http_port": closed_port})
        broken = replace(healthy, connections=healthy.connections.model_copy(update={"clickhouse": clickhouse}))

        assert self.red(self.findings(offload, broken, 1)) == ["6 servers: ClickHouse"]

    def test_postgresql_down_is_red_wherever_the_ledger_is_needed(
        self, offload: Offload, healthy: Context, closed_port
    ):
        postgres = healthy.connections.postgres.model_copy(update={"port": closed_port})
        broken = replace(healthy, connections=healthy.connections.model_copy(update={"postgres": postgres}))

        assert self.red(self.findings(offload, broken, 1)) == ["3 lag", "5 failures", "6 servers: PostgreSQL"]

    def test_a_warehouse_that_is_gone_is_red(self, offload: Offload, healthy: Context, tmp_path: Path):
        (tmp_path / "warehouse").rename(tmp_path / "elsewhere")

        found = self.findings(offload, healthy, 1)

        assert self.red(found) == ["6 servers: Iceberg"]
        assert "See that the warehouse" in found["6 servers: Iceberg"]["what_to_do"]

    def test_a_halted_table_is_red(self, offload: Offload, healthy: Context, ledger: Ledger):
        ledger.record_failure(TRADES, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)

        assert f"3 lag: {TRADES}" in self.red(self.findings(offload, healthy, 1))

    def test_servers_that_accept_and_never_answer_are_red_in_time(
        self, offload: Offload, healthy: Context, silent_port: int, monkeypatch
    ):
        monkeypatch.setattr("offload_core.doctor.CHECK_SECONDS", 1)
        old = healthy.connections
        silent = old.model_copy(
            update={
                "clickhouse": old.clickhouse.model_copy(update={"http_port": silent_port}),
                "postgres": old.postgres.model_copy(update={"port": silent_port}),
                "iceberg": old.iceberg.model_copy(update={"uri": f"jdbc:postgresql://127.0.0.1:{silent_port}/x"}),
            }
        )
        settings = healthy.settings.model_copy(update={"metrics_url": f"http://127.0.0.1:{silent_port}/metrics"})

        found = self.findings(offload, replace(healthy, connections=silent, settings=settings), 1)

        assert self.red(found) == [
            "2 metrics",
            "3 lag",
            "5 failures",
            "6 servers: ClickHouse",
            "6 servers: PostgreSQL",
            "6 servers: Iceberg",
        ]

    def test_a_configuration_that_can_not_be_read_is_red_too(self):
        def unreadable() -> Context:
            raise FixConfiguration("Airflow's Variable is wrong.", "Correct it.")

        result = CliRunner().invoke(app, ["doctor", "--json"], obj=unreadable)

        assert result.exit_code == 1
        (found,) = json.loads(result.output)
        assert (found["check"], found["what_to_do"]) == ("configuration", "Correct it.")

    def test_checks_that_airflow_brings_take_their_places(self, healthy: Context):
        around = Surroundings(healthy.connections, healthy.tables, healthy.settings, {}, NOW)
        own = Check("4 last cycles", lambda: [Finding("4 last cycles", Health.GREEN, "three")], "")

        checks = all_checks(around, [own])

        assert [check.name for check in checks][:5] == [
            "1 scheduler",
            "2 metrics",
            "3 lag",
            "4 last cycles",
            "5 failures",
        ]
        assert checks[3] is own
