"""Reads Iceberg tables with Spark, for comparisons with other readers."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.spark.world import World

_SCRIPT = Path(__file__).with_name("read_table.py")


def spark_rows(world: World, table: str, condition: str) -> list[dict[str, Any]]:
    """A table's rows that meet a condition, as Spark reads them; the values are text, as `as_spark_text` makes them."""
    result = world.finish(world.submit(str(_SCRIPT), [table, condition], environ={"TZ": "Asia/Kathmandu"}))
    assert result.status == 0, result.output
    rows: list[dict[str, Any]] = result.answer["rows"]
    return rows


def as_spark_text(value: object) -> object:
    """An expected value as `read_table.py` prints it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, date):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value.hex() if isinstance(value, float) else value
