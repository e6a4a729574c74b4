"""The keys of the rows that differ: the last step after narrowing the difference from days to hours to minutes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Interval
from offload_core.source.projection import Column
from offload_core.source.queries import format_time
from offload_core.source.quoting import quote_identifier, quote_table
from offload_ops.audit.hot import hot_rows
from offload_ops.audit.rows import label_differences
from offload_ops.audit.snapshot import Auditor, AuditSnapshot, take_snapshot
from offload_ops.audit.windows import Grain
from offload_ops.tiers.row_hash import arrow_row_numbers, clickhouse_row_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.uint64]


@dataclass(frozen=True)
class DifferingRow:
    """A row in which the tiers differ.

    Attributes:
        kind: `missing`, `changed`, `surplus` or `duplicates`, as in `offload_ops.audit.model.Differences`.
        key: its timestamp and key columns as text; of changed rows, their values in ClickHouse.
    """

    kind: str
    key: Mapping[str, str]


def differing_rows(auditor: Auditor, table: TableConfig, span: Interval, limit: int) -> list[DifferingRow]:
    """The rows in which the tiers differ in a span, at most `limit` of each kind.

    Raises as `offload_ops.audit.compare.compare_windows`. The span must be short, such as a few minutes: all its rows
    are held in memory.
    """
    snapshot = take_snapshot(auditor, table, span, Grain.MINUTE)
    if not snapshot.parts:
        return []
    parts = snapshot.parts.values()
    part = Interval(min(part.start for part in parts), max(part.end for part in parts))
    cold, _ = snapshot.cold.rows(part)
    labels = label_differences(hot_rows(auditor.client, snapshot.scope, part), cold)
    shown = _shown_columns(snapshot)
    rows = []
    for kind, numbers in (("missing", labels.missing), ("changed", labels.changed)):
        rows += [DifferingRow(kind, key) for key in _hot_keys(snapshot, part, shown, numbers[:limit])]
    for kind, numbers in (("surplus", labels.surplus), ("duplicates", labels.duplicates)):
        rows += [DifferingRow(kind, key) for key in _cold_keys(snapshot, part, shown, numbers[:limit])]
    return rows


def _shown_columns(snapshot: AuditSnapshot) -> list[Column]:
    names = dict.fromkeys([snapshot.scope.table.timestamp_col, *(column.name for column in snapshot.scope.key_columns)])
    return [column for name in names for column in snapshot.scope.columns if column.name == name]


def _hot_keys(
    snapshot: AuditSnapshot, part: Interval, shown: Sequence[Column], numbers: Numbers
) -> list[dict[str, str]]:
    if not len(numbers):
        return []
    condition, values = snapshot.scope.hot_condition(part)
    items = ", ".join(
        f"toString({column.expression}) AS {quote_identifier(f'offload_{column.name}')}" for column in shown
    )
    rows = snapshot.auditor.client.rows(
        f"SELECT {items} FROM {quote_table(snapshot.scope.table.source)} WHERE {condition} "  # noqa: S608 - quoted
        f"AND has({{numbers:Array(UInt64)}}, {clickhouse_row_number(snapshot.scope.columns)}) ORDER BY ALL",
        {**values, "numbers": f"[{','.join(map(str, numbers))}]"},
    )
    return [{column.name: str(row[f"offload_{column.name}"]) for column in shown} for row in rows]


def _cold_keys(
    snapshot: AuditSnapshot, part: Interval, shown: Sequence[Column], numbers: Numbers
) -> list[dict[str, str]]:
    if not len(numbers):
        return []
    return sorted(_matching_keys(snapshot, part, shown, numbers), key=lambda key: list(key.values()))


def _matching_keys(
    snapshot: AuditSnapshot, part: Interval, shown: Sequence[Column], numbers: Numbers
) -> Iterator[dict[str, str]]:
    import numpy as np
    import pyarrow as pa

    # A surplus row is shown as often as it exceeds the hot tier, not as often as it exists.
    left = {int(number): int(count) for number, count in zip(*np.unique(numbers, return_counts=True), strict=True)}
    for batch in snapshot.cold.batches(part):
        row_numbers = arrow_row_numbers(batch, snapshot.scope.columns, snapshot.cold.nulls)
        positions = np.flatnonzero(np.isin(row_numbers, numbers))
        rows = batch.select([column.name for column in shown]).take(pa.array(positions)).to_pylist()
        for number, row in zip(row_numbers[positions], rows, strict=True):
            if left.get(int(number), 0) > 0:
                left[int(number)] -= 1
                yield {name: _text(value) for name, value in row.items()}


def _text(value: object) -> str:
    return format_time(value) if isinstance(value, datetime) else str(value)
