"""`make demo`, as a newcomer runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil

from install.layout import Layout
from tests.support.checkout import CHECKOUT
from tests.support.stack.logs import deprecated


def test_the_demo_shows_nine_equal_tables_and_leaves_nothing_running_after_down(tmp_path: Path) -> None:
    base = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "OFFLOAD_CONNECTIONS"))
    }
    environ = {**base, "OFFLOAD_HOME": str(tmp_path)}
    command = [str(Layout.of_checkout(environ).python("devstack")), "-m", "devstack"]
    try:
        demo = subprocess.run(
            [*command, "demo", "--rows", "1000"], cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=400
        )
        assert demo.returncode == 0, demo.stdout + demo.stderr
        assert sum(line.rstrip().endswith(" equal") for line in demo.stdout.splitlines()) == 9
        assert "scheduled__" in demo.stdout
        assert "manual__" in demo.stdout
        password = (tmp_path / "airflow" / "admin-password").read_text().strip()
        assert password not in demo.stdout
        assert deprecated(tmp_path / "logs") == []
    finally:
        subprocess.run([*command, "down"], cwd=CHECKOUT, env=environ, check=True, timeout=120)
    assert [process for process in psutil.process_iter() if belongs_to(process, tmp_path)] == []


def belongs_to(process: psutil.Process, home: Path) -> bool:
    """Whether a process was started with this state folder."""
    try:
        return str(home) in " ".join([*process.cmdline(), process.environ().get("OFFLOAD_HOME", "")])
    except psutil.Error:
        return False
