"""Fetches a chunk's files with Spark's executors. The driver names and commits the files; no row passes through it.

For each file an executor returns the size and the footer, a few kilobytes. The driver makes Iceberg's metrics from the
footer, so a commit of a thousand files needs no read of a thousand files.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from py4j.protocol import Py4JError

from offload_core.config.connections import Connections
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.errors import FixConfiguration, OffloadError, SparkFailed
from offload_core.source.projection import Column
from offload_spark.fetch.clickhouse_source import FileRequest
from offload_spark.fetch.executor_code import ship
from offload_spark.fetch.executor_fetch import ExecutorFetch, FetchedFile, FetchedShare, FileTask
from offload_spark.files.footers import Footers
from offload_spark.files.targets import Target, attempt_targets, local_path, locations
from offload_spark.iceberg.data_files import DataFile, DataFiles
from offload_spark.runtime.session import start_session

log = logging.getLogger("offload")

_REMEDY = (
    "Nothing was published. Read the executors' logs; executors need the driver's Python version with the packages of "
    "requirements/spark.in. A larger `spread_rows` lets the driver fetch instead."
)


class DistributedFetch:
    """Fetches files with the executors of this job's Spark application, which the first fetch starts.

    Args:
        connections: ClickHouse for the executors, the catalog for the session.
        table, settings: the table's entry and the settings.
        files: the files of the Iceberg table.
    """

    def __init__(self, connections: Connections, table: TableConfig, settings: Settings, files: DataFiles) -> None:
        self._connections = connections
        self._table = table
        self._settings = settings
        self._files = files
        self._speculates = False

    def fetch(self, requests: Sequence[FileRequest], columns: Sequence[Column]) -> list[DataFile]:
        """Fetch files and delete those without rows. After an error no file is left.

        Raises:
            SparkFailed: Spark lost executors too often, or they could not run the task.
            FixConfiguration: the driver does not find the executors' files.
            OffloadError: the error of an executor.
        """
        started = time.monotonic()
        make_target = self._files.target_factory()
        tasks = [
            FileTask(request, attempt_targets(self._files.new_location(request.start), make_target))
            for request in requests
        ]
        try:
            shares = self._run(tasks, columns)
            fetched = _in_order(shares, len(tasks))
            footers = self._files.footers()
            with ThreadPoolExecutor(self._settings.fetch_parallelism) as pool:
                files = list(pool.map(partial(self._describe, footers), requests, fetched))
        except OffloadError:
            self._delete([target for task in tasks for target in task.targets])
            raise
        self._delete(
            [target for task, file in zip(tasks, fetched, strict=True) for target in self._unused_targets(task, file)]
        )
        _log_executors(shares, time.monotonic() - started)
        return [file for file in files if file is not None]

    def _run(self, tasks: Sequence[FileTask], columns: Sequence[Column]) -> list[FetchedShare]:
        from pyspark.errors import PySparkException

        count = min(len(tasks), self._settings.spread_parallelism)
        fetch = ExecutorFetch(self._connections.clickhouse, self._settings, self._table, tuple(columns))
        try:
            context = start_session(self._connections.iceberg).sparkContext
            ship(context)
            self._speculates = context.getConf().get("spark.speculation", "false") == "true"
            context.setJobDescription(f"fetch {len(tasks)} files of {self._table.source}")
            shares = context.parallelize([tasks[number::count] for number in range(count)], count)
            return shares.mapPartitions(fetch).collect()
        except (PySparkException, Py4JError) as error:
            raise SparkFailed(
                f"Spark's executors could not fetch rows of {self._table.source}: {_reason(error)}.", _REMEDY
            ) from error

    def _describe(self, footers: Footers, request: FileRequest, file: FetchedFile) -> DataFile | None:
        path = local_path(file.location)
        if path is not None and (not path.is_file() or path.stat().st_size != file.size):
            raise FixConfiguration(
                f"An executor wrote {file.location}, but the driver does not find it there.",
                "Put the warehouse into a folder that all of Spark's machines share, or into S3; "
                "or let the driver fetch, with a larger `spread_rows`.",
            )
        return self._files.describe(footers, file.location, request.start, file.size, file.footer)

    def _unused_targets(self, task: FileTask, file: FetchedFile) -> Sequence[Target]:
        """The targets that other attempts at the file may have written to."""
        if self._speculates:
            return [target for target in task.targets if target.location != file.location]
        return task.targets[: file.attempt]

    def _delete(self, targets: Sequence[Target]) -> None:
        self._files.delete(locations(targets))


def _in_order(shares: Sequence[FetchedShare], count: int) -> list[FetchedFile]:
    """The files in the order of their requests. Raises the first error of an executor."""
    for share in shares:
        if share.error is not None:
            raise share.error
    # Request n went to share n modulo the number of shares.
    return [shares[number % len(shares)].files[number // len(shares)] for number in range(count)]


def _log_executors(shares: Sequence[FetchedShare], seconds: float) -> None:
    by_executor: Counter[str] = Counter()
    for share in shares:
        by_executor[share.executor] += len(share.files)
    counts = ", ".join(f"{executor} {files}" for executor, files in sorted(by_executor.items()))
    log.info("Files fetched by %d executors in %.2f seconds: %s", len(by_executor), seconds, counts)


def _reason(error: Exception) -> str:
    """Why a Spark job failed: the last line before the JVM's stack trace is Python's error."""
    lines = [line.strip() for line in str(error).split("\n\tat ")[0].splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")
