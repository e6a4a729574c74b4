"""Hands a job to a Spark application that is already running on this machine, or starts one that stays for the next
job.

Starting spark-submit, its JVM and Python takes longer than the offload of an everyday window. Tables that are offloaded
one after another on the same machine therefore share one application, `offload_shared.py`. Each job is a process of its
own there, with its own connections, log and exit status; only the JVM is common. The application ends by itself soon
after its last job.

This file is also a program that runs in place of spark-submit. It imports only the standard library, so that it starts
at once:

    python -I -S shared_jvm.py KEEP_SECONDS APPLICATION spark-submit [OPTION …] APPLICATION [ARGUMENT …]

It prints what the job prints and exits with the job's status. If it is ended, its job ends, too. If no application can
be shared, whatever the reason, it becomes spark-submit itself.

The applications' sockets are in OFFLOAD_SPARK_SHARE, default `iceberg-offload-UID` in the folder for temporary files;
only its owner may enter it. Connections, including their passwords, reach the application through the socket alone, not
through its environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER_ENV = "OFFLOAD_SPARK_SHARE"
ACCEPTED = b"OFFLOAD_ACCEPTED\n"
"""The application's first line: it has taken over the job."""
EXIT = b"OFFLOAD_EXIT "
"""The beginning of the application's last line; the job's exit status follows."""
APPLICATION = "offload_shared.py"
"""The application's name, beside the job's."""

_PER_JOB = "OFFLOAD_"
"""The prefix of variables that each job brings along; all others are the application's."""
_LEFT_OUT = ("AIRFLOW", "_", _PER_JOB, "TRACEPARENT", "PWD", "OLDPWD", "SHLVL")
"""Prefixes of variables that the application does not inherit: they differ between tasks, and some hold passwords."""
_PID = struct.Struct("i")
"""The first field of the credentials of a socket's peer (unix(7), SO_PEERCRED)."""
_START_SECONDS = 60.0
_ANSWER_SECONDS = 15.0
"""An application that does not answer is stuck; if it wakes up, it finds its caller gone and does not begin."""
_STEP_SECONDS = 0.01


class NotShared(Exception):
    """There is no application to hand the job to; the message says why."""


def main(argv: Sequence[str]) -> int:
    """Run the job and return its exit status."""
    keep, application, command = float(argv[0]), argv[1], list(argv[2:])
    place = command.index(application)
    try:
        shared = SharedJvm.of(command[:place], application, os.environ)
        job = shared.hand_over(command[place + 1 :], keep)
    except (NotShared, OSError) as reason:
        print(f"This job gets a Spark application of its own: {reason}", flush=True)
        os.execvp(command[0], command)  # noqa: S606
    with closing(job):
        return _listen(job)


