"""What a piece of work costs: wall time, CPU time of our processes and of the servers', and memory.

Looking at the memory of a process costs the machine more than some of the work that is measured here, so time and memory are measured
in different runs.
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
_LOOK_SECONDS = 1.0
_LONGEST_SECONDS = 900.0
"""Whatever takes longer is ended: no route is worth a benchmark that never ends."""

Processes = Callable[[], Sequence[psutil.Process]]
"""Tells the roots of the trees that are measured; trees may come and go while something is measured."""


@dataclass(frozen=True)
class Cost:
    """One run's cost.

    Attributes:
        wall_s: from the first start to the last end.
        cpu_s: user and system time of the measured processes and all their descendants.
        server_cpu_s: the same of the servers (ClickHouse, PostgreSQL) in that time.
        peak_mb: the peak of the measured processes' memory, as `peak_while` has it; 0 where nobody looked.
    """

    wall_s: float
    cpu_s: float
    server_cpu_s: float
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Command:
    """A program, its arguments, and all of its environment."""

    argv: Sequence[str]
    environ: Mapping[str, str]


class CommandFailed(Exception):
    """A measured command did not succeed: its output is in the message."""


def run_at_once(
    commands: Sequence[Command],
    servers: Sequence[psutil.Process],
    left_running: Processes = list,
    *,
    look_at_memory: bool = False,
) -> Cost:
    """Run commands at the same time and measure their time; what they leave running counts with what it has used by then.

    Args:
        commands: what to run.
        servers: whose time is told apart.
        left_running: tells what the commands leave running.
        look_at_memory: whether the memory is measured too, which costs time by itself.

    Raises:
        CommandFailed: one of them ended with another status than 0, or did not end in time.
    """
    before, cpu, peak_mb = _cpu_of_trees(servers), 0.0, 0.0
    start = time.monotonic()
    with _started(commands) as processes:

        def wait() -> None:
            nonlocal cpu
            cpu = _ended(processes)

        if look_at_memory:
            roots = [psutil.Process(process.pid) for process in processes]
            peak_mb = peak_while(wait, lambda: [*roots, *left_running()])
        else:
            wait()
    wall = time.monotonic() - start
    cpu += _cpu_of_trees(left_running())
    return Cost(wall, cpu, _cpu_of_trees(servers) - before, peak_mb)


def measure(work: Callable[[], object], processes: Processes, servers: Sequence[psutil.Process]) -> Cost:
    """Measure the time of some work, and what these processes, with their descendants, use meanwhile."""
    trees = _Trees(processes)
    servers_before = _cpu_of_trees(servers)
    start = time.monotonic()
    with _repeated(trees.look, _LOOK_SECONDS):
        work()
    wall = time.monotonic() - start
    return Cost(wall, trees.used(), _cpu_of_trees(servers) - servers_before)


def peak_while(work: Callable[[], object], processes: Processes) -> float:
    """The greatest sum of the memory of process trees while some work is done: each page counted once (PSS), in 10^6 bytes."""
    peak = 0

    def look() -> None:
        nonlocal peak
        peak = max(peak, sum(_memory(process) for process in processes()))

    with _repeated(look, _SAMPLE_SECONDS):
        work()
    return round(peak / 1e6, 1)


class _Trees:
    """What process trees use from now on. Of a tree that ends meanwhile, what was seen last counts."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._first = {process: _cpu_of_trees([process]) for process in processes()}
        self._last = dict(self._first)

    def look(self) -> None:
        """See how much it is now."""
        for process in self._processes():
            self._last[process] = max(_cpu_of_trees([process]), self._last.get(process, 0.0))

    def used(self) -> float:
        """CPU seconds."""
        self.look()
        return sum(seconds - self._first.get(process, 0.0) for process, seconds in self._last.items())


@contextmanager
def _repeated(work: Callable[[], None], seconds: float) -> Iterator[None]:
    """Do something again and again beside the body."""
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
def _started(commands: Sequence[Command]) -> Iterator[list[subprocess.Popen[str]]]:
    """The commands' processes, each the head of a group of its own; what still runs at the end is killed."""
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


def _ended(processes: Sequence[subprocess.Popen[str]]) -> float:
    """Wait for the processes; the CPU seconds of all of them and their descendants."""
    late = [threading.Timer(_LONGEST_SECONDS, _kill, [process]) for process in processes]
    for timer in late:
        timer.start()
    try:
        outputs = _read_all(processes)
        # wait4 also counts the descendants that were waited for; spark-submit's JVM waits for its Python.
        ended = [os.wait4(process.pid, 0) for process in processes]
    finally:
        for timer in late:
            timer.cancel()
    for process, (_, status, _) in zip(processes, ended, strict=True):
        process.returncode = os.waitstatus_to_exitcode(status)
    for process, output in zip(processes, outputs, strict=True):
        if process.returncode:
            raise CommandFailed(output.strip() or f"it ended with status {process.returncode} and said nothing")
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
    """CPU seconds of processes and their descendants, those that have ended included."""
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
    """A process with its descendants; nothing if it has ended."""
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
