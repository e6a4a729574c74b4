"""Commits that compare rows with those already in the table. Spark reads the very files that ClickHouse wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from py4j.protocol import Py4JJavaError

from offload_core.config.tables import TableConfig
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Cursor, Interval
from offload_core.source.projection import Column
from offload_core.source.queries import format_time, interval_column
from offload_spark.iceberg.catalog import iceberg_errors
from offload_spark.iceberg.table import DataFile
from offload_spark.write.staged_files import stage_for_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SNAPSHOT_PROPERTY = "spark.sql.iceberg.snapshot-property."


class RowComparison:
    """Staged files against the rows of one table's branch.

    Args:
        session: a session that knows the catalog.
        catalog: the catalog's name.
        table: the table's entry; its keys identify a row.
        branch: the attempt's branch; None to look at `main`.
        columns: the staged rows' columns.
    """

    def __init__(
        self, session: SparkSession, catalog: str, table: TableConfig, branch: str | None, columns: Sequence[Column]
    ) -> None:
        self._session = session
        self._table = table
        self._columns = columns
        self._target = ".".join(map(quote, [catalog, *table.target.split(".")]))
        names = [catalog, *table.target.split("."), *([] if branch is None else [f"branch_{branch}"])]
        self._name = ".".join(map(quote, names))

    def _staged(self, files: Sequence[DataFile]) -> DataFrame:
        """The rows of staged files, read by Spark where Hadoop knows their file system, else by Iceberg."""
        locations = [file.location for file in files]
        if not locations[0].startswith("s3://"):
            return self._session.read.parquet(*locations)
        tasks = stage_for_spark(self._session, self._target, files)
        staged = self._session.read.format("iceberg").option("scan-task-set-id", tasks).load(self._target)
        return staged.select(*(quote(column.name) for column in self._columns))

    def insert_missing(self, files: Sequence[DataFile], first: datetime, last: datetime, marker: Marker) -> int:
        """Append to the branch the staged rows whose key isn't in the table between `first` and `last`; return how many.

        Nothing is committed when none is missing. Staged rows that share a key arrive as often as ClickHouse holds them.
        """
        with spark_errors(f"inserting missing rows into {self._table.target}"):
            missing = self._missing(files, first, last).persist()
            try:
                count = missing.count()
                if count:
                    writer = missing.writeTo(self._name)
                    for key, value in marker.to_summary().items():
                        writer = writer.option(f"snapshot-property.{key}", value)
                    writer.append()
                return int(count)
            finally:
                missing.unpersist()

    def _missing(self, files: Sequence[DataFile], first: datetime, last: datetime) -> DataFrame:
        staged = self._staged(files)
        held = self._session.table(self._name).where(self._between(first, last)).select(*map(quote, self._table.keys))
        return staged.join(held, on=list(self._table.keys), how="left_anti").select(*map(quote, staged.columns))

    def changed(self, files: Sequence[DataFile], columns: Sequence[Column], first: datetime, last: datetime) -> int:
        """How many rows between `first` and `last` (UTC, inclusive) have other values than the staged row of the same key."""
        others = [column for column in columns if column.name not in self._table.keys]
        if not others:
            return 0
        with spark_errors(f"comparing {self._table.target}"):
            staged = self._staged(files).alias("s")
            held = self._session.table(self._name).where(self._between(first, last)).alias("t")
            return int(staged.join(held, on=list(self._table.keys)).where(" OR ".join(map(_differs, others))).count())

    def missing(self, files: Sequence[DataFile], first: datetime, last: datetime) -> int:
        """How many staged rows have a key that isn't in the table between `first` and `last`."""
        with spark_errors(f"comparing {self._table.target}"):
            return int(self._missing(files, first, last).count())

    def delete(self, held: str) -> None:
        """Delete the rows that a condition names."""
        with spark_errors(f"deleting from {self._table.target}"):
            self._session.sql(f"DELETE FROM {self._name} WHERE {held}")  # noqa: S608 - quoted

    def count(self, held: str) -> int:
        """How many rows a condition names."""
        with spark_errors(f"counting {self._table.target}"):
            return int(self._session.table(self._name).where(held).count())

    def _between(self, first: datetime, last: datetime) -> str:
        return f"{quote(self._table.timestamp_col)} BETWEEN {_timestamp(first)} AND {_timestamp(last)}"

    def merge(self, files: Sequence[DataFile], marker: Marker) -> None:
        """MERGE the staged rows into the branch by key: insert new ones, update those that differ."""
        staged = self._staged(files)
        staged.createOrReplaceTempView("offload_staged")
        keys = [quote(name) for name in self._table.keys]
        others = [quote(name) for name in staged.columns if name not in self._table.keys]
        differs = " OR ".join(f"NOT (t.{name} <=> s.{name})" for name in others)
        columns = [quote(name) for name in staged.columns]
        # The partition's columns are in the key, so the condition also tells Iceberg which files to read.
        statement = (
            f"MERGE INTO {self._name} t USING offload_staged s ON {' AND '.join(f't.{name} = s.{name}' for name in keys)} "  # noqa: S608 - quoted
            f"WHEN MATCHED AND ({differs}) THEN UPDATE SET {', '.join(f't.{name} = s.{name}' for name in others)} "
            f"WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) VALUES ({', '.join(f's.{name}' for name in columns)})"
        )
        properties = {_SNAPSHOT_PROPERTY + key: value for key, value in marker.to_summary().items()}
        with spark_errors(f"merging into {self._table.target}"):
            try:
                for key, value in properties.items():
                    self._session.conf.set(key, value)
                self._session.sql(statement)
            finally:
                for key in properties:
                    self._session.conf.unset(key)


