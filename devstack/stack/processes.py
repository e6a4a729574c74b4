"""Starts, finds and stops the processes of one stack, and no others.

Each part has its own session. Its pid and start time are recorded in `run/NAME.json`, so that a process which got the
same pid later is never touched. The processes that a part starts carry a mark in their environment; with it, `down`
also finds a Spark driver whose Airflow worker was killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from devstack.stack.errors import PartStuckError
from devstack.stack.files import write_private
from install.layout import Layout

_MARK = "OFFLOAD_PART_OF"
_LARGEST_LOG_BYTES = 20_000_000
_START_TIME_TOLERANCE_SECONDS = 2.0
"""psutil computes start times from the boot time, which moves a little when the clock is set."""


@dataclass(frozen=True)
class ProcessRecord:
    """The record of a started part; `started` is in seconds since 1970 (UTC), as in psutil."""

    name: str
    pid: int
    started: float
    ports: dict[str, int] = field(default_factory=dict)


class StackPart:
    """One part of a stack: a process, everything that it started, and its record."""

    def __init__(self, layout: Layout, name: str) -> None:
        """`name` is also the name of the record and of the log."""
        self.layout = layout
        self.name = name
        self.log = layout.logs / f"{name}.log"
        self._record_file = layout.run / f"{name}.json"
        self._mark = f"{layout.home}#{name}"

    def start(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        cwd: Path,
        ports: Mapping[str, int] | None = None,
        descriptors: Collection[int] = (),
    ) -> psutil.Process:
        """Start the part detached from this process, append its output to its log, and record it.

        The process inherits `descriptors`. `ports` are recorded as the ones that it listens on.
        """
        self._rotate_log()
        with self.log.open("ab") as output:
            child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environ, _MARK: self._mark},
                cwd=cwd,
                pass_fds=descriptors,
                start_new_session=True,
            )
        process = psutil.Process(child.pid)
        record = ProcessRecord(self.name, child.pid, process.create_time(), dict(ports or {}))
        write_private(self._record_file, json.dumps(asdict(record)))
        # The child deliberately outlives this command; without this, Python would warn that nobody waited for it.
        child.returncode = 0
        return process

    def record(self) -> ProcessRecord | None:
        """Return the record of the last start; None after `stop`."""
        try:
            return ProcessRecord(**json.loads(self._record_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            # An unreadable record counts as none: the processes are found by their mark.
            return None

    def process(self) -> psutil.Process | None:
        """Return the part's main process; None if it has ended or another process has its pid now."""
        process = self._recorded()
        return None if process is None or _is_gone(process) else process

    def ports(self) -> dict[str, int]:
        """Return the ports that the part listens on, by use; empty while it is not running."""
        record = self.record() if self.process() else None
        return record.ports if record else {}

    def family(self) -> list[psutil.Process]:
        """Return all the part's live processes: the main one, its descendants, its session, and those with its mark."""
        found: dict[int, psutil.Process] = {}
        main = self.process()
        if main is not None:
            with suppress(psutil.NoSuchProcess):
                found = {process.pid: process for process in (main, *main.children(recursive=True))}
        session = self._session()
        for process in psutil.process_iter():
            if process.pid not in found and self._belongs(process, session):
                found[process.pid] = process
        lineage = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        return [process for pid, process in found.items() if pid not in lineage and not _is_gone(process)]

    def stop(self, *, polite: signal.Signals = signal.SIGTERM, grace: float = 20.0) -> bool:
        """Stop the part and wait until all its processes are gone.

        The main process gets the signal `polite`; what is left after `grace` seconds gets SIGTERM, then SIGKILL.

        Returns:
            Whether there was a process to stop.

        Raises:
            PartStuckError: a process survived SIGKILL.
        """
        family = self.family()
        main = self.process()
        if main is not None:
            _send([main], polite)
            _wait_until_gone([main], grace)
        # The family is read again each time, because a process may have started another one.
        for number, seconds in ((signal.SIGTERM, min(grace, 5.0)), (signal.SIGKILL, 10.0)):
            rest = self.family()
            _send(rest, number)
            _wait_until_gone(rest, seconds)
        if survivors := self.family():
            pids = ", ".join(str(process.pid) for process in survivors)
            raise PartStuckError(
                f"{self.name} does not end (pids {pids}). Find out what blocks it: ps -o stat,wchan -p {pids}"
            )
        if main is not None:
            # Reaps the process if this command started it; init reaps all others.
            with suppress(psutil.Error, OSError):
                main.wait(timeout=0)
        self._record_file.unlink(missing_ok=True)
        return bool(family)

    def memory(self) -> int:
        """Return the bytes that the part's processes use; shared memory is counted once."""
        return sum(_memory(process) for process in self.family())

    def _recorded(self) -> psutil.Process | None:
        """The recorded process, even as a zombie; None if the pid is free or belongs to another process."""
        record = self.record()
        if record is None:
            return None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(record.pid)
            if abs(process.create_time() - record.started) <= _START_TIME_TOLERANCE_SECONDS:
                return process
        return None

    def _session(self) -> int | None:
        """The part's session, if certain. The system does not reuse a dead leader's pid while its session exists."""
        record = self.record()
        if record is None or (psutil.pid_exists(record.pid) and self._recorded() is None):
            return None
        return record.pid

    def _belongs(self, process: psutil.Process, session: int | None) -> bool:
        try:
            if process.environ().get(_MARK) == self._mark:
                return True
            # Airflow's processes and gunicorn overwrite their environment with their title, but stay in the session.
            if session is None or os.getsid(process.pid) != session:
                return False
            return Path(process.cwd()).is_relative_to(self.layout.home)
        except (psutil.Error, OSError):
            return False

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))


def wait_for(process: psutil.Process, seconds: float) -> Iterator[None]:
    """Yield every 50 ms while `process` is alive, for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not _is_gone(process):
        yield
        time.sleep(0.05)


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        # psutil checks the start time immediately before it sends, so that a reused pid gets no signal.
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _wait_until_gone(processes: Sequence[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(_is_gone(process) for process in processes):
        time.sleep(0.02)


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        try:
            return int(process.memory_full_info().pss)
        except (psutil.AccessDenied, AttributeError):
            return int(process.memory_info().rss)
    return 0
