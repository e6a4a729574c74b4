"""The output of the commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from rich import box
from rich.console import Console as RichConsole
from rich.markup import escape
from rich.table import Table

from offload_core.ledger.rows import LedgerRow
from offload_ops.doctor.model import CheckResult, Health
from offload_ops.table_state import Condition, TableState
from offload_ops.text import clock_seconds
from offload_ops.tiers.verify import Verdict

Fields = dict[str, "str | int | float | bool | datetime | None"]


def status_fields(state: TableState) -> Fields:
    """The state of a table. It has a lag once it has been offloaded."""
    row, problem = state.row, state.issue
    late = state.lag if state.last_success else None
    return {
        "table": state.name,
        "state": row.status if row and state.condition is Condition.OK else state.condition.value,
        "watermark": row.cursor.timestamp if row else None,
        "last_success": state.last_success,
        "lag_minutes": round(late.total_seconds() / 60, 1) if late is not None else None,
        "lag_level": state.bounds.level(late).value if late is not None else None,
        "failures": row.failure_count if row else None,
        "error": problem.message if problem else None,
        "next_step": problem.remedy if problem else None,
    }


def result_fields(result: CheckResult) -> Fields:
    """One result of the health check."""
    return {
        "check": result.check,
        "state": result.health.value,
        "finding": result.message,
        "what_to_do": result.remedy,
        "seconds": result.seconds,
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
        "from": verdict.start if verdict.interval is None else verdict.interval.start,
        "to": None if verdict.interval is None else verdict.interval.end,
        "watermark": verdict.watermark.timestamp,
        "hot_rows": verdict.hot.rows,
        "cold_rows": verdict.cold.rows,
        "hot_hash": f"{verdict.hot.hash:016x}",
        "cold_hash": f"{verdict.cold.hash:016x}",
        "verdict": "equal" if verdict.equal else "DIFFERENT",
    }


def print_json(value: Fields | Sequence[Fields]) -> None:
    """Print a result, or a list of results, as JSON. Times are ISO 8601, UTC."""
    print(json.dumps(value, indent=2, default=lambda moment: moment.isoformat()))


def print_rows(
    rows: Sequence[Fields], as_json: bool, title: str, columns: Sequence[str], notes: Sequence[str] = ("error",)
) -> None:
    """Print rows.

    Args:
        rows: the rows; times are UTC.
        as_json: print all fields as JSON instead of a table.
        title: the title of the table.
        columns: the fields that are columns of the table.
        notes: the fields that are printed as lines below the table, if a row has them.
    """
    if as_json:
        print_json(rows)
        return
    table = Table(title=f"{title} (times in UTC)", box=box.SIMPLE_HEAD, title_justify="left")
    for name in columns:
        numbers = bool(rows) and isinstance(rows[0][name], int | float)
        table.add_column(name.replace("_", " "), no_wrap=True, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(escape(_text(row[name])) for name in columns))
    console = _console()
    console.print(table)
    for row in rows:
        for number, note in enumerate(notes):
            if row.get(note):
                style = "red" if number == 0 else None
                console.print(f"{_text(next(iter(row.values())))}: {row[note]}", style=style, markup=False)


_STYLES = {
    Health.GREEN.value: "green",
    Health.YELLOW.value: "yellow",
    Health.RED.value: "bold red",
    Health.NEUTRAL.value: "dim",
}


def print_results(rows: Sequence[Fields], as_json: bool) -> None:
    """Print the health check as JSON, or as a table that shows the state in words, not only in colors."""
    if as_json:
        print_json(rows)
        return
    table = Table(title="Health of the offload", box=box.SIMPLE_HEAD, title_justify="left")
    for name, wraps in (("check", False), ("state", False), ("finding", True)):
        table.add_column(name, no_wrap=not wraps, overflow="fold")
    for row in _grouped(rows):
        text = _text(row["finding"])
        if row["what_to_do"]:
            text = f"{text}\n→ {_text(row['what_to_do'])}"
        state = _text(row["state"])
        table.add_row(escape(_text(row["check"])), state, escape(text), style=_STYLES.get(state))
    _console().print(table)


def _grouped(rows: Sequence[Fields]) -> list[Fields]:
    """Merge equal results of several tables into one line: `3 lag: 9 tables`."""

    def text_of(row: Fields) -> tuple[object, ...]:
        return _text(row["check"]).partition(":")[0], row["state"], row["finding"], row["what_to_do"]

    lines: list[Fields] = []
    for text, group in groupby(rows, text_of):
        same = list(group)
        lines.append(same[0] if len(same) == 1 else {**same[0], "check": f"{text[0]}: {len(same)} tables"})
    return lines


def _console() -> RichConsole:
    return RichConsole(width=max(RichConsole().width, 110))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return clock_seconds(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
