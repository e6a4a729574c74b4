"""A fake spark-submit that records how it was called, and ends as the test needs it.

`install` puts it where OFFLOAD_SPARK_HOME points. The environment of the test's process controls it: FAKE_SPARK_OUTPUT
is printed and FAKE_SPARK_EXIT is the exit code, both only for the target table FAKE_SPARK_TABLE if that is set.
FAKE_SPARK_HANG makes it start a child, ignore SIGTERM and never end.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from offload_core.jobs.outcome import ReportedError

_SCRIPT = """#!{python}
import json, os, signal, subprocess, sys
call = {{"argv": sys.argv[1:], "environ": dict(os.environ), "pids": [os.getpid()]}}
hang = os.environ.get("FAKE_SPARK_HANG")
if hang:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    call["pids"].append(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]).pid)
with open({record!r} + ".part", "w") as file:
    json.dump(call, file)
os.rename({record!r} + ".part", {record!r})
only = os.environ.get("FAKE_SPARK_TABLE")
if only and only not in sys.argv:
    sys.exit(0)
print(os.environ.get("FAKE_SPARK_OUTPUT", ""), flush=True)
while hang:
    signal.pause()
sys.exit(int(os.environ.get("FAKE_SPARK_EXIT", "0")))
"""


@dataclass(frozen=True)
class FakeSpark:
    """The fake's folder, which becomes OFFLOAD_SPARK_HOME, and what it has recorded."""

    home: Path

    @property
    def record(self) -> Path:
        """The file with the newest call."""
        return self.home / "call.json"

    @property
    def argv(self) -> list[str]:
        """The newest call's arguments."""
        argv: list[str] = json.loads(self.record.read_text())["argv"]
        return argv

    @property
    def environ(self) -> dict[str, str]:
        """The newest call's environment."""
        environ: dict[str, str] = json.loads(self.record.read_text())["environ"]
        return environ

    def alive(self) -> list[int]:
        """Processes of the newest call that are still alive."""
        pids: list[int] = json.loads(self.record.read_text())["pids"]
        return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def install(home: Path) -> FakeSpark:
    """Put the fake into a folder with the layout of Spark."""
    fake = FakeSpark(home)
    script = home / "bin" / "spark-submit"
    script.parent.mkdir(parents=True)
    script.write_text(_SCRIPT.format(python=sys.executable, record=str(fake.record)))
    script.chmod(0o755)
    return fake


def report(monkeypatch: pytest.MonkeyPatch, *, retryable: bool) -> None:
    """Make the fake fail as the job does."""
    error = ReportedError("clickhouse_connection", "ClickHouse can't be reached. Start it.", retryable)
    monkeypatch.setenv("FAKE_SPARK_OUTPUT", f"✗ Offload failed: {error.message}\n{error.to_line()}\n")
    monkeypatch.setenv("FAKE_SPARK_EXIT", str(error.exit_code))
