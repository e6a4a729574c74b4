"""The exporter as its users run it, and a health page of Airflow that a test controls."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from devstack.stack.ports import LOOPBACK, is_free
from monitoring.exporter.server import server
from monitoring.exporter.settings import load_settings
from offload_core.config.connections import PostgresConnection
from tests.support.checkout import CHECKOUT

_SECONDS = 20.0

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class ScrapedMetrics:
    """One response of /metrics: its text, and its samples by name and labels."""

    text: str
    samples: Mapping[str, Mapping[Labels, float]]

    def __contains__(self, name: str) -> bool:
        return name in self.samples

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample."""
        return self.samples[name][frozenset(labels.items())]

    def by_table(self, name: str) -> dict[str, float]:
        """The values of a metric by table."""
        return {dict(labels)["table"]: value for labels, value in self.samples.get(name, {}).items()}


@dataclass
class Exporter:
    """A running exporter."""

    url: str

    def scrape(self) -> ScrapedMetrics:
        """Request /metrics."""
        status, text = self.get("/metrics")
        assert status == 200, text
        samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return ScrapedMetrics(text, samples)

    def get(self, path: str) -> tuple[int, str]:
        """Request a page. Returns its status and text."""
        with urllib3.PoolManager() as pool:
            response = pool.request("GET", f"{self.url}{path}", timeout=30, retries=False)
            return response.status, response.data.decode()


def environment(postgres: PostgresConnection, port: int, **settings: str) -> dict[str, str]:
    """The environment of an exporter: it names only PostgreSQL, and has nothing from other stacks."""
    password = postgres.password.get_secret_value()
    connections = {"postgres": {**postgres.model_dump(mode="json"), "password": password}}
    foreign = ("OFFLOAD_", "AIRFLOW", "PYTHON")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "plugins")]),
        "OFFLOAD_CONNECTIONS": json.dumps(connections),
        "OFFLOAD_PORT_EXPORTER": str(port),
        "OFFLOAD_EXPORTER_CACHE_SECONDS": "0",
        **settings,
    }


@contextmanager
def running_exporter(postgres: PostgresConnection, pipeline: str, **settings: str) -> Iterator[Exporter]:
    """An exporter in the test's own process, on a free port."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        port = listening.getsockname()[1]
        environ = environment(postgres, port, OFFLOAD_SETTINGS=json.dumps({"pipeline_id": pipeline}), **settings)
        with server(load_settings(environ), listening) as running:
            thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield Exporter(f"http://{LOOPBACK}:{port}")
            finally:
                running.shutdown()
                thread.join()


@contextmanager
def exporter_process(postgres: PostgresConnection, pipeline: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """An exporter in a process of its own, on the port of its environment. It is stopped at the end."""
    environ = environment(postgres, free_port(), OFFLOAD_SETTINGS=json.dumps({"pipeline_id": pipeline}), **settings)
    command = [sys.executable, "-W", "error", "-m", "monitoring.exporter"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "/metrics" in process.stderr.readline()
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


def free_port() -> int:
    """A loopback port that is free now."""
    with ThreadingHTTPServer((LOOPBACK, 0), BaseHTTPRequestHandler) as probe:
        port = int(probe.server_address[1])
    assert is_free(port)
    return port


class HealthPage:
    """Airflow's health page, at first at Airflow 2's `path`. Its scheduler is alive until `stop_the_heart`."""

    def __init__(self) -> None:
        self.stopped_at: datetime | None = None
        self.has_scheduler = True
        self.path = "/health"
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(page.answer()).encode()
                self.send_response(200 if self.path == page.path else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def answer(self) -> dict[str, object]:
        """The content of the page, with the fields that Airflow 2.11 has."""
        beat = (self.stopped_at or datetime.now(timezone.utc)).isoformat() if self.has_scheduler else None
        scheduler = {"latest_scheduler_heartbeat": beat, "status": "healthy" if beat else "unhealthy"}
        return {"metadatabase": {"status": "healthy"}, "scheduler": scheduler, "triggerer": {"status": None}}

    def stop_the_heart(self, ago: timedelta = timedelta()) -> None:
        """Stop the heartbeat. The last one was so long ago."""
        self.stopped_at = datetime.now(timezone.utc) - ago

    def beat_again(self) -> None:
        """Let the scheduler be alive again."""
        self.stopped_at = None

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
