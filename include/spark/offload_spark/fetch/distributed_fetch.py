"""Fetching a chunk's files with Spark's executors: the driver names the files and commits them, and no row passes through it.

What an executor returns of a file is its size and its footer, some kilobytes, from which Iceberg's metrics are made without reading the
file again: a commit of a thousand files needs no thousand reads by the driver.
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
from offload_spark.files.targets import Target, attempts_of, local_path, locations
from offload_spark.iceberg.table import DataFile, IcebergTable
from offload_spark.runtime.session import start_session

log = logging.getLogger("offload")

_REMEDY = (
    "Nothing was published. See the executors' logs; they need the driver's Python version with the packages of requirements/spark.in. "
    "A larger `spread_rows` lets the driver fetch instead."
)


class SpreadFetch:
    """Fetches files with the executors of this job's Spark application, which is started for it.

    Args:
        connections: ClickHouse for the executors, the catalog for the session.
        table, settings: what to fetch, and how.
        iceberg: the table that the files are for.
    """

    def __init__(
        self,
        connections: Connections,
        table: TableConfig,
        settings: Settings,
        iceberg: IcebergTable,
    ) -> None:
        self._connections = connections
        self._table = table
        self._settings = settings
        self._iceberg = iceberg
        self._speculates = False

    def fetch(self, requests: Sequence[FileRequest], columns: Sequence[Column]) -> list[DataFile]:
        """Fetch files; those without rows are deleted again. After an error none is left.

        Raises:
            SparkFailed: executors were lost too often, or could not run the task.
            FixConfiguration: the driver doesn't see what the executors wrote.
            OffloadError: what went wrong on an executor.
        """
        started = time.monotonic()
        sign = self._iceberg.signer()
        tasks = [
            FileTask(request, attempts_of(self._iceberg.new_file_location(request.start), sign)) for request in requests
        ]
        try:
            shares = self._run(tasks, columns)
            files = _in_order(shares, len(tasks))
            footers = self._iceberg.footers()
            with ThreadPoolExecutor(self._settings.fetch_parallelism) as pool:
                found = list(pool.map(partial(self._describe, footers), requests, files))
        except OffloadError:
            self._delete([target for task in tasks for target in task.targets])
            raise
        self._delete([target for task, file in zip(tasks, files, strict=True) for target in self._others(task, file)])
        _tell(shares, time.monotonic() - started)
        return [file for file in found if file is not None]

    def _run(self, tasks: Sequence[FileTask], columns: Sequence[Column]) -> list[FetchedShare]:
        from pyspark.errors import PySparkException

        count = min(len(tasks), self._settings.spread_parallelism)
        work = ExecutorFetch(self._connections.clickhouse, self._settings, self._table, tuple(columns))
        try:
            context = start_session(self._connections.iceberg).sparkContext
            ship(context)
            self._speculates = context.getConf().get("spark.speculation", "false") == "true"
            context.setJobDescription(f"fetch {len(tasks)} files of {self._table.source}")
            shares = context.parallelize([tasks[number::count] for number in range(count)], count)
            return shares.mapPartitions(work).collect()
        except (PySparkException, Py4JError) as error:
            raise SparkFailed(
                f"Spark's executors could not fetch rows of {self._table.source}: {_reason(error)}.", _REMEDY
            ) from error

    def _describe(self, footers: Footers, request: FileRequest, file: FetchedFile) -> DataFile | None:
        path = local_path(file.location)
        if path is not None and (not path.is_file() or path.stat().st_size != file.size):
            raise FixConfiguration(
                f"An executor wrote {file.location}, and the driver doesn't find it there.",
                "Put the warehouse into a folder that all of Spark's machines share, or into S3; "
                "or let the driver fetch, with a larger `spread_rows`.",
            )
        return self._iceberg.describe_file(footers, file.location, request.start, file.size, file.footer)

    def _others(self, task: FileTask, file: FetchedFile) -> Sequence[Target]:
        """The targets that other attempts at a file may have written to."""
        if self._speculates:
            return [target for target in task.targets if target.location != file.location]
        return task.targets[: file.attempt]

    def _delete(self, targets: Sequence[Target]) -> None:
        self._iceberg.delete_files(locations(targets))


def _in_order(shares: Sequence[FetchedShare], count: int) -> list[FetchedFile]:
    """The files in the order of their requests, which were dealt out in turn. Raises the first error of an executor."""
    for share in shares:
        if share.error is not None:
            raise share.error
    return [shares[number % len(shares)].files[number // len(shares)] for number in range(count)]


def _tell(shares: Sequence[FetchedShare], seconds: float) -> None:
    by_executor: Counter[str] = Counter()
    for share in shares:
        by_executor[share.executor] += len(share.files)
    told = ", ".join(f"{executor} {files}" for executor, files in sorted(by_executor.items()))
    log.info("Files fetched by %d executors in %.2f seconds: %s", len(by_executor), seconds, told)


def _reason(error: Exception) -> str:
    """What Spark says of a job that failed: the last line before the JVM's stack, which is where Python's error stands."""
    lines = [line.strip() for line in str(error).split("\n\tat ")[0].splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")
