"""Measures the cost of work: wall time, CPU time of the measured processes and of the servers, and memory.

Time and memory are measured in different runs, because reading the memory of a process costs more than some of the
measured work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO

import psutil

_SAMPLE_SECONDS = 0.02
_CPU_SAMPLE_SECONDS = 1.0
_LONGEST_SECONDS = 900.0
"""Commands that take longer are killed, so that every benchmark ends."""

Processes = Callable[[], Sequence[psutil.Process]]
"""Returns the roots of the measured process trees; trees may appear and disappear during a measurement."""


@dataclass(frozen=True)
class Cost:
    """The cost of one run.

    Attributes:
        wall_s: from the first start to the last end.
        cpu_s: user and system time of the measured processes and all their descendants.
        server_cpu_s: user and system time of the servers (ClickHouse, PostgreSQL) in that time.
        peak_mb: peak memory of the measured processes, as `peak_while` returns it; 0 if it was not measured.
    """

    wall_s: float
    cpu_s: float
    server_cpu_s: float
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Command:
    """A program with its arguments and its complete environment."""

    argv: Sequence[str]
    environ: Mapping[str, str]


class CommandFailed(Exception):
    """A measured command failed; the message contains its output."""


def run_at_once(
    commands: Sequence[Command],
    servers: Sequence[psutil.Process],
    left_running: Processes = list,
    *,
    measure_memory: bool = False,
) -> Cost:
    """Run commands in parallel and measure their cost.

    Processes that they leave running count with the CPU time that they have used by then.

    Args:
        commands: the commands.
        servers: the processes whose time is measured separately.
        left_running: returns the processes that the commands leave running.
        measure_memory: whether to measure memory too, which itself costs time.

    Raises:
        CommandFailed: a command failed or did not end in time.
    """
    before, cpu, peak_mb = _cpu_of_trees(servers), 0.0, 0.0
    start = time.monotonic()
    with _running(commands) as processes:

        def wait() -> None:
            nonlocal cpu
            cpu = _wait_for(processes)

        if measure_memory:
            roots = [psutil.Process(process.pid) for process in processes]
            peak_mb = peak_while(wait, lambda: [*roots, *left_running()])
        else:
            wait()
    wall = time.monotonic() - start
    cpu += _cpu_of_trees(left_running())
    return Cost(wall, cpu, _cpu_of_trees(servers) - before, peak_mb)


def measure(work: Callable[[], object], processes: Processes, servers: Sequence[psutil.Process]) -> Cost:
    """Measure the time of some work, and the CPU time of these processes and their descendants during it."""
    trees = _Trees(processes)
    servers_before = _cpu_of_trees(servers)
    start = time.monotonic()
    with _repeating(trees.sample, _CPU_SAMPLE_SECONDS):
        work()
    wall = time.monotonic() - start
    return Cost(wall, trees.used(), _cpu_of_trees(servers) - servers_before)


def peak_while(work: Callable[[], object], processes: Processes) -> float:
    """Return the peak memory of process trees during some work, in 10^6 bytes; shared pages count once (PSS)."""
    peak = 0

    def sample() -> None:
        nonlocal peak
        peak = max(peak, sum(_memory(process) for process in processes()))

    with _repeating(sample, _SAMPLE_SECONDS):
        work()
    return round(peak / 1e6, 1)


class _Trees:
    """The CPU time that process trees use from now on; for a tree that has ended, the last sample counts."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._first = {process: _cpu_of_trees([process]) for process in processes()}
        self._last = dict(self._first)

    def sample(self) -> None:
        """Read the CPU time of the current trees."""
        for process in self._processes():
            self._last[process] = max(_cpu_of_trees([process]), self._last.get(process, 0.0))

    def used(self) -> float:
        """Return the CPU seconds used so far."""
        self.sample()
        return sum(seconds - self._first.get(process, 0.0) for process, seconds in self._last.items())


@contextmanager
def _repeating(work: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call `work` periodically, in a thread, while the context lasts."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(seconds):
            work()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _running(commands: Sequence[Command]) -> Iterator[list[subprocess.Popen[str]]]:
    """Start the commands, each in its own process group; kill those that still run at the end of the context."""
    processes: list[subprocess.Popen[str]] = []
    try:
        for command in commands:
            processes.append(_start(command))
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                _kill(process)
                process.wait()


def _start(command: Command) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command.argv,
        env=dict(command.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait_for(processes: Sequence[subprocess.Popen[str]]) -> float:
    """Wait for the processes, and return the CPU seconds of all of them and their descendants."""
    timers = [threading.Timer(_LONGEST_SECONDS, _kill, [process]) for process in processes]
    for timer in timers:
        timer.start()
    try:
        outputs = _read_all(processes)
        # wait4 includes the descendants that a process has waited for; spark-submit's JVM waits for its Python.
        ended = [os.wait4(process.pid, 0) for process in processes]
    finally:
        for timer in timers:
            timer.cancel()
    for process, (_, status, _) in zip(processes, ended, strict=True):
        process.returncode = os.waitstatus_to_exitcode(status)
    for process, output in zip(processes, outputs, strict=True):
        if process.returncode:
            raise CommandFailed(output.strip() or f"the command ended with status {process.returncode} and no output")
    return sum(usage.ru_utime + usage.ru_stime for _, _, usage in ended)


def _read_all(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    outputs = [""] * len(processes)

    def read(number: int) -> None:
        with processes[number].stdout or StringIO() as stream:
            outputs[number] = stream.read()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outputs


def _cpu_of_trees(processes: Sequence[psutil.Process]) -> float:
    """The CPU seconds of processes and their descendants, including those that have ended."""
    total = 0.0
    for process in processes:
        for member in _tree(process):
            with suppress(psutil.NoSuchProcess):
                times = member.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory(root: psutil.Process) -> int:
    total = 0
    for process in _tree(root):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total


def _tree(root: psutil.Process) -> list[psutil.Process]:
    """A process with its descendants; empty if it has ended."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
