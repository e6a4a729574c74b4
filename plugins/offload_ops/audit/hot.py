"""ClickHouse's side of an audit: counts and hashes of all windows in one query, and rows to compare one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from offload_core.config.tables import TableConfig
from offload_core.disk import disk_errors
from offload_core.protocol.window import MICROSECOND, Interval, to_micros
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.queries import source_column
from offload_core.source.quoting import quote_table
from offload_core.source.table import COMPARISON, SourceTable, expires_before, oldest_time
from offload_ops.audit.rows import Rows
from offload_ops.audit.scope import Scope
from offload_ops.audit.store import SourceBounds
from offload_ops.tiers.row_hash import NO_ROWS, RowHash, clickhouse_hash, clickhouse_row_number


def held_since(
    client: ClickHouse, table: TableConfig, described: SourceTable, known_from: datetime | None, earlier: SourceBounds
) -> tuple[datetime | None, datetime | None]:
    """From when on ClickHouse must hold every row, and the part of a TTL in that.

    The oldest row alone would hide rows that vanished at the old end, such as a dropped partition. Rows that are known
    to have existed must still exist, unless a TTL may have removed them. Views store no rows, and the tables behind
    them may have any TTL.

    Args:
        client: ClickHouse.
        table: the table's entry.
        described: the source.
        known_from: by the ledger, the source held rows after this moment.
        earlier: what earlier audits know.

    Returns:
        The moment (UTC, inclusive), None for a table that never held a row; and the moment before which a TTL may have
            removed
        rows.
    """
    ttl_floor = expires_before(client, described.ttl) + COMPARISON if described.ttl else None
    floors = [floor for floor in (ttl_floor, earlier.since) if floor is not None]
    first = oldest_time(client, table)
    if described.stores_rows:
        after = known_from + MICROSECOND if known_from is not None else None
        known = [moment for moment in (first, after, earlier.first) if moment is not None]
        first = min(known, default=None)
    if first is None:
        return None, max(floors, default=None)
    return max([first, *floors]), max(floors, default=None)


def hot_hashes(client: ClickHouse, scope: Scope, windows: Sequence[Interval]) -> dict[Interval, RowHash]:
    """Count and hash of the compared part of each window. The windows have the same width and are in order of time."""
    width = windows[0].end - windows[0].start
    span = Interval(windows[0].start, windows[-1].end)
    condition, values = scope.hot_condition(span)
    micros = f"toUnixTimestamp64Micro(toDateTime64({source_column(scope.table, scope.table.timestamp_col)}, 6, 'UTC'))"
    rows = client.rows(
        f"SELECT intDiv({micros} - {{origin:Int64}}, {{width:Int64}}) AS offload_window, "  # noqa: S608 - quoted
        f"count() AS offload_rows, toString({clickhouse_hash(scope.columns)}) AS offload_hash "
        f"FROM {quote_table(scope.table.source)} WHERE {condition} GROUP BY offload_window",
        {
            **values,
            "origin": str(to_micros(span.start)),
            "width": str(width // MICROSECOND),
        },
    )
    hashes = {int(row["offload_window"]): RowHash(int(row["offload_rows"]), int(row["offload_hash"])) for row in rows}
    return {window: hashes.get((window.start - span.start) // width, NO_ROWS) for window in windows}


def hot_rows(client: ClickHouse, scope: Scope, span: Interval) -> Rows:
    """The numbers of a span's rows. They are downloaded to a temporary file first."""
    import numpy as np

    condition, values = scope.hot_condition(span)
    query = (
        f"SELECT {clickhouse_row_number(scope.columns)}, "  # noqa: S608 - quoted
        f"{clickhouse_row_number(scope.key_columns)} "
        f"FROM {quote_table(scope.table.source)} WHERE {condition} FORMAT RowBinary"
    )
    with disk_errors("comparing rows in the temporary folder (TMPDIR)"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        client.download(query, values, {}, path)
        numbers = np.fromfile(path, "<u8").reshape(-1, 2)
    return Rows(numbers[:, 0].copy(), numbers[:, 1].copy())
