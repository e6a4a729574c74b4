"""What a piece of work costs: wall time, CPU time of our processes and of the servers', and memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import psutil

_SAMPLE_SECONDS = 0.02


@dataclass(frozen=True)
class Cost:
    """One run's cost.

    Attributes:
        wall_s: from the first start to the last end.
        cpu_s: user and system time of the measured processes and all their descendants.
        server_cpu_s: the same of the servers (ClickHouse, PostgreSQL) in that time.
        peak_mb: greatest sum of the measured processes' memory, each page counted once (PSS), in 10^6 bytes.
    """

    wall_s: float
    cpu_s: float
    server_cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Measurement:
    """The medians of a case on one route, as the report has them."""

    case: str
    route: str
    rows: int
    runs: int
    wall_s: float
    cpu_s: float
    server_cpu_s: float
    peak_mb: float
    parity: bool

    @classmethod
    def of(cls, case: str, route: str, rows: int, costs: Sequence[Cost], *, parity: bool) -> Measurement:
        """Medians of several runs."""
        names = ("wall_s", "cpu_s", "server_cpu_s", "peak_mb")
        medians = {name: round(statistics.median(getattr(cost, name) for cost in costs), 2) for name in names}
        return cls(case=case, route=route, rows=rows, runs=len(costs), parity=parity, **medians)

    def as_dict(self) -> dict[str, object]:
        """The object of `report.json`."""
        return asdict(self)


class CommandFailed(Exception):
    """A measured command did not succeed: its output is in the message."""


def run_at_once(
    commands: Sequence[Sequence[str]], environ: Mapping[str, str], servers: Sequence[psutil.Process]
) -> Cost:
    """Run commands at the same time and measure them.

    Raises:
        CommandFailed: one of them ended with another status than 0.
    """
    before = _cpu_of_trees(servers)
    start = time.monotonic()
    processes = [
        subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    peak = _Peak(lambda: [process.pid for process in processes])
    outputs = _read_all(processes)
    # wait4 gives what a process and its reaped descendants used; spark-submit's JVM reaps its Python.
    usages = [os.wait4(process.pid, 0) for process in processes]
    wall = time.monotonic() - start
    peak_mb = peak.stop()
    for (_, status, _), output in zip(usages, outputs, strict=True):
        if status != 0:
            raise CommandFailed(output)
    cpu = sum(usage.ru_utime + usage.ru_stime for _, _, usage in usages)
    return Cost(wall, cpu, _cpu_of_trees(servers) - before, peak_mb)


def measure(work: Callable[[], None], processes: Sequence[psutil.Process], servers: Sequence[psutil.Process]) -> Cost:
    """Measure some work by what these running processes, with their descendants, use meanwhile."""
    before, servers_before = _cpu_of_trees(processes), _cpu_of_trees(servers)
    peak = _Peak(lambda: [process.pid for process in processes])
    start = time.monotonic()
    work()
    wall = time.monotonic() - start
    return Cost(wall, _cpu_of_trees(processes) - before, _cpu_of_trees(servers) - servers_before, peak.stop())


def _read_all(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    outputs = [""] * len(processes)

    def read(number: int) -> None:
        stream = processes[number].stdout
        outputs[number] = stream.read() if stream else ""

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


class _Peak:
    """Samples the memory of process trees until stopped."""

    def __init__(self, roots: Callable[[], Sequence[int]]) -> None:
        self._roots = roots
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """End sampling; the peak in 10^6 bytes."""
        self._done.set()
        self._thread.join()
        return self._peak / 1e6

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self._peak = max(self._peak, sum(_memory(pid) for pid in self._roots()))


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
