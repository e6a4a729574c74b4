"""Who fetches a window's files: the driver, without a SparkSession, or Spark's executors.

A session with its executors takes seconds to be there. What one machine fetches in less time is better fetched by the driver.
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
    from offload_spark.iceberg.table import DataFile, IcebergTable

log = logging.getLogger("offload")


class Fetch(Protocol):
    """Fetches files to where the table keeps its files."""

    def fetch(self, requests: Sequence[FileRequest], columns: Sequence[Column]) -> list[DataFile]:
        """Fetch complete files, described from their footers; those without rows are left out. After an error none is left.

        Raises:
            OffloadError: one of its subclasses.
        """


class DriverFetch:
    """Fetches in threads of this process."""

    def __init__(self, source: ClickHouseSource, settings: Settings, iceberg: IcebergTable) -> None:
        self._source = source
        self._settings = settings
        self._iceberg = iceberg

    def fetch(self, requests: Sequence[FileRequest], columns: Sequence[Column]) -> list[DataFile]:
        """As `Fetch` says."""
        footers = self._iceberg.footers()
        locations = [self._iceberg.new_file_location(request.start) for request in requests]
        try:
            with ThreadPoolExecutor(self._settings.fetch_parallelism) as pool:
                found = list(pool.map(partial(self._fetch_file, footers, columns), requests, locations))
        except OffloadError:
            self._iceberg.delete_files(locations)
            raise
        return [file for file in found if file is not None]

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
                self._iceberg.upload(part, location)
        reach(Failpoint.MID_READ)
        return self._iceberg.describe_file(footers, location, request.start, size, footer)


class Fetching:
    """Chooses by the rows that a window was counted to hold; once executors have begun, they fetch the rest of the run too.

    Args:
        driver, executors: the two ways.
        iceberg: the table.
        settings: `spark_session` and `spread_rows`.
        master: Spark's.
    """

    def __init__(self, driver: Fetch, executors: Fetch, iceberg: IcebergTable, settings: Settings, master: str) -> None:
        self._driver = driver
        self._executors = executors
        self._iceberg = iceberg
        self._settings = settings
        self._master = master
        self._chosen: Fetch | None = None

    def expect(self, rows: int) -> None:
        """Take into account how many rows a window holds."""
        if self._chosen is not None or not spreads(self._settings, self._master, rows):
            return
        obstacle = self._iceberg.spread_obstacle()
        if obstacle:
            log.info("The driver fetches all %d rows: %s.", rows, obstacle)
        else:
            log.info("Spark's executors fetch the window, %d rows.", rows)
        self._chosen = self._driver if obstacle else self._executors

    def fetch(self, requests: Sequence[FileRequest], columns: Sequence[Column]) -> list[DataFile]:
        """As `Fetch` says."""
        return (self._chosen or self._driver).fetch(requests, columns)


def spreads(settings: Settings, master: str, rows: int) -> bool:
    """Whether executors are to fetch a window of so many rows."""
    if settings.spark_session is SessionUse.ALWAYS:
        return rows > 0
    return is_cluster(master) and rows > settings.spread_rows


def is_cluster(master: str) -> bool:
    """Whether a Spark master has executors that are not this very process: `spark://…`, `yarn`, `k8s://…`, `local-cluster[…]`."""
    return bool(master) and master != "local" and not master.startswith("local[")
