"""Names and text in ClickHouse's SQL."""

from __future__ import annotations


def quote_identifier(name: str) -> str:
    """`name` as a ClickHouse identifier, in backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def quote_table(name: str) -> str:
    """`table` or `database.table` as quoted ClickHouse identifiers."""
    return ".".join(quote_identifier(part) for part in name.split("."))


def quote_text(text: str) -> str:
    """`text` as a ClickHouse string literal, for where no value can be bound: type names, paths, views."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
