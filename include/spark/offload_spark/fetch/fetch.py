"""Fetches a window's files, either in the driver, without a SparkSession, or with Spark's executors.

A session with its executors takes seconds to start. The driver fetches whatever one machine can fetch in less time.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from offload_core.config.settings import SessionUse, Settings
from offload_core.disk import disk_errors
from offload_core.errors import OffloadError
from offload_core.failpoints import Failpoint, reach
from offload_core.source.projection import Column
from offload_spark.fetch.clickhouse_source import ClickHouseSource, FileRequest
from offload_spark.files.footers import read_footer
from offload_spark.files.targets import local_path

if TYPE_CHECKING:
    from offload_spark.files.footers import Footers
    from offload_spark.iceberg.data_files import DataFile, DataFiles

log = logging.getLogger("offload")


class Fetch(Protocol):
    """Fetches files into the warehouse."""

    def fetch(self, requests: Sequence[FileRequest], columns: Sequence[Column]) -> list[DataFile]:
        """Fetch complete files and describe them; files without rows are left out. After an error no file is left.

        Raises:
            OffloadError: one of its subclasses.
        """


class DriverFetch:
    """Fetches in threads of this process."""

    def __init__(self, source: ClickHouseSource, settings: Settings, files: DataFiles) -> None:
        self._source = source
        self._settings = settings
        self._files = files

    def fetch(self, requests: Sequence[FileRequest], columns: Sequence[Column]) -> list[DataFile]:
        """Implements `Fetch.fetch`."""
        footers = self._files.footers()
        locations = [self._files.new_location(request.start) for request in requests]
        try:
            with ThreadPoolExecutor(self._settings.fetch_parallelism) as pool:
                files = list(pool.map(partial(self._fetch_file, footers, columns), requests, locations))
        except OffloadError:
            self._files.delete(locations)
            raise
        return [file for file in files if file is not None]

    def _fetch_file(
        self, footers: Footers, columns: Sequence[Column], request: FileRequest, location: str
    ) -> DataFile | None:
        local = local_path(location)
        if local is not None:
            with disk_errors(f"fetching rows into {local.parent}"):
                local.parent.mkdir(parents=True, exist_ok=True)
                self._source.fetch(request, columns, local)
                size, footer = read_footer(local)
        else:
            with (
                disk_errors("fetching rows into the temporary folder (TMPDIR)"),
                tempfile.TemporaryDirectory(prefix="offload-") as folder,
            ):
                part = Path(folder) / "part.parquet"
                self._source.fetch(request, columns, part)
                size, footer = read_footer(part)
                self._files.upload(part, location)
        reach(Failpoint.MID_READ)
        return self._files.describe(footers, location, request.start, size, footer)


class FetchStrategy:
    """Lets the driver or the executors fetch a window, by its row count. Executors then fetch the rest of the run too.

    Args:
        driver, executors: the two ways to fetch.
        files: the table's files.
        settings: `spark_session` and `spread_rows` decide.
        master: Spark's master.
    """

    def __init__(self, *, driver: Fetch, executors: Fetch, files: DataFiles, settings: Settings, master: str) -> None:
        self._driver = driver
        self._executors = executors
        self._files = files
        self._settings = settings
        self._master = master
        self._chosen: Fetch | None = None

    def choose(self, rows: int) -> None:
        """Decide who fetches a window of this many rows."""
        if self._chosen is not None or not is_distributed(self._settings, self._master, rows):
            return
        reason = self._files.unsupported_reason()
        if reason:
            log.info("The driver fetches all %d rows: %s.", rows, reason)
        else:
            log.info("Spark's executors fetch the window, %d rows.", rows)
        self._chosen = self._driver if reason else self._executors

    def fetch(self, requests: Sequence[FileRequest], columns: Sequence[Column]) -> list[DataFile]:
        """Implements `Fetch.fetch`."""
        return (self._chosen or self._driver).fetch(requests, columns)


def is_distributed(settings: Settings, master: str, rows: int) -> bool:
    """Whether executors should fetch a window of this many rows."""
    if settings.spark_session is SessionUse.ALWAYS:
        return rows > 0
    return is_cluster(master) and rows > settings.spread_rows


def is_cluster(master: str) -> bool:
    """Whether a Spark master has executors outside this process: `spark://…`, `yarn`, `k8s://…`, `local-cluster[…]`."""
    return bool(master) and master != "local" and not master.startswith("local[")
