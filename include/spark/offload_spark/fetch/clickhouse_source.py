"""The ClickHouse side of a run: describes the table, counts the rows of a window, and fetches them as Parquet files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from offload_core.config.tables import TableConfig
from offload_core.errors import ClickHouseUnavailable, FixColumn, OffloadError, QueryFailed
from offload_core.protocol.partition import Partition
from offload_core.protocol.window import MICROSECOND, Cursor
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import INVALID_TEXT, Column
from offload_core.source.queries import bind_time, format_time, http_placeholder, parse_time, source_column
from offload_core.source.quoting import quote_table
from offload_core.source.table import SourceTable, describe, expires_before, holds_all_since, oldest_time
from offload_spark.files.field_ids import assign_field_ids

_STARTS = {
    Partition.HOUR: "toStartOfHour",
    Partition.DAY: "toStartOfDay",
    Partition.MONTH: "toStartOfMonth",
    Partition.YEAR: "toStartOfYear",
}
# Without this setting, the start of a day after 2106 overflows.
_WIDE_TIMES = {"enable_extended_results_for_datetime_functions": "1"}
PARQUET = {
    # Level 1 takes a tenth less of ClickHouse's CPU than its default, 3. Until they are compacted, files are 2 to 4 %
    # larger (ADR 0014).
    "output_format_parquet_compression_method": "zstd",
    "output_format_compression_level": "1",
    "output_format_parquet_string_as_string": "1",
    "output_format_parquet_fixed_string_as_fixed_byte_array": "1",
    # Bloom filters take a third of size and time, and no reader of Iceberg uses ClickHouse's.
    "output_format_parquet_write_bloom_filter": "0",
}


@dataclass(frozen=True)
class Slice:
    """Rows of one Iceberg partition that one condition selects.

    Attributes:
        start: the partition's start, UTC.
        rows: how many rows.
        first: the earliest timestamp.
        last: the greatest (timestamp, sequence).
    """

    start: datetime
    rows: int
    first: datetime
    last: Cursor


@dataclass(frozen=True)
class Selection:
    """A condition on the source's rows, with the values that it binds."""

    condition: str
    parameters: dict[str, str]

    def narrow(self, condition: str, **parameters: datetime) -> Selection:
        """The rows that also meet another condition, which binds the given moments."""
        return Selection(
            f"({self.condition}) AND ({condition})",
            {**self.parameters, **{name: format_time(value) for name, value in parameters.items()}},
        )


@dataclass(frozen=True)
class FileRequest:
    """One Parquet file to fetch: rows of one partition only."""

    start: datetime
    selection: Selection


