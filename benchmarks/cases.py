"""The cases: what is measured, and on which routes."""

from __future__ import annotations

from benchmarks.audit_cases import audit_1h_10m, audit_9_clean
from benchmarks.cycle_cases import empty_cycle, full_cycle
from benchmarks.increment_cases import SIZES, increments
from benchmarks.maintenance_cases import compaction, recovery
from benchmarks.plan import Case
from benchmarks.routes import INCREMENT_ROUTES, ROUTES
from benchmarks.window_cases import WINDOWS, both_bronze, windows

_ALL = tuple(ROUTES)
_OURS = ("ours",)

_CASES = (
    Case(
        "bronze-2x100k",
        "two bronze tables at once, 100,000 new rows each: the Spark part of a cycle",
        tuple(INCREMENT_ROUTES),
        both_bronze,
    ),
    Case("cycle-9", "a whole Airflow cycle of nine tables, 100,000 new rows in each bronze table", _OURS, full_cycle),
    Case("cycle-9-empty", "a whole Airflow cycle of nine tables with nothing new", _OURS, empty_cycle),
    *(
        Case(name, f"{rows:,} rows of one bronze table into an empty table", _ALL, windows)
        for name, rows in WINDOWS.items()
    ),
    *(
        Case(
            name,
            f"100,000 new rows into a table of {rows:,} rows" if rows else "100,000 rows into an empty table",
            _OURS,
            increments,
        )
        for name, rows in SIZES.items()
    ),
    Case(
        "recovery-100k",
        "the run after one that died between publishing and recording 100,000 rows",
        _OURS,
        recovery,
    ),
    Case("compaction", "the maintenance of a table with a day of 96 commits of 100,000 rows", _OURS, compaction),
    Case(
        "audit-1h-10m", "an hour of 10 million rows of one table, both tiers compared row by row", _OURS, audit_1h_10m
    ),
    Case(
        "audit-9-clean",
        "the hourly audit of all nine tables at everyday volume, with nothing wrong",
        _OURS,
        audit_9_clean,
    ),
)
CASES = {case.name: case for case in _CASES}
