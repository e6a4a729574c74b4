"""Runs the metrics exporter beside the stack, with Airflow's Python."""

from __future__ import annotations

import os
import urllib.request

from devstack.stack.environment import for_servers
from devstack.stack.errors import PartFailedError
from devstack.stack.ports import LOOPBACK, Ports
from devstack.stack.processes import Part, wait_for
from install.layout import Layout, tail

_START_SECONDS = 30.0
_FOREIGN = (
    "OFFLOAD_CONNECTIONS",
    "OFFLOAD_TABLES",
    "OFFLOAD_SETTINGS",
    "OFFLOAD_EXPORTER_ADDRESS",
    "OFFLOAD_AIRFLOW_URL",
)
"""What would lead it to another pipeline's servers."""


class Exporter:
    """The stack's metrics exporter."""

    def __init__(self, layout: Layout) -> None:
        """Nothing is started yet."""
        self.part = Part(layout, "exporter")
        self._layout = layout

    @property
    def url(self) -> str | None:
        """Address of the metrics, None while it doesn't run."""
        port = self.part.ports().get("exporter")
        return f"http://{LOOPBACK}:{port}/metrics" if port else None

    def start(self, ports: Ports, *, postgres: int, airflow: int) -> str:
        """Start it unless it runs and watches these servers, and return the address of its metrics.

        Args:
            ports: where its own port comes from.
            postgres, airflow: the ports of the servers that it asks.

        Raises:
            PartFailedError: it does not start; the message ends with its log.
        """
        watched = {"postgres": postgres, "airflow": airflow}
        running = self.part.ports()
        if self.url and watched.items() <= running.items():
            return self.url
        self.part.stop()
        with ports.listen("exporter") as server:
            port = int(server.getsockname()[1])
            environ = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
            process = self.part.start(
                [str(self._layout.airflow_python), "-m", "monitoring.exporter", "--socket", str(server.fileno())],
                environ={
                    **for_servers(self._layout, environ),
                    "OFFLOAD_CONNECTIONS_FILE": str(self._layout.connections_file),
                    "OFFLOAD_AIRFLOW_URL": f"http://{LOOPBACK}:{airflow}",
                    "OFFLOAD_PORT_EXPORTER": str(port),
                },
                cwd=self._layout.run,
                ports={"exporter": port, **watched},
                descriptors=[server.fileno()],
            )
        if self.url is None or not any(self.answers() for _ in wait_for(process, _START_SECONDS)):
            raise PartFailedError(
                f"the exporter does not start. Mend what its log {self.part.log} says, then run make up again.\n{tail(self.part.log)}"
            )
        return self.url

    def stop(self) -> bool:
        """End it."""
        return self.part.stop(grace=5.0)

    def answers(self) -> bool:
        """True when it serves pages; whether the servers behind it answer is what its metrics say."""
        if self.url is None:
            return False
        try:
            with urllib.request.urlopen(self.url.removesuffix("metrics"), timeout=5) as response:  # noqa: S310 - loopback
                return bool(response.status == 200)
        except OSError:
            return False
