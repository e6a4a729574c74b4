"""What turns which of the doctor's checks red, and that none holds up another."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from offload_core.errors import FixConfiguration
from offload_core.ledger.ledger import Ledger, Step
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Cursor
from offload_ops.cli.app import Context
from offload_ops.doctor.checks import (
    Surroundings,
    check_failures,
    check_lag,
    check_metrics,
    check_spark,
    check_spark_master,
)
from offload_ops.doctor.model import Check, Finding, Health, examine

NOW = datetime.now(timezone.utc)
TRADES = "bronze_trades_binance"
STEP = Step("increment", Cursor(NOW, 7), 0, None, "run", 1, rows=3, snapshot_id=9, total_records=9)


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
            ("echo 'openjdk version \"1.8.0_392\"' >&2", "is version 8,"),
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
