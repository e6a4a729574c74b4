"""The current state of every configured table, from the ledger alone: its lag, and why it is halted or failing.

The lag is the time since the table was last offloaded successfully, never the age of its newest row: a quiet table and
a daily candle are not late. Until the first success it counts from the table's first ledger row, so that a first run
that keeps failing becomes late too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from offload_core.config.lag import LagLevel, LagMinutes, lag
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.errors import OffloadError, TableHalted, WatermarkNotFound, may_pass
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow, RowStatus
from offload_core.protocol.window import Cursor
from offload_ops.text import clock_seconds

EXHAUSTED = 3
"""Failed attempts in a row that make a failed cycle: a task is attempted three times."""


class Condition(str, Enum):
    """The condition of a table, in the words of commands and mails."""

    OK = "good"
    FAILED = "failed"
    HALTED = "halted"
    NO_WATERMARK = "no watermark"
    WRONG_ENTRY = "wrong entry"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Issue:
    """What keeps a table from being offloaded.

    Attributes:
        kind: the kind of the error, as metrics count it.
        message: what is wrong; one that was read from the ledger may also say what to do.
        remedy: what to do; None if the message says it.
        since: when it was recorded (UTC); None if no ledger row records it.
        attempts: failed attempts in a row.
    """

    kind: str
    message: str
    remedy: str | None = None
    since: datetime | None = None
    attempts: int = 0

    @property
    def is_final(self) -> bool:
        """Whether a whole cycle has failed: all attempts are used up, or another attempt could not succeed."""
        return self.attempts >= EXHAUSTED or not may_pass(self.kind)


@dataclass(frozen=True)
class TableState:
    """One table, now.

    Attributes:
        name: the table's short name.
        condition: its condition.
        bounds: the bounds of the lag levels.
        row: its newest ledger row of any status; None before the first.
        lag: time since the last success, or since the first ledger row before the first success; None without a
            watermark.
        issue: what keeps it from being offloaded; None if nothing does.
    """

    name: str
    condition: Condition
    bounds: LagMinutes
    row: LedgerRow | None = None
    lag: timedelta | None = None
    issue: Issue | None = None

    @property
    def level(self) -> LagLevel | None:
        """The level of the lag in the severity matrix; None without a lag, and for a disabled table."""
        return None if self.lag is None or self.condition is Condition.DISABLED else self.bounds.level(self.lag)

    @property
    def last_success(self) -> datetime | None:
        """When it was last offloaded successfully (UTC); a run without new rows counts too."""
        return self.row.last_successful_run if self.row else None

    @property
    def cursor(self) -> Cursor | None:
        """Its watermark."""
        return self.row.cursor if self.row else None

    @property
    def is_watched(self) -> bool:
        """Whether the table should be offloaded. One with a wrong entry should, a disabled one should not."""
        return self.condition is not Condition.DISABLED

    def line(self) -> str:
        """The state in one line, for logs."""
        if self.lag is None or self.level is None:
            return f"{self.name}: {self.issue.message if self.issue else self.condition.value}"
        parts = [
            f"lag {self.lag.total_seconds() / 60:.1f} minutes ({self.level.value})",
            f"last offloaded {clock_seconds(self.last_success)} UTC" if self.last_success else "never offloaded yet",
        ]
        if self.issue:
            parts.append(f"{self.condition.value}: {self.issue.message}")
        return f"{self.name}: {', '.join(parts)}"


def read_states(
    ledger: Ledger, tables: Sequence[TableConfig | InvalidTable], bounds: LagMinutes, now: datetime
) -> list[TableState]:
    """The state of every configured table, in their order in the configuration.

    Args:
        ledger: the watermarks.
        tables: the configuration.
        bounds: the bounds of the lag levels.
        now: the present (UTC).

    Raises:
        RunInit: there is no ledger.
        LedgerUnavailable: PostgreSQL cannot be reached.
    """
    newest, halts, since = ledger.newest_rows(), ledger.halts(), ledger.known_since()
    return [
        table_state(table, newest.get(table.name), halts.get(table.name), since.get(table.name), bounds, now)
        for table in tables
    ]


def table_state(
    table: TableConfig | InvalidTable,
    row: LedgerRow | None,
    halt: LedgerRow | None,
    known_since: datetime | None,
    bounds: LagMinutes,
    now: datetime,
) -> TableState:
    """The state of one table.

    Args:
        table: its entry.
        row: its newest ledger row of any status.
        halt: the row with the reason of its halt; None if it is not halted.
        known_since: when its first ledger row was written (UTC).
        bounds: the bounds of the lag levels.
        now: the present (UTC).
    """
    lag_start = (row.last_successful_run or known_since or row.created_at) if row else None
    condition, issue = _condition(table, row, halt)
    return TableState(table.name, condition, bounds, row, lag(lag_start, now) if lag_start else None, issue)


def _condition(
    table: TableConfig | InvalidTable, row: LedgerRow | None, halt: LedgerRow | None
) -> tuple[Condition, Issue | None]:
    if isinstance(table, InvalidTable):
        error = table.error()
        return Condition.WRONG_ENTRY, Issue(error.kind, error.problem, error.remedy)
    condition, issue = _condition_by_rows(table.name, row, halt)
    return condition if table.enabled else Condition.DISABLED, issue


def _condition_by_rows(name: str, row: LedgerRow | None, halt: LedgerRow | None) -> tuple[Condition, Issue | None]:
    if row is None:
        missing = WatermarkNotFound(name)
        return Condition.NO_WATERMARK, Issue(missing.kind, missing.problem, "Run `offload init`.")
    if halt is not None:
        remedy = f"When the cause is dealt with, run `offload resume {name}`."
        return Condition.HALTED, _issue(halt, TableHalted.kind, remedy, row.failure_count)
    if row.status is RowStatus.FAILED:
        remedy = f"The next run tries again; `offload history {name}` shows the attempts."
        return Condition.FAILED, _issue(row, OffloadError.kind, remedy, row.failure_count)
    return Condition.OK, None


def _issue(row: LedgerRow, kind: str, remedy: str, attempts: int) -> Issue:
    message = row.last_error_message or "No reason was recorded."
    return Issue(row.error_kind or kind, message, remedy, row.created_at, attempts)