def held_condition(
    table: TableConfig, columns: Sequence[Column], watermark: Cursor, interval: Interval, start: datetime | None = None
) -> str:
    """The Spark counterpart of `source_query.done_condition`: the table's rows of an interval, up to the watermark.

    Args:
        start: only rows with timestamps from here on (UTC, inclusive).
    """
    timestamp, mark = quote(table.timestamp_col), _timestamp(watermark.timestamp)
    counted = quote(interval_column(table, interval))
    conditions = [
        f"{counted} >= {_timestamp(interval.start)}",
        f"{counted} < {_timestamp(interval.end)}",
        f"{timestamp} <= {mark}",
    ]
    if start is not None:
        conditions.append(f"{timestamp} >= {_timestamp(start)}")
    if table.sequence_col:
        kind = next(column.iceberg_type for column in columns if column.name == table.sequence_col)
        sequence = f"CAST('{watermark.sequence}' AS {'BIGINT' if kind == 'long' else kind})"
        conditions.append(f"({timestamp} < {mark} OR {quote(table.sequence_col)} <= {sequence})")
    return " AND ".join(conditions)


def _timestamp(moment: datetime) -> str:
    return f"TIMESTAMP '{format_time(moment)}'"


def _differs(column: Column) -> str:
    name = quote(column.name)
    # A column that ClickHouse gained later is NULL in rows that were offloaded before.
    unknown = f"t.{name} IS NOT NULL AND " if column.required else ""
    return f"({unknown}NOT (t.{name} <=> s.{name}))"


@contextmanager
def spark_errors(what: str) -> Iterator[None]:
    """As `iceberg_errors`, for what goes through pyspark, which wraps the JVM's exceptions in its own."""
    from pyspark.errors.exceptions.captured import CapturedException

    with iceberg_errors(what):
        try:
            yield
        except CapturedException as error:
            if error._origin is None:
                raise
            raise Py4JJavaError(str(error), error._origin) from error


def quote(name: str) -> str:
    """`name` as a Spark SQL identifier, in backticks."""
    return "`" + name.replace("`", "``") + "`"
