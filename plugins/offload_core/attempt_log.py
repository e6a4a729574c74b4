"""The log line of one attempt at a table: `key=value` pairs that log collectors and `grep` can search."""

from __future__ import annotations

import json
import re
from datetime import datetime

_PLAIN = re.compile(r"[\w.:/+\-]+")


def attempt_line(
    table: str,
    run_id: str,
    attempt: int,
    outcome: str,
    *,
    window: tuple[datetime | None, datetime | None] = (None, None),
    rows: int | None = None,
    seconds: float | None = None,
) -> str:
    """`ATTEMPT table=… run_id=… attempt=1 outcome=success window_from=… window_to=… rows=120 seconds=3.5`.

    Args:
        table: the table's short name.
        run_id, attempt: those of Airflow, or of the command.
        outcome: `success`, `empty`, or the kind of the error.
        window: from (exclusive) and to (inclusive), UTC, of the last commit; what is not known is left out.
        rows: rows that were published.
        seconds: how long it took.
    """
    start, end = window
    values = {
        "table": table,
        "run_id": run_id,
        "attempt": attempt,
        "outcome": outcome,
        "window_from": start.isoformat() if start else None,
        "window_to": end.isoformat() if end else None,
        "rows": rows,
        "seconds": f"{seconds:.2f}" if seconds is not None else None,
    }
    return " ".join(["ATTEMPT", *(f"{key}={_value(value)}" for key, value in values.items() if value is not None)])


def _value(value: object) -> str:
    """The value as text, quoted if it holds anything that would end it: a run's id may be any text."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
