"""A real Spark standalone cluster on loopback: a master and two workers as processes, from pyspark's distribution."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from devstack.stack.environment import exports
from install.layout import Layout
from tests.support.spark.world import MASTER_ENV, World
from tests.support.waiting import wait_until

_MASTER = re.compile(r"Starting Spark master at (spark://\S+)")
_REGISTERED = "Successfully registered with master"
_EXECUTOR = "CoarseGrainedExecutorBackend"
_SMALL_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        master: its URL.
        folder: logs, and what executors leave.
        processes: master and workers.
    """

    master: str
    folder: Path
    processes: tuple[subprocess.Popen[bytes], ...]

    def environ(self, folder: Path, **conf: str) -> dict[str, str]:
        """Additional environment of a job: Spark's settings for this cluster, with the folder of the event log.

        Every application gets one core of each worker and starts when it has both.
        """
        settings = {
            "spark.cores.max": "2",
            "spark.executor.cores": "1",
            "spark.executor.memory": "512m",
            "spark.executor.extraJavaOptions": _SMALL_JVM,
            "spark.scheduler.minRegisteredResourcesRatio": "1.0",
            "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": (folder / "events").as_uri(),
            "spark.eventLog.rolling.enabled": "false",
            "spark.eventLog.compress": "false",
            **conf,
        }
        (folder / "events").mkdir(parents=True, exist_ok=True)
        lines = [f"{key} {value}\n" for key, value in settings.items()]
        (folder / "spark-defaults.conf").write_text("".join(lines))
        return {"SPARK_CONF_DIR": str(folder), "SPARK_LOCAL_IP": "127.0.0.1"}

    def executors(self) -> list[psutil.Process]:
        """The living executors of all applications."""
        found = []
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                children = psutil.Process(process.pid).children(recursive=True)
                found += [child for child in children if _is_executor(child)]
        return found

    def written(self) -> str:
        """Everything that master, workers and executors have written, and the command lines of living executors."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".jar"]
        texts = [path.read_text(errors="replace") for path in files]
        return "\n".join([*texts, *(" ".join(executor.cmdline()) for executor in self.executors())])


def _is_executor(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any(_EXECUTOR in part for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def events(folder: Path) -> list[dict[str, object]]:
    """The events in the event logs of a job's folder, one application after another."""
    lines = [line for path in sorted((folder / "events").iterdir()) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


@contextmanager
def spark_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Start a cluster; it ends with the block, and so do its executors."""
    with ExitStack() as stack:
        log = folder / "master.log"
        address = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
        master = stack.enter_context(_daemon("master.Master", address, log))
        wait_until(lambda: _search(log, _MASTER) is not None or master.poll() is not None, "Spark's master")
        url = _search(log, _MASTER)
        assert url is not None, log.read_text()
        processes = [master]
        logs = [folder / f"worker-{number}.log" for number in range(workers)]
        for number, path in enumerate(logs):
            room = ["--cores", "1", "--memory", "2g", "--work-dir", str(folder / f"work-{number}")]
            processes.append(stack.enter_context(_daemon("worker.Worker", [*address, *room, url], path)))
        for path in logs:
            wait_until(lambda path=path: _REGISTERED in path.read_text(), path.name)  # type: ignore[misc]
        yield Cluster(url, folder, tuple(processes))


def _search(log: Path, pattern: re.Pattern[str]) -> str | None:
    found = pattern.search(log.read_text())
    return found[1] if found else None


@contextmanager
def _daemon(name: str, arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A master or worker without anything of this checkout: no Python path, no connection."""
    spark = exports(Layout.of_checkout())
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OFFLOAD_", "PYTHON", "SPARK_"))}
    environ = {
        **kept,
        "JAVA_HOME": spark["OFFLOAD_JAVA_HOME"],
        "SPARK_HOME": spark["OFFLOAD_SPARK_HOME"],
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": _SMALL_JVM,
    }
    command = [str(Path(environ["SPARK_HOME"], "bin", "spark-class")), f"org.apache.spark.deploy.{name}", *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT, cwd=log.parent)
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                below = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                process.wait()
                for child in below:
                    with suppress(psutil.NoSuchProcess):
                        child.kill()


@contextmanager
def kept_open(gate: Path) -> Iterator[None]:
    """Let processes that wait at the failpoint with this file continue while the block runs."""
    is_over = threading.Event()

    def open_it() -> None:
        while not is_over.wait(0.05):
            gate.unlink(missing_ok=True)

    thread = threading.Thread(target=open_it)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def distributed(world: World, **settings: object) -> World:
    """A world whose windows of more than ten rows go to the executors, as files of at most three rows."""
    return world.with_settings(**{"spread_rows": 10, "rows_per_file": 3, "spread_parallelism": 4, **settings})


def environ_of(cluster: Cluster) -> Mapping[str, str]:
    """The environment in which `World.submit` uses a cluster."""
    return {MASTER_ENV: cluster.master}
