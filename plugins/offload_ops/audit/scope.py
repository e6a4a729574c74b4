"""The rows that both tiers must hold alike, as a condition for each tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import EARLIEST, MICROSECOND, Cursor, Interval
from offload_core.source.projection import Column
from offload_core.source.queries import (
    bind_time,
    done_condition,
    done_parameters,
    format_time,
    http_placeholder,
    source_column,
)
from offload_ops.tiers.verify import cold_filter

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression


@dataclass(frozen=True)
class Scope:
    """What is compared of a table.

    Attributes:
        table: its entry.
        columns: the projection.
        since: ClickHouse holds every row from here on (UTC, inclusive).
        watermark: the tiers are compared up to here, inclusive, by timestamp and sequence.
        closed_by: upsert tables: only periods that had closed by this moment (UTC, inclusive) have been offloaded; None
            for append tables.
        skipped: intervals that an operator's watermark skipped, so that no run has read them.
    """

    table: TableConfig
    columns: Sequence[Column]
    since: datetime
    watermark: Cursor
    closed_by: datetime | None
    skipped: Sequence[Interval]

    @property
    def key_columns(self) -> list[Column]:
        """The columns that identify a row; all columns if the entry names no keys."""
        return [column for column in self.columns if column.name in self.table.keys] or list(self.columns)

    def part(self, window: Interval) -> Interval | None:
        """The part of a window that is compared; None if nothing is."""
        start, end = max(window.start, self.since), min(window.end, self.watermark.timestamp + MICROSECOND)
        if start >= end or any(skip.start <= start and end <= skip.end for skip in self.skipped):
            return None
        return Interval(start, end)

    def hot_condition(self, span: Interval) -> tuple[str, dict[str, str]]:
        """The WHERE condition of a span's rows for ClickHouse, and its parameters."""
        timestamp = source_column(self.table, self.table.timestamp_col)
        conditions = [done_condition(self.table, span, http_placeholder)]
        values = done_parameters(self.since, self.watermark, span)
        if self.closed_by is not None:
            closed = source_column(self.table, str(self.table.closed_col))
            conditions.append(f"{closed} <= {bind_time('closed_by', http_placeholder)}")
            values["closed_by"] = format_time(self.closed_by)
        for number, skip in enumerate(self.skipped):
            start, end = (bind_time(f"skip_{side}_{number}", http_placeholder) for side in ("from", "to"))
            conditions.append(f"({timestamp} < {start} OR {timestamp} >= {end})")
            values |= {
                f"skip_from_{number}": format_time(max(skip.start, EARLIEST)),
                f"skip_to_{number}": format_time(skip.end),
            }
        return " AND ".join(conditions), values

    def cold_condition(self, span: Interval) -> BooleanExpression:
        """The condition of a span's rows for pyiceberg."""
        from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan, LessThanOrEqual, Or

        # pyiceberg's expressions are pydantic models with positional arguments, which mypy does not see.
        conditions = [cold_filter(self.table, list(self.columns), self.since, self.watermark, span)]
        column = self.table.timestamp_col
        if self.closed_by is not None:
            closed_col, closed_by = str(self.table.closed_col), self.closed_by.isoformat()
            conditions.append(LessThanOrEqual(closed_col, closed_by))  # type: ignore[call-arg, arg-type]
        for skip in self.skipped:
            before = LessThan(column, skip.start.isoformat())  # type: ignore[call-arg, arg-type]
            after = GreaterThanOrEqual(column, skip.end.isoformat())  # type: ignore[call-arg, arg-type]
            conditions.append(Or(before, after))
        return reduce(And, conditions)
