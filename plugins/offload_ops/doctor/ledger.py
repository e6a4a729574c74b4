"""The checks that read the ledger: each table's lag, and the failed attempts of the last hour."""

from __future__ import annotations

from datetime import timedelta

from offload_core.config.lag import LagLevel
from offload_core.ledger.rows import RowStatus
from offload_ops.doctor.context import CheckContext
from offload_ops.doctor.model import FAILURES, LAG, CheckResult, Health
from offload_ops.table_state import EXHAUSTED, Condition, TableState, read_states
from offload_ops.text import clock_seconds

_FAILURES_SPAN = timedelta(minutes=60)
_LAG_RULES: dict[LagLevel, tuple[Health, str | None]] = {
    LagLevel.NORMAL: (Health.GREEN, None),
    LagLevel.ELEVATED: (Health.YELLOW, "Check again in 15 minutes."),
    LagLevel.WARNING: (
        Health.YELLOW,
        "Find the cause: see the last cycles and failures below, and `offload history {name}`.",
    ),
    LagLevel.CRITICAL: (
        Health.RED,
        "Act now: if the scheduler is red, start it; otherwise see the failures below and trigger `iceberg_offload`.",
    ),
    LagLevel.SEVERE: (
        Health.RED,
        "Act now: clear the cause, then trigger `iceberg_offload`; one run catches up to now.",
    ),
    LagLevel.EMERGENCY: (
        Health.RED,
        "Escalate; clear the cause, then trigger `iceberg_offload`; one run catches up to now.",
    ),
}
"""What each level of the severity matrix means for a table that has been offloaded before, and what to do."""


def check_lag(context: CheckContext) -> list[CheckResult]:
    """Compare each table's lag with the severity matrix. A halted table is red whatever its lag."""
    with context.ledger() as ledger:
        states = read_states(ledger, context.tables, context.settings.lag_minutes, context.now)
    return [_lag_result(state) for state in states]


def _lag_result(state: TableState) -> CheckResult:
    check, level, issue = f"{LAG}: {state.name}", state.level, state.issue
    if state.condition is Condition.DISABLED:
        return CheckResult(check, Health.NEUTRAL, "Disabled in the configuration.")
    if issue is not None and state.condition is not Condition.FAILED:
        since = f" since {clock_seconds(issue.since)}" if issue.since else ""
        halted = f"Halted{since}: " if state.condition is Condition.HALTED else ""
        return CheckResult(check, Health.RED, f"{halted}{issue.message}", issue.remedy)
    if level is None or state.lag is None or state.last_success is None:
        health = Health.YELLOW if level in (LagLevel.NORMAL, LagLevel.ELEVATED) else Health.RED
        remedy = "See that the scheduler runs, or trigger `iceberg_offload`."
        return CheckResult(check, health, "Never offloaded yet.", remedy)
    health, remedy_template = _LAG_RULES[level]
    message = f"{level.value}: last offloaded {state.lag.total_seconds() / 60:.0f} min ago."
    return CheckResult(check, health, message, remedy_template.format(name=state.name) if remedy_template else None)


def check_failures(context: CheckContext) -> list[CheckResult]:
    """Report failed attempts of the last 60 minutes and the last error. Red while a table has failed a whole cycle."""
    with context.ledger() as ledger:
        failures, newest = ledger.failures_since(context.now - _FAILURES_SPAN), ledger.newest_rows()
    if not failures:
        return [CheckResult(FAILURES, Health.GREEN, "None in the last 60 minutes.")]
    last = failures[-1]
    message = (
        f"{len(failures)} in the last 60 minutes; the last one at {clock_seconds(last.created_at)}, "
        f"{last.table_name}: {last.last_error_message}"
    )
    failing = [newest[name] for name in dict.fromkeys(row.table_name for row in failures)]
    stuck = [row.table_name for row in failing if row.status is RowStatus.HALTED or row.failure_count >= EXHAUSTED]
    if stuck:
        remedy = f"Do what the error says; still failing: {', '.join(stuck)}."
        return [CheckResult(FAILURES, Health.RED, message, remedy)]
    return [CheckResult(FAILURES, Health.YELLOW, message, f"Watch it with `offload history {last.table_name}`.")]
