"""The SQL that selects the source rows of a window, for the sensor, the job and the command line.

The statements are the same over both ClickHouse protocols. Only the way to bind a value differs, so it is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Cursor, Interval, Window
from offload_core.source.quoting import quote_identifier, quote_table

Placeholder = Callable[[str], str]


def http_placeholder(name: str) -> str:
    """ClickHouse's own query parameter, bound by the server."""
    return f"{{{name}:String}}"


def driver_placeholder(name: str) -> str:
    """clickhouse-driver's parameter, escaped by the driver."""
    return f"%({name})s"


NOW = "SELECT toString(now64(6, 'UTC')) AS now"
"""ClickHouse's clock, as text in UTC; read it with `parse_time`."""


def parse_time(text: str) -> datetime:
    """ClickHouse's `YYYY-MM-DD hh:mm:ss[.ffffff]` text, in UTC, as a zone-aware moment."""
    whole, _, fraction = text.partition(".")
    return datetime.strptime(f"{whole}.{fraction.ljust(6, '0')[:6]}+0000", "%Y-%m-%d %H:%M:%S.%f%z").astimezone(
        timezone.utc
    )


def format_time(moment: datetime) -> str:
    """The inverse of `parse_time`: UTC, six decimals."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def bind_time(name: str, placeholder: Placeholder) -> str:
    """An expression for a bound moment."""
    return f"toDateTime64({placeholder(name)}, 6, 'UTC')"


def source_column(table: TableConfig, name: str) -> str:
    """A column of the source table itself, even if the SELECT list has an alias of the same name.

    In a WHERE, ClickHouse resolves a bare name to the SELECT list's alias of that name: the condition would then be
    about the converted value, and could not use the primary index.
    """
    return f"{quote_identifier(table.source.rpartition('.')[2])}.{quote_identifier(name)}"


def window_condition(table: TableConfig, placeholder: Placeholder = http_placeholder) -> str:
    """The WHERE condition of a window's rows; bind it with `window_parameters`.

    For `append` tables: `(timestamp, sequence) > lower` and `timestamp <= upper`. For `upsert` tables, only rows of
    closed periods: `timestamp > lower` and `closed_col <= upper`.
    """
    timestamp, lower, upper = (
        source_column(table, table.timestamp_col),
        bind_time("lower", placeholder),
        bind_time("upper", placeholder),
    )
    conditions = [f"{timestamp} <= {upper}"]
    if table.sequence_col:
        sequence = f"{source_column(table, table.sequence_col)} > toInt128({placeholder('lower_sequence')})"
        # The first condition follows from the second; it lets the primary index cut the range.
        conditions += [f"{timestamp} >= {lower}", f"({timestamp} > {lower} OR ({timestamp} = {lower} AND {sequence}))"]
    else:
        conditions += [f"{timestamp} > {lower}"]
    if table.closed_col:
        conditions += [f"{source_column(table, table.closed_col)} <= {upper}"]
    return " AND ".join(conditions)


def window_parameters(window: Window) -> dict[str, str]:
    """The values that `window_condition` needs."""
    return {
        "lower": format_time(window.lower.timestamp),
        "lower_sequence": str(window.lower.sequence),
        "upper": format_time(window.upper),
    }


def done_condition(
    table: TableConfig,
    interval: Interval | None,
    placeholder: Placeholder = http_placeholder,
    *,
    from_start: bool = True,
) -> str:
    """The WHERE condition of rows that have been offloaded; bind it with `done_parameters`.

    It is `(timestamp, sequence) <= watermark` as a pair, inside the interval if there is one, and with `from_start`
    also `timestamp >= start`.
    """
    timestamp, mark = source_column(table, table.timestamp_col), bind_time("watermark", placeholder)
    conditions = [f"{timestamp} <= {mark}"]
    if from_start:
        conditions += [f"{timestamp} >= {bind_time('start', placeholder)}"]
    if table.sequence_col:
        sequence = f"{source_column(table, table.sequence_col)} <= toInt128({placeholder('watermark_sequence')})"
        conditions += [f"({timestamp} < {mark} OR {sequence})"]
    if interval is not None:
        counted = source_column(table, interval_column(table, interval))
        conditions += [
            f"{counted} >= {bind_time('interval_start', placeholder)}",
            f"{counted} < {bind_time('interval_end', placeholder)}",
        ]
    return " AND ".join(conditions)


def done_parameters(start: datetime | None, watermark: Cursor, interval: Interval | None) -> dict[str, str]:
    """The values that `done_condition` needs.

    Args:
        start: from this timestamp on (UTC, inclusive), ClickHouse is known to hold every row; None for a condition
            without `from_start`.
        watermark: how far the table has been offloaded.
        interval: the interval of `done_condition`.
    """
    values = {
        "watermark": format_time(watermark.timestamp),
        "watermark_sequence": str(watermark.sequence),
    }
    if start is not None:
        values |= {"start": format_time(start)}
    if interval is not None:
        values |= {"interval_start": format_time(interval.start), "interval_end": format_time(interval.end)}
    return values


def interval_column(table: TableConfig, interval: Interval) -> str:
    """The column by whose times rows belong to an interval."""
    return table.closed_col if interval.by_close and table.closed_col else table.timestamp_col


def any_row_query(table: TableConfig, placeholder: Placeholder = http_placeholder) -> str:
    """A query that returns one row if the window holds any, and reads as little as possible."""
    condition = window_condition(table, placeholder)
    return f"SELECT 1 AS found FROM {quote_table(table.source)} WHERE {condition} LIMIT 1"  # noqa: S608
