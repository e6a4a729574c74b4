"""What turns the checks of metrics, Spark and its master red."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from offload_core.errors import FixConfiguration
from offload_ops.cli.app import Context
from offload_ops.doctor.context import CheckContext
from offload_ops.doctor.model import Check, Health, examine
from offload_ops.doctor.servers import check_metrics, check_spark, check_spark_master

NOW = datetime.now(timezone.utc)


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

    def test_without_an_address_the_check_is_neutral(self):
        assert check_metrics(None)[0].health is Health.NEUTRAL

    def test_the_settings_address_goes_before_that_of_the_environment(self, context: Context):
        environ = {"OFFLOAD_METRICS_URL": "http://here:8000/metrics"}
        given = context.settings.model_copy(update={"metrics_url": "http://there:8000/metrics"})
        check_context = CheckContext(context.connections, context.tables, context.settings, environ, NOW)

        assert check_context.metrics_url == "http://here:8000/metrics"
        assert replace(check_context, settings=given).metrics_url == "http://there:8000/metrics"
        assert replace(check_context, environ={}).metrics_url is None

    @pytest.mark.parametrize(("status", "health"), [(200, Health.GREEN), (503, Health.RED), (404, Health.RED)])
    def test_only_an_answer_with_200_is_green(self, endpoint, status, health):
        (found,) = check_metrics(endpoint(status))

        assert found.health is health
        assert f"HTTP {status}" in found.message

    def test_an_endpoint_that_is_down_is_red(self, closed_port: int):
        (found,) = check_metrics(f"http://127.0.0.1:{closed_port}/metrics")

        assert found.health is Health.RED
        assert "metrics_url" in (found.remedy or "")


class TestSpark:
    @pytest.fixture
    def environ(self, tmp_path: Path) -> dict[str, str]:
        """A Spark and a Java that only this test has."""
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
        assert "Java 17" in found.message

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
    def test_a_java_that_spark_cannot_use_is_named(self, environ, script, problem):
        self.program(Path(environ["OFFLOAD_JAVA_HOME"]) / "bin" / "java", script)

        with pytest.raises(FixConfiguration, match=problem):
            check_spark(environ)

    def test_a_missing_java_is_an_error(self, environ):
        with pytest.raises(FixConfiguration, match="no Java on the PATH"):
            check_spark({name: value for name, value in environ.items() if name != "OFFLOAD_JAVA_HOME"})


class TestSparkMaster:
    @pytest.fixture
    def closed(self) -> str:
        """An address at which nobody listens."""
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{server.getsockname()[1]}"

    def test_a_spark_master_that_is_down_is_red(self, closed):
        (found,) = check_spark_master(f"spark://{closed}")

        assert found.health is Health.RED
        assert f"{closed}: Connection refused" in found.message
        assert "spark_default" in (found.remedy or "")

    def test_one_of_several_is_enough(self, closed):
        with socket.create_server(("127.0.0.1", 0)) as server:
            up = f"127.0.0.1:{server.getsockname()[1]}"

            (found,) = check_spark_master(f"spark://{closed},{up}")

        assert (found.health, found.message) == (Health.GREEN, f"{up} accepts connections.")

    @pytest.mark.parametrize("master", ["local[*]", "local", "yarn", "k8s://https://example.com:6443", ""])
    def test_without_a_master_there_is_nothing_to_check(self, master):
        assert examine([Check("Spark master", lambda: check_spark_master(master), "")]) == []
