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
_LONGEST_SECONDS = 900.0
"""Whatever takes longer is ended: no route is worth a benchmark that never ends."""


@dataclass(frozen=True)
class Cost:
    """One run's cost.

    Attributes:
        wall_s: from the first start to the last end.
        cpu_s: user and system time of the measured processes and all their descendants.
        server_cpu_s: the same of the servers (ClickHouse, PostgreSQL) in that time.
    """

    wall_s: float
    cpu_s: float
    server_cpu_s: float


@dataclass(frozen=True)
class Command:
    """A program, its arguments, and all of its environment."""

    argv: Sequence[str]
    environ: Mapping[str, str]


class CommandFailed(Exception):
    """A measured command did not succeed: its output is in the message."""


def run_at_once(commands: Sequence[Command], servers: Sequence[psutil.Process]) -> Cost:
    """Run commands at the same time and measure their time.

    Raises:
        CommandFailed: one of them ended with another status than 0, or did not end in time.
    """
    before = _cpu_of_trees(servers)
    start = time.monotonic()
    with _started(commands) as processes:
        cpu = _ended(processes)
    wall = time.monotonic() - start
    return Cost(wall, cpu, _cpu_of_trees(servers) - before)


def peak_of(commands: Sequence[Command]) -> float:
    """Run commands at the same time and return the peak of their memory together, as `peak_while` has it. Raises as `run_at_once`."""
    with _started(commands) as processes:
        roots = [process.pid for process in processes]
        return peak_while(lambda: _ended(processes), roots)


def measure(work: Callable[[], None], processes: Sequence[psutil.Process], servers: Sequence[psutil.Process]) -> Cost:
    """Measure the time of some work, and what these running processes, with their descendants, use meanwhile."""
    before, servers_before = _cpu_of_trees(processes), _cpu_of_trees(servers)
    start = time.monotonic()
    work()
    wall = time.monotonic() - start
    return Cost(wall, _cpu_of_trees(processes) - before, _cpu_of_trees(servers) - servers_before)


def peak_while(work: Callable[[], object], roots: Sequence[int]) -> float:
    """The greatest sum of the memory of process trees while some work is done: each page counted once (PSS), in 10^6 bytes."""
    done, peak = threading.Event(), 0

    def sample() -> None:
        nonlocal peak
        while not done.wait(_SAMPLE_SECONDS):
            peak = max(peak, sum(_memory(root) for root in roots))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return round(peak / 1e6, 1)


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
        for member in [process, *process.children(recursive=True)]:
            try:
                times = member.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory(root: int) -> int:
    total = 0
    try:
        tree = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total
