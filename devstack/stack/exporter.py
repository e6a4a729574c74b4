"""Runs the metrics exporter beside the stack, with Airflow's Python."""

from __future__ import annotations

import os
import urllib.request

from devstack.stack.environment import for_servers
from devstack.stack.errors import PartFailedError
from devstack.stack.ports import LOOPBACK, Ports
from devstack.stack.processes import StackPart, wait_for
from install.layout import Layout, tail

_START_SECONDS = 30.0
_FOREIGN = (
    "OFFLOAD_CONNECTIONS",
    "OFFLOAD_TABLES",
    "OFFLOAD_SETTINGS",
    "OFFLOAD_EXPORTER_ADDRESS",
    "OFFLOAD_AIRFLOW_URL",
)
"""Variables of the shell that could point the exporter to another pipeline's servers."""


class Exporter:
    """The stack's metrics exporter."""

    def __init__(self, layout: Layout) -> None:
        """Create the object; nothing is started yet."""
        self.part = StackPart(layout, "exporter")
        self._layout = layout

    @property
    def url(self) -> str | None:
        """Address of the metrics, None while the exporter is not running."""
        port = self.part.ports().get("exporter")
        return f"http://{LOOPBACK}:{port}/metrics" if port else None

    def start(self, ports: Ports, *, postgres: int, airflow: int) -> str:
        """Start the exporter unless it already watches these servers, and return the address of its metrics.

        Args:
            ports: chooses the exporter's own port.
            postgres, airflow: the ports of the servers that it queries.

        Raises:
            PartFailedError: the exporter does not start; the message ends with its log.
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
                f"the exporter does not start. Fix the cause that its log {self.part.log} names, "
                f"then run make up again.\n{tail(self.part.log)}"
            )
        return self.url

    def stop(self) -> bool:
        """Stop the exporter; return whether it was running."""
        return self.part.stop(grace=5.0)

    def answers(self) -> bool:
        """Whether the exporter serves pages. Its metrics say whether the servers that it watches answer."""
        if self.url is None:
            return False
        try:
            with urllib.request.urlopen(self.url.removesuffix("metrics"), timeout=5) as response:  # noqa: S310 - loopback
                return bool(response.status == 200)
        except OSError:
            return False
