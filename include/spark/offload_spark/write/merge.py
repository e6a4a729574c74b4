"""Compares fetched rows with those in Iceberg and commits the difference; Spark reads the files from ClickHouse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from offload_core.config.tables import TableConfig
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Cursor, Interval
from offload_core.source.projection import Column
from offload_core.source.queries import interval_column
from offload_spark.iceberg.data_files import DataFile
from offload_spark.iceberg.errors import spark_errors
from offload_spark.runtime.spark_sql import quote, quote_table, timestamp_literal
from offload_spark.write.staged_files import stage_for_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SNAPSHOT_PROPERTY = "spark.sql.iceberg.snapshot-property."


class RowComparison:
    """Compares staged files with the rows of one table's branch.

    Args:
        session: a session with the catalog.
        catalog: the catalog's name.
        table: the table's entry; its keys identify a row.
        branch: the attempt's branch; None for `main`.
        columns: the staged rows' columns.
    """

    def __init__(
        self, session: SparkSession, catalog: str, table: TableConfig, branch: str | None, columns: Sequence[Column]
    ) -> None:
        self._session = session
        self._table = table
        self._columns = columns
        self._target = quote_table(catalog, table.target)
        self._name = self._target if branch is None else quote_table(catalog, table.target, f"branch_{branch}")

    def _staged(self, files: Sequence[DataFile]) -> DataFrame:
        """The rows of staged files. Spark reads them where Hadoop knows the file system; elsewhere Iceberg does."""
        locations = [file.location for file in files]
        if not locations[0].startswith("s3://"):
            return self._session.read.parquet(*locations)
        tasks = stage_for_spark(self._session, self._target, files)
        staged = self._session.read.format("iceberg").option("scan-task-set-id", tasks).load(self._target)
        return staged.select(*(quote(column.name) for column in self._columns))

    def insert_missing(self, files: Sequence[DataFile], first: datetime, last: datetime, marker: Marker) -> int:
        """Append to the branch the staged rows whose key is missing between `first` and `last` (UTC, inclusive).

        Returns their count. Nothing is committed if no row is missing. Staged rows with the same key are appended as
        often as ClickHouse holds them.
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
        in_iceberg = self._session.table(self._name).where(self._between(first, last))
        known = in_iceberg.select(*map(quote, self._table.keys))
        return staged.join(known, on=list(self._table.keys), how="left_anti").select(*map(quote, staged.columns))

    def changed(self, files: Sequence[DataFile], first: datetime, last: datetime) -> int:
        """How many rows between `first` and `last` (UTC, inclusive) differ from the staged row with the same key.

        A column that ClickHouse gained later is NULL in rows that were offloaded before. If the column is required,
        NULL means that its value is unknown, not that it differs.
        """
        others = [column for column in self._columns if column.name not in self._table.keys]
        if not others:
            return 0
        differs = " OR ".join(_differs(column.name, null_is_unknown=column.required) for column in others)
        with spark_errors(f"comparing {self._table.target}"):
            staged = self._staged(files).alias("s")
            in_iceberg = self._session.table(self._name).where(self._between(first, last)).alias("t")
            return int(staged.join(in_iceberg, on=list(self._table.keys)).where(differs).count())

    def missing(self, files: Sequence[DataFile], first: datetime, last: datetime) -> int:
        """How many staged rows have a key that is missing in the table between `first` and `last` (UTC, inclusive)."""
        with spark_errors(f"comparing {self._table.target}"):
            return int(self._missing(files, first, last).count())

    def delete(self, condition: str) -> None:
        """Delete the rows that meet a condition."""
        with spark_errors(f"deleting from {self._table.target}"):
            self._session.sql(f"DELETE FROM {self._name} WHERE {condition}")  # noqa: S608 - quoted

    def count(self, condition: str) -> int:
        """How many rows meet a condition."""
        with spark_errors(f"counting {self._table.target}"):
            return int(self._session.table(self._name).where(condition).count())

    def _between(self, first: datetime, last: datetime) -> str:
        return f"{quote(self._table.timestamp_col)} BETWEEN {timestamp_literal(first)} AND {timestamp_literal(last)}"

    def merge(self, files: Sequence[DataFile], marker: Marker) -> None:
        """MERGE the staged rows into the branch by key: insert new rows, update rows that differ.

        Here NULL differs from a value. An update that overwrites an unknown value with ClickHouse's only completes the
        row, so MERGE may touch more rows than `changed` counts.
        """
        staged = self._staged(files)
        staged.createOrReplaceTempView("offload_staged")
        keys = [quote(name) for name in self._table.keys]
        others = [name for name in staged.columns if name not in self._table.keys]
        differs = " OR ".join(_differs(name, null_is_unknown=False) for name in others)
        columns = [quote(name) for name in staged.columns]
        matches = " AND ".join(f"t.{name} = s.{name}" for name in keys)
        updates = ", ".join(f"t.{name} = s.{name}" for name in map(quote, others))
        # The key includes the partition column, so Iceberg reads only the files that may match.
        statement = (
            f"MERGE INTO {self._name} t USING offload_staged s ON {matches} "  # noqa: S608 - quoted
            f"WHEN MATCHED AND ({differs}) THEN UPDATE SET {updates} "
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


def cold_condition(
    table: TableConfig, columns: Sequence[Column], watermark: Cursor, interval: Interval, start: datetime | None = None
) -> str:
    """Selects an interval's rows in Iceberg up to the watermark, as `queries.done_condition` does in ClickHouse.

    Args:
        start: only rows with timestamps from here on (UTC, inclusive).
    """
    timestamp, mark = quote(table.timestamp_col), timestamp_literal(watermark.timestamp)
    counted = quote(interval_column(table, interval))
    conditions = [
        f"{counted} >= {timestamp_literal(interval.start)}",
        f"{counted} < {timestamp_literal(interval.end)}",
        f"{timestamp} <= {mark}",
    ]
    if start is not None:
        conditions.append(f"{timestamp} >= {timestamp_literal(start)}")
    if table.sequence_col:
        kind = next(column.iceberg_type for column in columns if column.name == table.sequence_col)
        sequence = f"CAST('{watermark.sequence}' AS {'BIGINT' if kind == 'long' else kind})"
        conditions.append(f"({timestamp} < {mark} OR {quote(table.sequence_col)} <= {sequence})")
    return " AND ".join(conditions)


def _differs(name: str, *, null_is_unknown: bool) -> str:
    """Whether a column of the table's row `t` differs from the staged row `s`; `null_is_unknown`: a NULL never does."""
    column = quote(name)
    differs = f"NOT (t.{column} <=> s.{column})"
    return f"(t.{column} IS NOT NULL AND {differs})" if null_is_unknown else differs
