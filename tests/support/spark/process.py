"""Spark applications of the tests that live longer than one job and serve a local socket."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection
from pathlib import Path
from threading import Thread

from tests.support.spark.world import JOB_SECONDS, World
from tests.support.waiting import wait_until


@contextmanager
def spark_process(world: World, script: str, java_options: str = "") -> Iterator[Connection]:
    """Start one of this folder's applications with a world's servers, and connect to it; it ends with the block."""
    socket = world.folder / f"{Path(script).stem}.socket"
    job = world.submit(str(Path(__file__).with_name(script)), [str(socket)], java_options=java_options)
    printed: list[str] = []
    # Spark blocks unless its output is read.
    reader = Thread(target=lambda: printed.extend(job.stdout or ()))
    reader.start()
    try:
        wait_until(lambda: socket.exists() or job.poll() is not None, script)
        assert job.poll() is None, "".join(printed)
        with Client(str(socket)) as connection:
            yield connection
        assert job.wait(JOB_SECONDS) == 0, "".join(printed)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        reader.join()
        if job.stdout is not None:
            job.stdout.close()
