"""A Spark application that runs the jobs of several tables, each in a process of its own that is forked for it.

A job's process has everything imported already and talks to the JVM that all of them share. Its standard output is the caller's
connection; when the caller goes, it ends. Jobs share no state but the JVM's: what one does to its table is fenced off by the table's
lock, marker and branch, exactly as between applications. Should the JVM die, all its jobs fail, and their next attempts carry on.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from offload_core.jobs.shared_jvm import ACCEPTED, EXIT, at
from offload_spark.job.main import main
from offload_spark.runtime.shared_session import SESSION_LOCK_ENV, leave_context

_MAX_SECONDS, _MAX_JOBS = 900.0, 200
"""After that an application takes no further jobs: what it may have leaked goes with it."""
_STEP_SECONDS = 0.5
_REQUEST_SECONDS = 10.0
_REQUEST_BYTES = 1 << 20
_SIGTERM_STATUS = 128 + signal.SIGTERM


class SharedApplication:
    """Listens for jobs until none has come for a while.

    Args:
        folder: where its socket belongs; only its owner may enter it.
        name: the name of its files there.
        keep: for how many seconds it waits for another job.
    """

    def __init__(self, folder: Path, name: str, keep: float) -> None:
        self._folder = folder
        self._name = name
        self._keep = keep
        self._jvm = os.getppid()
        self._jobs: set[int] = set()
        self._taken = 0
        self._is_found = True

    def serve(self) -> None:
        """Take jobs, then end."""
        session_lock = self._folder / f"{self._name}.{os.getpid()}.session"
        os.environ[SESSION_LOCK_ENV] = str(session_lock)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_SIGTERM_STATUS))
        listener = self._listen()
        try:
            self._take_jobs(listener)
        finally:
            self._disappear()
            self._refuse_waiting(listener)
            self._end_jobs()
            session_lock.unlink(missing_ok=True)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with at(self._folder, f"{self._name}.sock") as address:
            # One that was killed has left its own; the caller's lock keeps two from starting at once.
            with suppress(FileNotFoundError):
                os.unlink(address)
            listener.bind(address)
        listener.listen(64)
        return listener

    def _take_jobs(self, listener: socket.socket) -> None:
        started = last = time.monotonic()
        while os.getppid() == self._jvm:
            if select.select([listener], [], [], _STEP_SECONDS)[0]:
                self._take(listener, listener.accept()[0])
            now = time.monotonic()
            self._reap()
            if self._jobs:
                last = now
            if now - started > _MAX_SECONDS or self._taken >= _MAX_JOBS:
                self._drain(listener)
                return
            if now - last > self._keep:
                return

    def _take(self, listener: socket.socket, caller: socket.socket) -> None:
        """Start the process of a caller's job."""
        with caller:
            request = _request(caller)
            if request is None:  # somebody who only looked whether anybody listens
                return
            job = os.fork()
            if job == 0:
                listener.close()
                _run(request, caller)
            self._jobs.add(job)
            self._taken += 1

    def _drain(self, listener: socket.socket) -> None:
        """Take no more jobs, and wait for those at work."""
        self._disappear()
        while self._jobs and os.getppid() == self._jvm:
            self._refuse_waiting(listener)
            time.sleep(_STEP_SECONDS)
            self._reap()

    def _disappear(self) -> None:
        """From here on callers find nobody and start another application, whose socket has the same path."""
        if self._is_found:
            self._is_found = False
            (self._folder / f"{self._name}.sock").unlink(missing_ok=True)

    @staticmethod
    def _refuse_waiting(listener: socket.socket) -> None:
        """Callers that connected a moment too late see the connection closed before anything was accepted."""
        listener.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()

    def _reap(self) -> None:
        for job in list(self._jobs):
            if os.waitpid(job, os.WNOHANG)[0]:
                self._jobs.discard(job)

    def _end_jobs(self) -> None:
        for job in self._jobs:
            os.kill(job, signal.SIGKILL)
            os.waitpid(job, 0)
        self._jobs.clear()


def _request(caller: socket.socket) -> dict[str, Any] | None:
    """The caller's one line; None if it goes without one."""
    caller.settimeout(_REQUEST_SECONDS)
    text = b""
    try:
        while not text.endswith(b"\n"):
            part = caller.recv(65536)
            if not part or len(text) > _REQUEST_BYTES:
                return None
            text += part
    except OSError:
        return None
    caller.settimeout(None)
    try:
        request = json.loads(text)
    except ValueError:
        return None
    return request if isinstance(request, dict) else None


def _run(request: dict[str, Any], caller: socket.socket) -> NoReturn:
    """In a job's process: run it, tell its exit status, and end."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        caller.sendall(ACCEPTED)
        os.environ.update(request["environ"])
        os.dup2(caller.fileno(), 1)
        os.dup2(caller.fileno(), 2)
        threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
        status = _status(request["argv"])
        leave_context()
        gc.collect()  # the JVM keeps what this process refers to until it is told otherwise
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(1, EXIT + str(status).encode() + b"\n")
        os._exit(status)


def _status(argv: list[str]) -> int:
    try:
        return main(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def _end_with(caller: socket.socket) -> None:
    """End this process as soon as its caller has gone: nobody would learn how the job ended."""
    with suppress(OSError):
        while caller.recv(1024):
            pass
    os._exit(_SIGTERM_STATUS)
