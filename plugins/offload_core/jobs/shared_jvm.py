"""Hands a job to a Spark application that is already running on this machine, or starts one that stays for the next job.

Starting spark-submit, its JVM and Python costs more than the offload of an everyday window. Tables that are offloaded one after another
on the same machine therefore share one application, `offload_shared.py`: each job is a process of its own there, with its own
connections, log and exit status, and only the JVM is common. The application ends by itself soon after its last job.

This file is also a program in the place of spark-submit, and imports nothing but the standard library, so that it starts at once:

    python -I -S shared_spark.py KEEP_SECONDS APPLICATION spark-submit [OPTION …] APPLICATION [ARGUMENT …]

It prints what the job prints and ends as the job ends. When it is ended, so is its job. Where no application can be shared, whatever the
reason, it becomes spark-submit itself.

The applications' sockets lie in OFFLOAD_SPARK_SHARE, default `iceberg-offload-UID` in the folder for temporary files; only its owner may
enter it. Connections, passwords included, travel through the socket alone: the application's environment has none.
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
"""The application's first word: from here on the job is its own."""
EXIT = b"OFFLOAD_EXIT "
"""The application's last words, before the job's exit status and the end of the line."""
APPLICATION = "offload_shared.py"
"""The application's name, beside the job's."""

_PER_JOB = "OFFLOAD_"
"""Variables that a job brings along; all others are the application's."""
_LEFT_OUT = ("AIRFLOW", "_", _PER_JOB, "TRACEPARENT", "PWD", "OLDPWD", "SHLVL")
"""Beginnings of variables that the application doesn't inherit: they are other ones for each task, and some of Airflow's are passwords."""
_PID = struct.Struct("i")
"""How the credentials of a socket's other end begin (unix(7), SO_PEERCRED)."""
_START_SECONDS = 60.0
_ANSWER_SECONDS = 15.0
"""One that is reachable and doesn't answer is stuck; should it wake up, it finds its caller gone and doesn't begin."""
_STEP_SECONDS = 0.01


class NotShared(Exception):
    """There is no application to hand the job to; the message says why."""


def main(argv: Sequence[str]) -> int:
    """Run the job and return its exit status."""
    keep, application, command = float(argv[0]), argv[1], list(argv[2:])
    place = command.index(application)
    try:
        shared = Shared.of(command[:place], application, os.environ)
        job = shared.hand_over(command[place + 1 :], keep)
    except (NotShared, OSError) as reason:
        print(f"This job gets a Spark application of its own: {reason}", flush=True)
        os.execvp(command[0], command)  # noqa: S606
    with closing(job):
        return _listen(job)


@dataclass(frozen=True)
class Shared:
    """A Spark application that jobs of the same kind share.

    Attributes:
        folder: of the sockets.
        name: of its files there; made from everything that has to be the same for all its jobs.
        command: spark-submit with its options.
        application: the path of `offload_shared.py`.
    """

    folder: Path
    name: str
    command: Sequence[str]
    application: Path

    @classmethod
    def of(cls, command: Sequence[str], application: str, environ: Mapping[str, str]) -> Shared:
        """The application for jobs of this command, in this environment, with the code as it lies there now.

        Raises:
            NotShared: it does not exist, or the folder isn't safe.
        """
        shared = Path(application).with_name(APPLICATION)
        if not shared.is_file():
            raise NotShared(f"{shared} does not exist.")
        inherited = {name: value for name, value in environ.items() if not name.startswith(_LEFT_OUT)}
        paths = [shared.parent, *map(Path, filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)))]
        known = json.dumps([list(command), str(shared), sorted(inherited.items()), list(_code(paths))])
        return cls(_folder(environ), hashlib.sha256(known.encode()).hexdigest()[:16], command, shared)

    def hand_over(self, arguments: Sequence[str], keep: float) -> socket.socket:
        """Give a job to the application, which is started if it doesn't run, and return the stream of what the job prints.

        Raises:
            NotShared: it can't be started.
        """
        environ = {name: value for name, value in os.environ.items() if name.startswith(_PER_JOB)}
        request = json.dumps({"argv": list(arguments), "environ": environ}).encode() + b"\n"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            # One that is just ending may still be reached, but doesn't accept: then a new one is started.
            job = self._asked(request)
            if job is not None:
                return job
            with self._starting(deadline):
                if not self._is_reachable():
                    self._start(keep, deadline)
        raise NotShared(f"the shared one accepted nothing within {_START_SECONDS:g} seconds.")

    def _asked(self, request: bytes) -> socket.socket | None:
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
        """Of several jobs that find no application, one starts it and the others wait."""
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
        alive, its_end = os.pipe()
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
        arguments = [*self.command, str(self.application), str(self.folder), self.name, str(keep)]
        child = os.fork()
        if child == 0:
            _become(arguments, environ, log, its_end)
        os.close(its_end)
        os.waitpid(child, 0)
        try:
            while not self._is_reachable():
                # The pipe's other end is open as long as spark-submit or its JVM lives.
                dead = bool(select.select([alive], [], [], _STEP_SECONDS)[0])
                if dead or time.monotonic() > deadline:
                    what = "ended" if dead else "did not begin to listen"
                    told = log.read_text(errors="replace")[-2000:].strip()
                    raise NotShared(f"the shared one {what} when it was started. It said:\n{told}")
        finally:
            os.close(alive)


def _become(arguments: Sequence[str], environ: Mapping[str, str], log: Path, its_end: int) -> None:
    """In a forked process: turn into spark-submit, out of reach of signals to the task that happened to start it."""
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
        os.set_inheritable(its_end, True)
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
    """A socket's address by way of its folder's descriptor: the path itself may be longer than the 107 bytes that an address may have."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def stop_all(folder: Path, seconds: float = 5.0) -> None:
    """End every application of a folder, its jobs with it.

    Args:
        folder: where their sockets lie.
        seconds: how long one may take before it is killed.
    """
    for path in folder.glob("*.sock"):
        with suppress(OSError):  # it has ended by itself
            with closing(connect(folder, path.stem)) as client:
                # Who listens is known without asking: one that is stuck would not answer.
                (application,) = _PID.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PID.size))
            jvm = _parent(application)
            os.kill(application, signal.SIGTERM)
            _end([jvm, application], time.monotonic() + seconds)


def _parent(process: int) -> int:
    # The command's name, in parentheses, may hold anything; state and parent come behind it.
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _end(processes: Sequence[int], deadline: float) -> None:
    """Wait until processes have ended, and kill those that have not in time."""
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
                # What a job prints last need not end its line.
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
    """The sockets' folder, made if it is missing.

    Raises:
        NotShared: it is somebody else's, or others may enter it.
    """
    path = Path(environ.get(FOLDER_ENV) or Path(tempfile.gettempdir(), f"iceberg-offload-{os.getuid()}"))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise NotShared(f"the folder {path} can't be made: {error.strerror}.") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotShared(f"{path} is not a folder that only this user may enter.")
    return path


def _code(paths: Sequence[Path]) -> Iterator[list[str | int]]:
    """What tells one version of the job's code from another: after an upgrade no job is handed to the old one."""
    for folder in dict.fromkeys(path for start in paths for path in sorted(start.glob("offload_*"))):
        for file in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            found = file.stat()
            yield [str(file), found.st_size, found.st_mtime_ns]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
