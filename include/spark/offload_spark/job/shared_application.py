"""A Spark application that runs the jobs of several tables, each in a forked process of its own.

A job's process has everything imported already and talks to the JVM that all jobs share. Its standard output is the
caller's connection, and it ends when the caller disconnects. Jobs share no state but the JVM's; the table's lock,
marker and branch isolate them as well as those of separate applications. If the JVM dies, all of its jobs fail and
their next attempts continue.
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
from offload_spark.runtime.shared_session import SESSION_LOCK_ENV, release_context

_MAX_SECONDS, _MAX_JOBS = 900.0, 200
"""Limits after which an application accepts no more jobs, so that leaks cannot accumulate."""
_STEP_SECONDS = 0.5
_REQUEST_SECONDS = 10.0
_REQUEST_BYTES = 1 << 20
_SIGTERM_STATUS = 128 + signal.SIGTERM


class SharedApplication:
    """Listens for jobs until none has arrived for a while.

    Args:
        folder: the folder of its socket; only its owner may enter it.
        name: the name of its files there.
        keep_seconds: how long it waits for another job.
    """

    def __init__(self, folder: Path, name: str, keep_seconds: float) -> None:
        self._folder = folder
        self._name = name
        self._keep_seconds = keep_seconds
        self._jvm = os.getppid()
        self._jobs: set[int] = set()
        self._accepted_jobs = 0
        self._is_listed = True

    def serve(self) -> None:
        """Run jobs until it is time to end."""
        session_lock = self._folder / f"{self._name}.{os.getpid()}.session"
        os.environ[SESSION_LOCK_ENV] = str(session_lock)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_SIGTERM_STATUS))
        listener = self._listen()
        try:
            self._accept_jobs(listener)
        finally:
            self._remove_socket()
            self._refuse_waiting(listener)
            self._end_jobs()
            session_lock.unlink(missing_ok=True)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with at(self._folder, f"{self._name}.sock") as address:
            # An application that was killed has left its socket. The caller's lock keeps two from starting at once.
            with suppress(FileNotFoundError):
                os.unlink(address)
            listener.bind(address)
        listener.listen(64)
        return listener

    def _accept_jobs(self, listener: socket.socket) -> None:
        started = last = time.monotonic()
        while os.getppid() == self._jvm:
            if select.select([listener], [], [], _STEP_SECONDS)[0]:
                self._start_job(listener, listener.accept()[0])
            now = time.monotonic()
            self._reap()
            if self._jobs:
                last = now
            if now - started > _MAX_SECONDS or self._accepted_jobs >= _MAX_JOBS:
                self._drain(listener)
                return
            if now - last > self._keep_seconds:
                return

    def _start_job(self, listener: socket.socket, caller: socket.socket) -> None:
        """Fork a process for a caller's job."""
        with caller:
            request = _request(caller)
            if request is None:  # the caller only checked whether the application listens
                return
            job = os.fork()
            if job == 0:
                listener.close()
                _run_job(request, caller)
            self._jobs.add(job)
            self._accepted_jobs += 1

    def _drain(self, listener: socket.socket) -> None:
        """Accept no more jobs, and wait for the running ones."""
        self._remove_socket()
        while self._jobs and os.getppid() == self._jvm:
            self._refuse_waiting(listener)
            time.sleep(_STEP_SECONDS)
            self._reap()

    def _remove_socket(self) -> None:
        """From now on callers find no socket and start another application, whose socket has the same path."""
        if self._is_listed:
            self._is_listed = False
            (self._folder / f"{self._name}.sock").unlink(missing_ok=True)

    @staticmethod
    def _refuse_waiting(listener: socket.socket) -> None:
        """Close the connections of callers that are waiting; they see that nothing was accepted."""
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
    """The request in the caller's one line; None if the caller sends none or an invalid one."""
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


def _run_job(request: dict[str, Any], caller: socket.socket) -> NoReturn:
    """In a job's process: run the job, send its exit status, and end."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        caller.sendall(ACCEPTED)
        os.environ.update(request["environ"])
        os.dup2(caller.fileno(), 1)
        os.dup2(caller.fileno(), 2)
        threading.Thread(target=_end_with_caller, args=(caller,), daemon=True).start()
        status = _exit_status(request["argv"])
        release_context()
        gc.collect()  # releases the JVM's objects that this process refers to; the JVM outlives it
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(1, EXIT + str(status).encode() + b"\n")
        os._exit(status)


def _exit_status(argv: list[str]) -> int:
    try:
        return main(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def _end_with_caller(caller: socket.socket) -> None:
    """End this process as soon as its caller disconnects, because no one would learn how the job ended."""
    with suppress(OSError):
        while caller.recv(1024):
            pass
    os._exit(_SIGTERM_STATUS)
