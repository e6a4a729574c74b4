"""How the operator's command shows its results: as a table for people, as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offload_core.ledger import LedgerRow
from offload_core.verify import Verdict

Fields = dict[str, "str | int | float | datetime | None"]


def status_fields(name: str, row: LedgerRow | None) -> Fields:
    """A table's state by its newest ledger row; the lag is in minutes since the last success."""
    success = row.last_successful_run if row else None
    return {
        "table": name,
        "state": row.status if row else "no watermark",
        "watermark": row.cursor.timestamp if row else None,
        "last_success": success,
        "lag_minutes": round((datetime.now(timezone.utc) - success).total_seconds() / 60, 1) if success else None,
        "failures": row.failure_count if row else None,
        "error": row.last_error_message if row else None,
    }


def history_fields(row: LedgerRow) -> Fields:
    """One ledger row."""
    return {
        "id": row.id,
        "created_at": row.created_at,
        "status": row.status,
        "kind": row.kind,
        "watermark": row.cursor.timestamp,
        "sequence": row.cursor.sequence,
        "rows": row.row_count,
        "snapshot": row.snapshot_id,
        "window_upper": row.window_upper,
        "seconds": row.last_run_duration_seconds,
        "run": row.run_id,
        "attempt": row.attempt,
        "error": row.last_error_message,
    }


def verdict_fields(verdict: Verdict) -> Fields:
    """One comparison of hot and cold tier."""
    return {
        "table": verdict.table,
        "from": verdict.start,
        "watermark": verdict.watermark.timestamp,
        "hot_rows": verdict.hot.rows,
        "cold_rows": verdict.cold.rows,
        "hot_hash": f"{verdict.hot.hash:016x}",
        "cold_hash": f"{verdict.cold.hash:016x}",
        "verdict": "equal" if verdict.equal else "DIFFERENT",
    }


def print_rows(rows: Sequence[Fields], as_json: bool, title: str, columns: Sequence[str]) -> None:
    """Print all fields as JSON, or these columns as a table; times are UTC."""
    if as_json:
        print(json.dumps(rows, indent=2, default=lambda moment: moment.isoformat()))
        return
    table = Table(title=f"{title} (times in UTC)", box=box.SIMPLE_HEAD, title_justify="left")
    for name in columns:
        numbers = bool(rows) and isinstance(rows[0][name], int | float)
        table.add_column(name.replace("_", " "), no_wrap=True, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(escape(_text(row[name])) for name in columns))
    console = Console(width=max(Console().width, 100))
    console.print(table)
    for row in rows:
        if row.get("error"):
            console.print(f"{_text(next(iter(row.values())))}: {row['error']}", style="red", markup=False)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:,}" if isinstance(value, int) else str(value)
