"""The exporter's web server: /metrics, and /scheduler, which answers 200 while Airflow's scheduler is alive.

docs/adr/0010 says why `up` is the scheduler's heartbeat.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from monitoring.exporter.airflow_health import AirflowHealth, SchedulerHealth
from monitoring.exporter.cached import Cached
from monitoring.exporter.collector import OffloadCollector, counting
from monitoring.exporter.settings import ExporterSettings
from offload_core.ledger.snapshot import SnapshotReader

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_TEXT = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
_INDEX = """\
Iceberg offload exporter

/metrics    all metrics
/scheduler  200 while Airflow's scheduler is alive, else 503
"""


class _Server(ThreadingWSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that closed the connection before their answer."""


class _Handler(WSGIRequestHandler):
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: there would be a line per scrape."""


def application(settings: ExporterSettings) -> WSGIApplication:
    """The exporter as a WSGI application; it queries no server before the first request."""
    health = AirflowHealth(
        settings.airflow_url, settings.scheduler_silence_seconds, settings.cache_seconds, settings.timeout_seconds
    )
    reader = SnapshotReader(settings.postgres, settings.pipeline, settings.tables, settings.timeout_seconds)
    ledger = Cached(counting(reader.read), settings.cache_seconds, settings.timeout_seconds)
    registry = CollectorRegistry()
    registry.register(OffloadCollector(settings.pipeline, ledger, health.scheduler))
    ProcessCollector(registry=registry)
    pages: dict[str, WSGIApplication] = {
        "/": _text(lambda: (HTTPStatus.OK, _INDEX)),
        "/metrics": make_wsgi_app(registry),
        "/scheduler": _text(lambda: _scheduler(health.scheduler())),
    }
    missing = _text(lambda: (HTTPStatus.NOT_FOUND, _INDEX))

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        page = pages.get(str(environ.get("PATH_INFO", "/")), missing)
        return page(environ, start_response)

    return serve


def server(settings: ExporterSettings, listening: socket.socket | None = None) -> WSGIServer:
    """A listening server; `serve_forever` makes it answer.

    Args:
        settings: the exporter's.
        listening: a socket to answer on, instead of the address and port of the settings.

    Raises:
        OSError: the port is taken, or the address does not belong to this machine.
    """
    created = _Server((settings.address, settings.port), _Handler, bind_and_activate=False)
    if listening is None:
        created.server_bind()
        created.server_activate()
    else:
        created.socket.close()
        created.socket = listening
        created.server_address = listening.getsockname()
        created.server_name, created.server_port = settings.address, created.server_address[1]
        created.setup_environ()
    created.set_app(application(settings))
    return created


def _scheduler(health: SchedulerHealth) -> tuple[HTTPStatus, str]:
    return HTTPStatus.OK if health.is_up else HTTPStatus.SERVICE_UNAVAILABLE, f"# {health.reason}\n"


def _text(answer: Callable[[], tuple[HTTPStatus, str]]) -> WSGIApplication:
    def page(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, text = answer()
        start_response(f"{status.value} {status.phrase}", [_TEXT])
        return [text.encode()]

    return page
