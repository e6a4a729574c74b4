"""The commands of a development stack, for tests that start their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil

from devstack.stack.processes import StackPart
from install.layout import Layout
from offload_core.config.connections import Connections, load_connections

SERVERS = ["postgres", "clickhouse"]


class Commands:
    """The command line of one stack."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.layout = Layout.of_checkout({**os.environ, "OFFLOAD_HOME": str(home)})
        self._environ = {**os.environ, "OFFLOAD_HOME": str(home), **environ}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.layout.python("devstack"), "-m", "devstack", *arguments],
            cwd=self.layout.checkout,
            env=self._environ,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def up(self, *options: str) -> Connections:
        result = self.run("up", *options)
        assert result.returncode == 0, result.stdout + result.stderr
        return self.connections()

    def connections(self) -> Connections:
        return load_connections({"OFFLOAD_CONNECTIONS_FILE": str(self.layout.connections_file)})

    def status(self) -> tuple[int, dict[str, dict[str, object]]]:
        result = self.run("status", "--json")
        return result.returncode, {part["name"]: part for part in json.loads(result.stdout)}

    def parts(self) -> list[StackPart]:
        return [StackPart(self.layout, name) for name in SERVERS]

    def pids(self) -> list[int]:
        return [part.process().pid for part in self.parts()]

    def secrets(self) -> dict[str, str]:
        return json.loads((self.layout.home / "secrets.json").read_text())

    def processes(self) -> list[str]:
        """Command lines of all processes that mention the stack's folder or work in it."""
        home = str(self.layout.home)
        found = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                if home in line or process.cwd().startswith(home):
                    found.append(line)
            except psutil.Error:
                continue
        return found