@dataclass(frozen=True)
class SharedJvm:
    """A Spark application that jobs of the same kind share.

    Attributes:
        folder: the folder of the sockets.
        name: the name of its files there: a hash of everything that must be the same for all its jobs.
        command: spark-submit with its options.
        application: the path of `offload_shared.py`.
    """

    folder: Path
    name: str
    command: Sequence[str]
    application: Path

    @classmethod
    def of(cls, command: Sequence[str], application: str, environ: Mapping[str, str]) -> SharedJvm:
        """The application for jobs with this command, environment and version of the code.

        Raises:
            NotShared: it does not exist, or the folder is not safe.
        """
        shared = Path(application).with_name(APPLICATION)
        if not shared.is_file():
            raise NotShared(f"{shared} does not exist.")
        inherited = {name: value for name, value in environ.items() if not name.startswith(_LEFT_OUT)}
        paths = [shared.parent, *map(Path, filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)))]
        known = json.dumps([list(command), str(shared), sorted(inherited.items()), list(_code(paths))])
        return cls(_folder(environ), hashlib.sha256(known.encode()).hexdigest()[:16], command, shared)

    def hand_over(self, arguments: Sequence[str], keep: float) -> socket.socket:
        """Give a job to the application, which is started if it does not run.

        Returns:
            The stream of what the job prints.

        Raises:
            NotShared: the application cannot be started.
        """
        environ = {name: value for name, value in os.environ.items() if name.startswith(_PER_JOB)}
        request = json.dumps({"argv": list(arguments), "environ": environ}).encode() + b"\n"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            # An application that is just ending may still be reachable but accepts nothing: then a new one is started.
            job = self._request(request)
            if job is not None:
                return job
            with self._starting(deadline):
                if not self._is_reachable():
                    self._start(keep, deadline)
        raise NotShared(f"the shared one accepted nothing within {_START_SECONDS:g} seconds.")

    def _request(self, request: bytes) -> socket.socket | None:
        try:
            job = connect(self.folder, self.name)
        except OSError:
            return None
        try:
            job.settimeout(_ANSWER_SECONDS)
            job.sendall(request)
            answer = b""
            while len(answer) < len(ACCEPTED):
                part = job.recv(len(ACCEPTED) - len(answer))
                if not part:
                    break
                answer += part
        except OSError:
            answer = b""
        if answer == ACCEPTED:
            job.settimeout(None)
            return job
        job.close()
        return None

    def _is_reachable(self) -> bool:
        try:
            connect(self.folder, self.name).close()
        except OSError:
            return False
        return True

    @contextmanager
    def _starting(self, deadline: float) -> Iterator[None]:
        """Let only one of several jobs that find no application start it; the others wait."""
        with (self.folder / f"{self.name}.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise NotShared(f"another job has been starting it for {_START_SECONDS:g} seconds.") from None
                    time.sleep(_STEP_SECONDS)
                else:
                    break
            yield

    def _start(self, keep: float, deadline: float) -> None:
        log = self.folder / f"{self.name}.log"
        read_end, write_end = os.pipe()
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
        arguments = [*self.command, str(self.application), str(self.folder), self.name, str(keep)]
        child = os.fork()
        if child == 0:
            _exec_application(arguments, environ, log, write_end)
        os.close(write_end)
        os.waitpid(child, 0)
        try:
            while not self._is_reachable():
                # The pipe's other end is open as long as spark-submit or its JVM lives.
                dead = bool(select.select([read_end], [], [], _STEP_SECONDS)[0])
                if dead or time.monotonic() > deadline:
                    what = "ended" if dead else "did not begin to listen"
                    output = log.read_text(errors="replace")[-2000:].strip()
                    raise NotShared(f"the shared one {what} when it was started. It printed:\n{output}")
        finally:
            os.close(read_end)


def _exec_application(arguments: Sequence[str], environ: Mapping[str, str], log: Path, write_end: int) -> None:
    """In a forked process: become spark-submit, out of reach of signals to the task that happened to start it."""
    status = 1
    try:
        os.setsid()
        if os.fork():
            status = 0
            return
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(write_end, True)
        os.execvpe(arguments[0], list(arguments), dict(environ))  # noqa: S606
    except OSError as error:
        os.write(2, f"{arguments[0]}: {error}\n".encode())
    finally:
        os._exit(status)


def connect(folder: Path, name: str) -> socket.socket:
    """Connect to an application. Raises OSError if none listens."""
    with at(folder, f"{name}.sock") as address:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            client.connect(address)
        except OSError:
            client.close()
            raise
        return client


@contextmanager
def at(folder: Path, name: str) -> Iterator[str]:
    """A socket's address through its folder's descriptor: its path may exceed the 107 bytes of an address."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def stop_all(folder: Path, seconds: float = 5.0) -> None:
    """End every application of a folder and its jobs.

    Args:
        folder: the folder of their sockets.
        seconds: how long an application may take before it is killed.
    """
    for path in folder.glob("*.sock"):
        with suppress(OSError):  # the application has ended by itself
            with closing(connect(folder, path.stem)) as client:
                # The kernel knows who listens; a stuck application would not answer.
                (application,) = _PID.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PID.size))
            jvm = _parent(application)
            os.kill(application, signal.SIGTERM)
            _end([jvm, application], time.monotonic() + seconds)


def _parent(process: int) -> int:
    # The command's name, in parentheses, may contain anything; the process state and the parent follow it.
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _end(processes: Sequence[int], deadline: float) -> None:
    """Wait until processes have ended, and kill those that have not by the deadline."""
    for process in processes:
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(process, 0)
                time.sleep(_STEP_SECONDS)
            os.kill(process, signal.SIGKILL)


def _listen(job: socket.socket) -> int:
    """Print what the job prints until it ends."""
    status, rest = None, b""
    with suppress(ConnectionError):
        while part := job.recv(65536):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                # The last line that a job prints may lack its end.
                text, found, code = line.rpartition(EXIT)
                if found and code.isdigit():
                    status, line = int(code), text
                    if not text:
                        continue
                sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
    sys.stdout.buffer.write(rest)
    sys.stdout.buffer.flush()
    if status is None:
        print("The shared Spark application, or this job in it, was ended.", flush=True)
        return 1
    return status


def _folder(environ: Mapping[str, str]) -> Path:
    """The sockets' folder, created if it is missing.

    Raises:
        NotShared: it belongs to somebody else, or others may enter it.
    """
    path = Path(environ.get(FOLDER_ENV) or Path(tempfile.gettempdir(), f"iceberg-offload-{os.getuid()}"))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise NotShared(f"the folder {path} cannot be created: {error.strerror}.") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotShared(f"{path} is not a folder that only this user may enter.")
    return path


def _code(paths: Sequence[Path]) -> Iterator[list[str | int]]:
    """What distinguishes versions of the job's code: after an upgrade, no job may run with the old code."""
    for folder in dict.fromkeys(path for start in paths for path in sorted(start.glob("offload_*"))):
        for file in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            found = file.stat()
            yield [str(file), found.st_size, found.st_mtime_ns]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
