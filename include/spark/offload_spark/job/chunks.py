"""Divides a large window into chunks, so that no commit holds more rows than `max_rows_per_commit`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from offload_core.config.tables import TableConfig, WriteMode
from offload_core.protocol.window import MICROSECOND
from offload_spark.fetch.clickhouse_source import ClickHouseSource, Selection, Slice


def chunk_end(
    source: ClickHouseSource, table: TableConfig, selection: Selection, slices: Sequence[Slice], max_rows: int
) -> datetime | None:
    """The upper bound of the first chunk (UTC, inclusive); None if the selection fits into one commit.

    For `append` tables the bound lies between two timestamps, so that rows with one timestamp stay together even if
    they alone are more than `max_rows`. For `upsert` tables it lies at a partition's border, so that partitions are
    still replaced as a whole.
    """
    if sum(part.rows for part in slices) <= max_rows:
        return None
    if table.write_mode is WriteMode.APPEND:
        beyond = source.nth_time(selection, table.timestamp_col, max_rows)
        return beyond - MICROSECOND if beyond > slices[0].first else beyond
    rows = 0
    for number, part in enumerate(slices):
        rows += part.rows
        if rows > max_rows and number:
            return part.start
    return slices[1].start if len(slices) > 1 else None
