"""Processes of a stack: they are found and stopped with everything that they started, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from devstack.stack.processes import StackPart
from install.layout import Layout
from tests.support.waiting import wait_until

SLEEP = [sys.executable, "-c", "import signal; signal.pause()"]
IGNORES_TERM = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()",
]


def _parent_of(child: str) -> list[str]:
    """A program that starts `child`, prints its pid and sleeps."""
    return [
        sys.executable,
        "-c",
        f"import signal, subprocess, sys; print({child}.pid, flush=True); signal.pause()",
    ]


ORDINARY_CHILD = "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])"
CHILD_IN_ITS_OWN_SESSION = (
    "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)"
)
CHILD_WITHOUT_THE_MARK = "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], env={})"


@pytest.fixture
def layout(tmp_path) -> Layout:
    made = Layout.of_checkout({"OFFLOAD_HOME": str(tmp_path / "home")})
    made.run.mkdir(parents=True)
    made.logs.mkdir()
    return made


@pytest.fixture
def start(layout) -> Iterator[Callable[..., StackPart]]:
    parts: list[StackPart] = []

    def make(command: list[str], name: str = "part") -> StackPart:
        part = StackPart(layout, name)
        part.start(command, environ=os.environ, cwd=layout.home)
        parts.append(part)
        return part

    yield make
    for part in parts:
        part.stop(grace=0.1)


def _first_line(part: StackPart) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (text := part.log.read_text()).endswith("\n"):
            return text.strip()
        time.sleep(0.02)
    raise AssertionError(f"{part.name} printed nothing")


def _is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_stopping_ends_the_process_and_returns_that_there_was_one(start):
    part = start(SLEEP)
    process = part.process()

    assert part.stop() is True
    assert not _is_alive(process.pid)
    assert part.record() is None
    assert part.stop() is False


@pytest.mark.parametrize("child", [ORDINARY_CHILD, CHILD_IN_ITS_OWN_SESSION, CHILD_WITHOUT_THE_MARK])
def test_stopping_ends_what_the_process_started(start, child):
    part = start(_parent_of(child))
    pid = int(_first_line(part))

    part.stop()

    assert not _is_alive(pid)


@pytest.mark.parametrize("child", [ORDINARY_CHILD, CHILD_IN_ITS_OWN_SESSION, CHILD_WITHOUT_THE_MARK])
def test_children_of_a_killed_process_are_found_and_ended(start, child):
    part = start(_parent_of(child))
    pid = int(_first_line(part))
    main = part.process()
    main.kill()
    _wait_until(lambda: part.process() is None)

    assert [process.pid for process in part.family()] == [pid]
    part.stop()
    assert not _is_alive(pid)


def test_a_process_that_ignores_sigterm_is_killed(start):
    part = start(IGNORES_TERM)
    assert _first_line(part) == "ready"
    pid = part.process().pid

    part.stop(grace=0.2)

    assert not _is_alive(pid)


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(layout, tmp_path):
    stranger = subprocess.Popen(SLEEP, start_new_session=True, cwd=tmp_path)
    try:
        part = StackPart(layout, "part")
        record = {"name": "part", "pid": stranger.pid, "started": time.time() - 3600, "ports": {"http": 1}}
        (layout.run / "part.json").write_text(json.dumps(record))

        assert part.process() is None
        assert part.ports() == {}
        assert part.stop() is False
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_stack_does_not_touch_the_same_part_of_another_one(start, tmp_path):
    neighbour = Layout.of_checkout({"OFFLOAD_HOME": str(tmp_path / "home-2")})
    neighbour.run.mkdir(parents=True)
    part = start(SLEEP)

    assert StackPart(neighbour, part.name).stop() is False
    assert part.process() is not None


def test_a_process_whose_record_was_lost_is_found_by_its_mark(layout, start):
    part = start(SLEEP)
    pid = part.process().pid
    # A program that has only just been started has no environment to be seen yet.
    wait_until(lambda: bool(psutil.Process(pid).environ()), "the process's environment")
    (layout.run / "part.json").write_text("{")

    assert part.process() is None
    assert part.stop() is True
    assert not _is_alive(pid)


def test_a_process_with_only_the_state_folder_in_its_environment_is_left_alone(layout, start):
    part = start(SLEEP)
    stranger = subprocess.Popen(SLEEP, env={**os.environ, "OFFLOAD_HOME": str(layout.home)})
    try:
        assert stranger.pid not in [process.pid for process in part.family()]
    finally:
        stranger.kill()
        stranger.wait()


def test_the_record_is_for_its_owner_only(start, layout):
    start(SLEEP)

    assert (layout.run / "part.json").stat().st_mode & 0o777 == 0o600


def test_a_large_log_is_rotated_at_the_next_start(start, layout):
    log = layout.logs / "part.log"
    with log.open("wb") as file:
        file.truncate(21_000_000)

    start(["true"])

    assert (layout.logs / "part.log.1").stat().st_size == 21_000_000
    assert log.stat().st_size == 0


def test_memory_counts_the_whole_family(start):
    part = start(_parent_of(ORDINARY_CHILD))
    _first_line(part)

    main = part.process().memory_full_info().pss

    assert part.memory() > main


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
