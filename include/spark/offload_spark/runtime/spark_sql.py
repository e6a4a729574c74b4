"""Spark SQL text: how names and values are written into a statement."""

from __future__ import annotations

from datetime import datetime

from offload_core.source.queries import format_time


def quote(name: str) -> str:
    """`name` as a Spark SQL identifier, in backticks."""
    return "`" + name.replace("`", "``") + "`"


def quote_table(catalog: str, target: str, *more: str) -> str:
    """A table's full name, quoted.

    Args:
        catalog: what the session calls the catalog.
        target: the table in it, such as `cold.trades`.
        more: further parts, such as `branch_x`.
    """
    return ".".join(map(quote, [catalog, *target.split("."), *more]))


def text_literal(text: str) -> str:
    """A string as a Spark SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def timestamp_literal(moment: datetime) -> str:
    """A moment (UTC) as a Spark SQL literal; the session's time zone is UTC."""
    return f"TIMESTAMP '{format_time(moment)}'"
