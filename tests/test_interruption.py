"""A test run that is interrupted, terminated or killed leaves no server, no stack and no folder behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.checkout import CHECKOUT

SUITE = """
import subprocess, sys, time
from pathlib import Path
import pytest

HERE = Path(__file__).parent

@pytest.fixture
def finalized():
    yield
    (HERE / "finalized").touch()

def test_that_lasts(servers, finalized):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (HERE / "warehouse").write_text(servers.iceberg.warehouse)
    time.sleep(600)
"""
START_SECONDS, END_SECONDS = 120, 60


@pytest.mark.integration
@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGINT, []), (signal.SIGTERM, []), (signal.SIGHUP, ["-n", "1"]), (signal.SIGKILL, ["-n", "1"])],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else "".join(value) or "alone",
)
def test_an_ended_run_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, options: list[str]) -> None:
    """PostgreSQL, ClickHouse and whatever else the tests started end with pytest, and their folder is deleted."""
    with suite(tmp_path, *options) as run:
        started = descendants_and_daemons(run, tmp_path)
        home = Path((tmp_path / "warehouse").read_text().removeprefix("file://")).parent
        assert any("postgres" in process.name() for process in started)
        assert home.is_dir()
        run.send_signal(number)
        try:
            run.wait(timeout=END_SECONDS)
            _, left = psutil.wait_procs(started, timeout=END_SECONDS)
            assert not left, [process.cmdline() for process in left]
            wait_until_gone(home)
        finally:
            for process in started:
                if process.is_running():
                    process.kill()
    if number is not signal.SIGKILL and not options:
        assert (tmp_path / "finalized").exists()


@contextmanager
def suite(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run of one test that takes long, with the fixtures and hooks of this suite; it has started its servers."""
    file = folder / "test_suite.py"
    file.write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", str(CHECKOUT / "pyproject.toml")]
    with (folder / "output").open("wb") as output:
        run = subprocess.Popen(
            [*command, "-p", "no:cacheprovider", f"--basetemp={folder / 'basetemp'}", *options, str(file)],
            cwd=CHECKOUT,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=heed_hangups,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (folder / "warehouse").exists() or not (folder / "warehouse").read_text():
            assert run.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < deadline, (folder / "output").read_text()
            time.sleep(0.1)
        yield run
    finally:
        run.kill()
        run.wait()


def heed_hangups() -> None:
    """Undo `nohup`, under which this suite may run."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def descendants_and_daemons(run: subprocess.Popen[bytes], folder: Path) -> list[psutil.Process]:
    """The run's processes, and the daemons that work in its servers' state folder."""
    home = str(Path((folder / "warehouse").read_text().removeprefix("file://")).parent)
    found = {process.pid: process for process in psutil.Process(run.pid).children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if home in " ".join(process.cmdline()) or process.cwd().startswith(home):
                found[process.pid] = process
        except psutil.Error:
            continue
    return list(found.values())


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + END_SECONDS
    while folder.exists():
        assert time.monotonic() < deadline, list(folder.iterdir())
        time.sleep(0.1)
