"""Ends what a test run leaves behind, however the run ends.

`start` gives the run of one pytest process a folder, and marks the environment that every process the tests start
inherits. It also starts this file as a process of its own session, which waits for the end of pytest. Fixtures clean
up after themselves; the reaper does what they could not do because pytest was killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

_MARK = "ICEBERG_OFFLOAD_TEST_RUN"
"""The environment variable that holds the folder. Tests remove variables whose names begin like the product's."""
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 10.0
_KILL_SECONDS = 10.0

Found = TypeVar("Found")


def start() -> None:
    """Give this process a folder and a reaper."""
    folder = tempfile.mkdtemp(prefix="offload-tests-")
    # PostgreSQL, which does not run as root, must be able to reach its state folder in there.
    os.chmod(folder, 0o711)  # noqa: S103 - nobody can list it
    os.environ[_MARK] = folder
    reaper = subprocess.Popen(
        [sys.executable, __file__, str(os.getpid()), str(os.getsid(0)), folder],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # The reaper outlives this process on purpose. Without this, Python would warn that nobody waited for it.
    reaper.returncode = 0


def run_folder() -> Path:
    """The folder of this run, deleted after its end."""
    return Path(os.environ[_MARK])


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A folder in the run's folder; its own name begins with `name`. It is deleted at the end."""
    # A process that is still ending may write a file meanwhile.
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=run_folder(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def main(pytest: int, session: int, folder: Path) -> None:
    """Wait for the end of the process that started this one, then end its leftovers and delete its folder.

    Args:
        pytest: the pid of that process.
        session: its session, in which processes live that are none of its leftovers.
        folder: its folder.
    """
    while os.getppid() == pytest:
        time.sleep(_POLL_SECONDS)
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        deadline = time.monotonic() + seconds
        signalled: set[psutil.Process] = set()
        # Again and again, for a process may start another one before it ends.
        while (left := leftovers(folder, session)) and time.monotonic() < deadline:
            for process in left - signalled:
                _quietly(process.send_signal, number)
            signalled |= left
            time.sleep(_POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def leftovers(folder: Path, session: int) -> set[psutil.Process]:
    """The living processes that carry the mark or work in the folder, and those in the sessions that they lead.

    Args:
        folder: the run's folder.
        session: the session of pytest, in which other processes live too.
    """
    running = [process for process in psutil.process_iter() if not _is_reaper(process)]
    found = {process for process in running if _belongs(process, folder)}
    leaders = {process.pid for process in found} - {session}
    found |= {process for process in running if _quietly(os.getsid, process.pid) in leaders}
    return {process for process in found if _quietly(process.status) not in (None, psutil.STATUS_ZOMBIE)}


def _is_reaper(process: psutil.Process) -> bool:
    """Whether it is a reaper. Those of xdist's workers must survive this one."""
    return __file__ in (_quietly(process.cmdline) or ())


def _belongs(process: psutil.Process, folder: Path) -> bool:
    # psutil reads no further than the zeros that xdist, for example, leaves before the variables when it writes a title
    # over them. Airflow's webserver leaves none of its variables, but works in its stack's folder. Whoever has a
    # terminal there only looks around.
    environment = _quietly(Path(f"/proc/{process.pid}/environ").read_bytes) or b""
    if f"{_MARK}={folder}".encode() in environment.split(b"\0"):
        return True
    cwd = _quietly(process.cwd)
    return bool(cwd) and Path(cwd).is_relative_to(folder) and _quietly(process.terminal) is None


def _quietly(do: Callable[..., Found], *arguments: object) -> Found | None:
    """What a call returns; None if the process has ended meanwhile or belongs to somebody else."""
    try:
        return do(*arguments)
    except (psutil.Error, OSError):
        return None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
