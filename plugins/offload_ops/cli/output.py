"""How the operator's command shows its results: as a table for people, as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offload_core.ledger.ledger import LedgerRow
from offload_ops.doctor.model import Finding, Health
from offload_ops.table_state import Condition, TableState
from offload_ops.tiers.verify import Verdict

Fields = dict[str, "str | int | float | bool | datetime | None"]


def status_fields(state: TableState) -> Fields:
    """A table's state; a lag is that of a table that has been offloaded before."""
    row, problem = state.row, state.problem
    late = state.lag if state.last_success else None
    return {
        "table": state.name,
        "state": row.status if row and state.condition is Condition.GOOD else state.condition.value,
        "watermark": row.cursor.timestamp if row else None,
        "last_success": state.last_success,
        "lag_minutes": round(late.total_seconds() / 60, 1) if late is not None else None,
        "lag_level": state.bounds.level(late).value if late is not None else None,
        "failures": row.failure_count if row else None,
        "error": problem.message if problem else None,
        "next_step": problem.remedy if problem else None,
    }


def finding_fields(finding: Finding) -> Fields:
    """One line of the health check."""
    return {
        "check": finding.check,
        "state": finding.health.value,
        "finding": finding.finding,
        "what_to_do": finding.remedy,
        "seconds": finding.seconds,
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
    """Print a result, or a list of them; times in ISO 8601, UTC."""
    print(json.dumps(value, indent=2, default=lambda moment: moment.isoformat()))


def print_rows(
    rows: Sequence[Fields], as_json: bool, title: str, columns: Sequence[str], notes: Sequence[str] = ("error",)
) -> None:
    """Print all fields as JSON, or `columns` as a table, and below it a line for each of the `notes` that a row has; times are UTC."""
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


def print_findings(rows: Sequence[Fields], as_json: bool) -> None:
    """Print the health check as JSON, or as a table in which words, not only colours, tell the state."""
    if as_json:
        print_json(rows)
        return
    table = Table(title="Health of the offload", box=box.SIMPLE_HEAD, title_justify="left")
    for name, wraps in (("check", False), ("state", False), ("finding", True)):
        table.add_column(name, no_wrap=not wraps, overflow="fold")
    for row in _grouped(rows):
        found = _text(row["finding"])
        if row["what_to_do"]:
            found = f"{found}\n→ {_text(row['what_to_do'])}"
        state = _text(row["state"])
        table.add_row(escape(_text(row["check"])), state, escape(found), style=_STYLES.get(state))
    _console().print(table)


def _grouped(rows: Sequence[Fields]) -> list[Fields]:
    """Findings that say the same of several tables become one line: `3 lag: 9 tables`."""

    def what_is_said(row: Fields) -> tuple[object, ...]:
        return _text(row["check"]).partition(":")[0], row["state"], row["finding"], row["what_to_do"]

    lines: list[Fields] = []
    for said, group in groupby(rows, what_is_said):
        same = list(group)
        lines.append(same[0] if len(same) == 1 else {**same[0], "check": f"{said[0]}: {len(same)} tables"})
    return lines


def _console() -> Console:
    return Console(width=max(Console().width, 110))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:,}" if isinstance(value, int) else str(value)
