"""Conditions on a timestamp column, as Iceberg's planning takes them."""

from __future__ import annotations

from datetime import datetime

from offload_spark.runtime.jvm import JavaObject


def later_than(jvm: JavaObject, column: str, moment: datetime) -> JavaObject:
    """Rows with a timestamp after `moment` (UTC, exclusive)."""
    return jvm.org.apache.iceberg.expressions.Expressions.greaterThan(column, _literal(moment))


def in_span(jvm: JavaObject, column: str, start: datetime, end: datetime) -> JavaObject:
    """Rows with a timestamp from `start` (UTC, inclusive) to `end` (exclusive)."""
    expressions = jvm.org.apache.iceberg.expressions.Expressions
    return getattr(expressions, "and")(
        expressions.greaterThanOrEqual(column, _literal(start)), expressions.lessThan(column, _literal(end))
    )


def _literal(moment: datetime) -> str:
    """A moment as text: py4j would pass a small number as an Integer, which Iceberg's expressions refuse."""
    return moment.isoformat(timespec="microseconds")
