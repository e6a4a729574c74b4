"""Counts of the source rows that a command would skip, read again or move."""

from __future__ import annotations

from collections.abc import Mapping

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Cursor, Window
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import (
    bind_time,
    format_time,
    http_placeholder,
    source_column,
    window_condition,
    window_parameters,
)
from offload_core.source.quoting import quote_table


def count(client: ClickHouse, table: TableConfig, condition: str, parameters: Mapping[str, str]) -> int:
    """Count the rows of a source table that meet a WHERE condition."""
    query = f"SELECT count() AS offload_rows FROM {quote_table(table.source)} WHERE {condition}"  # noqa: S608 - quoted
    return int(client.rows(query, parameters)[0]["offload_rows"])


def rows_in(client: ClickHouse, table: TableConfig, window: Window) -> int:
    """Count the rows that a run with this window would move."""
    return count(client, table, window_condition(table), window_parameters(window))


def rows_between(client: ClickHouse, table: TableConfig, low: Cursor, high: Cursor) -> int:
    """Count the rows after one watermark up to another, compared as pairs; open candles are among them."""
    condition = f"{_is_after(table, 'low')} AND NOT {_is_after(table, 'high')}"
    parameters = {
        "low": format_time(low.timestamp),
        "low_sequence": str(low.sequence),
        "high": format_time(high.timestamp),
        "high_sequence": str(high.sequence),
    }
    return count(client, table, condition, parameters)


def _is_after(table: TableConfig, name: str) -> str:
    timestamp, moment = source_column(table, table.timestamp_col), bind_time(name, http_placeholder)
    if not table.sequence_col:
        return f"({timestamp} > {moment})"
    sequence = f"{source_column(table, table.sequence_col)} > toInt128({http_placeholder(f'{name}_sequence')})"
    return f"({timestamp} > {moment} OR ({timestamp} = {moment} AND {sequence}))"
