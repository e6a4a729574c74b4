"""Runs on Spark's executors: fetches files from ClickHouse and writes them to the driver's targets, in constant memory.

Everything an executor needs arrives with its task; it reads no settings of its own.
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import urllib3

from offload_core.config.connections import ClickHouseConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.disk import disk_errors
from offload_core.errors import CatalogUnavailable, FixCredentials, OffloadError, SparkFailed
from offload_core.failpoints import Failpoint, reach
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import Column
from offload_spark.fetch.clickhouse_source import ClickHouseSource, FileRequest
from offload_spark.files.footers import read_footer
from offload_spark.files.targets import Target, local_path

_BLOCK = 1 << 20
_REFUSED = (401, 403)


@dataclass(frozen=True)
class FileTask:
    """One file to fetch: the selection of its rows, and a target for each attempt."""

    request: FileRequest
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class FetchedFile:
    """One complete file.

    Attributes:
        location: the file's path or URL.
        attempt: the number of its target.
        size: size in bytes.
        footer: as `read_footer` returns it; Iceberg's metrics are made from it.
    """

    location: str
    attempt: int
    size: int
    footer: bytes


@dataclass(frozen=True)
class FetchedShare:
    """The result of one task.

    Attributes:
        executor: host name, and process id of the executor's Python daemon.
        files: one for each file of the task, in the same order; none after an error.
        error: why the task failed. It is returned because Spark would retry a task that raises, and keep only the text.
    """

    executor: str
    files: tuple[FetchedFile, ...]
    error: OffloadError | None = None


@dataclass(frozen=True)
class ExecutorFetch:
    """Fetches a task's share of the files, one after another.

    Attributes:
        connection: ClickHouse, with the password; it travels in the serialized task and is logged nowhere (ADR 0016).
        settings, table, columns: the driver's.
    """

    connection: ClickHouseConnection
    settings: Settings
    table: TableConfig
    columns: tuple[Column, ...]

    def __call__(self, shares: Iterable[Sequence[FileTask]]) -> Iterator[FetchedShare]:
        """Fetch each share; Spark calls this in a task."""
        from pyspark import TaskContext

        context = TaskContext.get()
        attempt = context.attemptNumber() if context is not None else 0
        for share in shares:
            yield self.fetch(share, attempt)

    def fetch(self, share: Sequence[FileTask], attempt: int) -> FetchedShare:
        """Fetch the files of one share."""
        executor = f"{socket.gethostname()}:{os.getppid()}"
        client = ClickHouse.from_settings(self.connection, self.settings, pool_size=1)
        try:
            with closing(client):
                source = ClickHouseSource(client, self.table, self.connection.database)
                return FetchedShare(executor, tuple(self._fetch_file(source, task, attempt) for task in share))
        except OffloadError as error:
            return FetchedShare(executor, (), error)

    def _fetch_file(self, source: ClickHouseSource, task: FileTask, attempt: int) -> FetchedFile:
        if attempt >= len(task.targets):
            raise SparkFailed(
                f"Spark lost executors {attempt} times while they fetched rows of {self.table.source}.",
                "Read their logs. Nothing was published; the next attempt starts from the same watermark.",
            )
        target = task.targets[attempt]
        path = local_path(target.location)
        if path is not None:
            with disk_errors(f"fetching rows into {path.parent}"):
                path.parent.mkdir(parents=True, exist_ok=True)
                source.fetch(task.request, self.columns, path)
                size, footer = read_footer(path)
        else:
            with (
                disk_errors("fetching rows into an executor's temporary folder (spark.local.dir)"),
                tempfile.TemporaryDirectory(prefix="offload-", dir=_scratch()) as folder,
            ):
                part = Path(folder) / "part.parquet"
                source.fetch(task.request, self.columns, part)
                size, footer = read_footer(part)
                put(part, target)
        reach(Failpoint.MID_READ)
        return FetchedFile(target.location, attempt, size, footer)


def _scratch() -> str | None:
    """Spark's folder for this executor, which Spark deletes with the application, however that ends."""
    return os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None


def put(path: Path, target: Target) -> None:
    """Upload a file to a signed URL. No message contains the URL, because whoever reads it could write the file.

    Raises:
        FixCredentials: the store refused the key.
        CatalogUnavailable: the store is unreachable or failed, or the URL has expired.
    """
    retries = urllib3.Retry(total=3, redirect=0, status_forcelist=(500, 502, 503, 504), backoff_factor=0.2)
    headers = {name: value for name, value in target.headers.items() if name.lower() != "host"}
    try:
        with urllib3.PoolManager(retries=retries, blocksize=_BLOCK) as pool, path.open("rb") as body:
            length = {"Content-Length": str(path.stat().st_size)}
            answer = pool.request("PUT", str(target.url), body=body, headers={**headers, **length})
    except urllib3.exceptions.HTTPError as error:
        reason = type(getattr(error, "reason", None) or error).__name__
        raise _unavailable(target, reason) from None
    if answer.status == 200:
        return
    details = re.findall(r"<(?:Code|Message)>([^<]*)<", answer.data.decode(errors="replace"))
    reason = f"HTTP status {answer.status} {': '.join(details)}".strip()
    if answer.status not in _REFUSED or "expired" in reason:
        raise _unavailable(target, reason)
    raise FixCredentials(
        f"The warehouse's file store refused {target.location}: {reason}.",
        "Correct s3.access-key-id and s3.secret-access-key in the properties of the catalog's Connection, "
        "or the key's permissions.",
    )


def _unavailable(target: Target, reason: str) -> CatalogUnavailable:
    return CatalogUnavailable(
        f"An executor could not write {target.location}: {reason}.",
        "Check that executors reach the warehouse's file store; the next attempt continues from the same watermark.",
    )