class ClickHouseSource:
    """One source table over HTTP. Several threads may fetch from it at once."""

    def __init__(self, client: ClickHouse, table: TableConfig, database: str) -> None:
        self._client = client
        self._table = table
        self._database = database
        self._from = quote_table(table.source)
        self._timestamp = source_column(table, table.timestamp_col)

    def describe(self) -> SourceTable:
        """ClickHouse's description of the table. Raises FixSource if the table does not exist."""
        return describe(self._client, self._table, self._database)

    def slices(self, selection: Selection) -> list[Slice]:
        """Count the selected rows by Iceberg partition, in chronological order."""
        start = f"toDateTime64({_STARTS[self._table.partition]}({self._timestamp}, 'UTC'), 6, 'UTC')"
        sequence = source_column(self._table, self._table.sequence_col) if self._table.sequence_col else "0"
        # If a user's column had the name of an alias, ClickHouse would take the one for the other.
        rows = self._client.rows(
            f"SELECT toString({start}) AS offload_start, count() AS offload_rows, "  # noqa: S608 - quoted
            f"toString(toDateTime64(min({self._timestamp}), 6, 'UTC')) AS offload_first, "
            f"max(({self._timestamp}, {sequence})) AS offload_newest, "
            "toString(toDateTime64(offload_newest.1, 6, 'UTC')) AS offload_last, "
            "toString(offload_newest.2) AS offload_last_sequence "
            f"FROM {self._from} WHERE {selection.condition} GROUP BY offload_start ORDER BY offload_start",
            selection.parameters,
            _WIDE_TIMES,
        )
        return [
            Slice(
                start=parse_time(row["offload_start"]),
                rows=int(row["offload_rows"]),
                first=parse_time(row["offload_first"]),
                last=Cursor(parse_time(row["offload_last"]), int(row["offload_last_sequence"])),
            )
            for row in rows
        ]

    def nth_time(self, selection: Selection, column: str, offset: int) -> datetime:
        """The value (UTC) of a time column in row `offset` (from 0) of the selection in that column's order."""
        ordered = source_column(self._table, column)
        rows = self._client.rows(
            f"SELECT toString(toDateTime64({ordered}, 6, 'UTC')) AS offload_moment FROM {self._from} "  # noqa: S608
            f"WHERE {selection.condition} ORDER BY {ordered} LIMIT 1 OFFSET {int(offset)}",
            selection.parameters,
        )
        return parse_time(rows[0]["offload_moment"])

    def oldest_time(self) -> datetime | None:
        """The timestamp (UTC) of the oldest row; None for an empty table."""
        return oldest_time(self._client, self._table)

    def expires_before(self, ttl: str) -> datetime:
        """The moment (UTC) before which TTL may have removed rows."""
        return expires_before(self._client, ttl)

    def holds_all_since(self, described: SourceTable) -> datetime | None:
        """The timestamp (UTC) since which ClickHouse still holds all of its rows; None for an empty table."""
        return holds_all_since(self._client, self._table, described)

    def plan_files(self, selection: Selection, slices: Sequence[Slice], rows_per_file: int) -> list[FileRequest]:
        """Divide a selection into files: one or more per partition, which divide its rows evenly by time."""
        requests = []
        for part in slices:
            inside = self.within_partition(selection, part.start)
            edges = self._edges(inside, part, rows_per_file)
            for number, edge in enumerate(edges):
                narrowed = inside.narrow(
                    f"{self._timestamp} <= {bind_time('file_last', http_placeholder)}", file_last=edge
                )
                if number:
                    narrowed = narrowed.narrow(
                        f"{self._timestamp} > {bind_time('file_after', http_placeholder)}", file_after=edges[number - 1]
                    )
                requests.append(FileRequest(part.start, narrowed))
        return requests

    def within_partition(self, selection: Selection, start: datetime) -> Selection:
        """The selection's rows in the partition that starts at `start`."""
        first, end = bind_time("part_from", http_placeholder), bind_time("part_to", http_placeholder)
        return selection.narrow(
            f"{self._timestamp} >= {first} AND {self._timestamp} < {end}",
            part_from=start,
            part_to=self._table.partition.next(start),
        )

    def _edges(self, selection: Selection, part: Slice, rows_per_file: int) -> list[datetime]:
        """The last timestamps of a partition's files; the last one is the partition's end."""
        end = self._table.partition.next(part.start) - MICROSECOND
        files = math.ceil(part.rows / rows_per_file)
        if files == 1:
            return [end]
        levels = ", ".join(str(number / files) for number in range(1, files))
        rows = self._client.rows(
            f"SELECT arrayMap(moment -> toString(toDateTime64(moment, 6, 'UTC')), quantiles({levels})"  # noqa: S608
            f"(toDateTime64({self._timestamp}, 6, 'UTC'))) AS offload_moments "
            f"FROM {self._from} WHERE {selection.condition}",
            selection.parameters,
        )
        return sorted({parse_time(moment) for moment in rows[0]["offload_moments"]} | {end})

    def fetch(self, request: FileRequest, columns: Sequence[Column], path: Path) -> None:
        """Fetch one file, which appears at `path` when it is complete, with the field ids that the columns have.

        Raises:
            FixColumn: a text column holds bytes that are not UTF-8.
            AuditFailed: the answer is not a Parquet file of these columns.
            ClickHouseUnavailable: the connection broke.
        """
        items = ", ".join(column.select_item for column in columns)
        query = f"SELECT {items} FROM {self._from} WHERE {request.selection.condition} FORMAT Parquet"  # noqa: S608
        try:
            self._client.download(query, request.selection.parameters, {**_WIDE_TIMES, **PARQUET}, path)
        except (QueryFailed, ClickHouseUnavailable) as error:
            raise self._explain(error) from error
        ids = {column.name: column.field_id for column in columns if column.field_id is not None}
        if ids:
            assign_field_ids(path, ids)

    def _explain(self, error: OffloadError) -> OffloadError:
        _, found, rest = error.problem.partition(INVALID_TEXT)
        if not found:
            return error
        name = rest.strip().split("'")[0].split(":")[0]
        return FixColumn(
            f"Column {name!r} of {self._table.source} holds bytes that are not UTF-8; Iceberg's text must be.",
            "Correct the rows in ClickHouse, or offload a view that encodes the column, for example with base64Encode.",
        )
