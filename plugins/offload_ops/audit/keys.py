"""Which rows differ, by their keys: the last step of the way down from day to hour to minute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from offload_core.config.tables import TableConfig
from offload_core.protocol.window import Interval
from offload_core.source.clickhouse import quote_identifier, quote_table
from offload_core.source.projection import Column
from offload_core.source.queries import format_time
from offload_ops.audit.hot import hot_rows
from offload_ops.audit.rows import labelled
from offload_ops.audit.snapshot import Auditor, Look, take_look
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
        kind: `missing`, `changed`, `surplus` or `duplicates`, as in `audit_model.Differences`.
        key: its timestamp and key columns as text; of changed rows as ClickHouse has them.
    """

    kind: str
    key: Mapping[str, str]


def differing_rows(auditor: Auditor, table: TableConfig, span: Interval, limit: int) -> list[DifferingRow]:
    """The rows in which the tiers differ in a span, at most `limit` of each kind. Raises as `audit.compare_windows`.

    For spans of some minutes: all their rows are taken into memory.
    """
    look = take_look(auditor, table, span, Grain.MINUTE)
    if not look.parts:
        return []
    part = Interval(min(part.start for part in look.parts.values()), max(part.end for part in look.parts.values()))
    held, _ = look.cold.rows(part)
    labels = labelled(hot_rows(auditor.client, look.scope, part), held)
    shown = _shown_columns(look)
    found = []
    for kind, numbers in (("missing", labels.missing), ("changed", labels.changed)):
        found += [DifferingRow(kind, key) for key in _hot_keys(look, part, shown, numbers[:limit])]
    for kind, numbers in (("surplus", labels.surplus), ("duplicates", labels.duplicates)):
        found += [DifferingRow(kind, key) for key in _cold_keys(look, part, shown, numbers[:limit])]
    return found


def _shown_columns(look: Look) -> list[Column]:
    names = dict.fromkeys([look.scope.table.timestamp_col, *(column.name for column in look.scope.key_columns)])
    return [column for name in names for column in look.scope.columns if column.name == name]


def _hot_keys(look: Look, part: Interval, shown: Sequence[Column], numbers: Numbers) -> list[dict[str, str]]:
    if not len(numbers):
        return []
    condition, values = look.scope.hot_condition(part)
    items = ", ".join(
        f"toString({column.expression}) AS {quote_identifier(f'offload_{column.name}')}" for column in shown
    )
    rows = look.auditor.client.rows(
        f"SELECT {items} FROM {quote_table(look.scope.table.source)} WHERE {condition} "  # noqa: S608 - quoted
        f"AND has({{numbers:Array(UInt64)}}, {clickhouse_row_number(look.scope.columns)}) ORDER BY ALL",
        {**values, "numbers": f"[{','.join(map(str, numbers))}]"},
    )
    return [{column.name: str(row[f"offload_{column.name}"]) for column in shown} for row in rows]


def _cold_keys(look: Look, part: Interval, shown: Sequence[Column], numbers: Numbers) -> list[dict[str, str]]:
    if not len(numbers):
        return []
    return sorted(_matching(look, part, shown, numbers), key=lambda key: list(key.values()))


def _matching(look: Look, part: Interval, shown: Sequence[Column], numbers: Numbers) -> Iterator[dict[str, str]]:
    import numpy as np
    import pyarrow as pa

    # A row that is there more than once is shown as often as it is too much.
    left = {int(number): int(count) for number, count in zip(*np.unique(numbers, return_counts=True), strict=True)}
    for batch in look.cold.batches(part):
        found = arrow_row_numbers(batch, look.scope.columns, look.cold.nulls)
        where = np.flatnonzero(np.isin(found, numbers))
        rows = batch.select([column.name for column in shown]).take(pa.array(where)).to_pylist()
        for number, row in zip(found[where], rows, strict=True):
            if left.get(int(number), 0) > 0:
                left[int(number)] -= 1
                yield {name: _text(value) for name, value in row.items()}


def _text(value: object) -> str:
    return format_time(value) if isinstance(value, datetime) else str(value)
