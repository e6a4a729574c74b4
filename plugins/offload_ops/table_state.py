"""What is known now of every configured table, from the ledger alone: how late it is, whether it stands, and why.

The lag is the time since the table was last offloaded with success (X7), never the age of its newest row: a quiet table and a daily candle
are not late. Until the first success it counts from the table's first ledger row, so that a first run that keeps failing is seen too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from offload_core.config.lag import LagLevel, LagMinutes, lag
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.errors import OffloadError, TableHalted, WatermarkNotFound, may_pass
from offload_core.ledger.ledger import Ledger, LedgerRow
from offload_core.protocol.window import Cursor

EXHAUSTED = 3
"""Failed attempts in a row that are one failed cycle (X18)."""


class Condition(str, Enum):
    """How a table stands, in the words that commands and mails use."""

    GOOD = "good"
    FAILED = "failed"
    HALTED = "halted"
    NO_WATERMARK = "no watermark"
    WRONG_ENTRY = "wrong entry"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Problem:
    """What keeps a table from being offloaded.

    Attributes:
        kind: the error's kind, as metrics count it.
        message: what is wrong, and where the ledger has it, what to do.
        remedy: what to do; None where the message says it.
        since: when it was recorded (UTC); None where no row says so.
        attempts: failed attempts in a row.
    """

    kind: str
    message: str
    remedy: str | None = None
    since: datetime | None = None
    attempts: int = 0

    @property
    def is_final(self) -> bool:
        """Whether a whole cycle has failed: all attempts are used up, or another one could not help."""
        return self.attempts >= EXHAUSTED or not may_pass(self.kind)


@dataclass(frozen=True)
class TableState:
    """One table, now.

    Attributes:
        name: the table's short name.
        condition: how it stands.
        bounds: of the lag's levels.
        row: its newest ledger row of any status; None before the first.
        lag: time since the last success, or since the first ledger row where there was none yet; None without a watermark.
        problem: why it stands or fails; None where it does neither.
    """

    name: str
    condition: Condition
    bounds: LagMinutes
    row: LedgerRow | None = None
    lag: timedelta | None = None
    problem: Problem | None = None

    @property
    def level(self) -> LagLevel | None:
        """The lag's place in the severity matrix (R85); None without a lag, and for a table that is switched off."""
        return None if self.lag is None or self.condition is Condition.DISABLED else self.bounds.level(self.lag)

    @property
    def last_success(self) -> datetime | None:
        """When it was last offloaded with success (UTC), an empty window included."""
        return self.row.last_successful_run if self.row else None

    @property
    def cursor(self) -> Cursor | None:
        """Its watermark."""
        return self.row.cursor if self.row else None

    @property
    def is_watched(self) -> bool:
        """Whether it shall be offloaded: a wrong entry is meant to be, a disabled table is not."""
        return self.condition is not Condition.DISABLED

    def line(self) -> str:
        """The state in one line, for logs."""
        if self.lag is None or self.level is None:
            return f"{self.name}: {self.problem.message if self.problem else self.condition.value}"
        minutes = f"lag {self.lag.total_seconds() / 60:.1f} minutes ({self.level.value})"
        when = (
            f"last offloaded {self.last_success.isoformat(sep=' ', timespec='seconds')}"
            if self.last_success
            else "never offloaded yet"
        )
        parts = [minutes, when, *([f"{self.condition.value}: {self.problem.message}"] if self.problem else [])]
        return f"{self.name}: {', '.join(parts)}"


def read_states(
    ledger: Ledger, tables: Sequence[TableConfig | InvalidTable], bounds: LagMinutes, now: datetime
) -> list[TableState]:
    """The state of every configured table, in their order.

    Args:
        ledger: the watermarks.
        tables: the configuration.
        bounds: the levels' bounds.
        now: the present (UTC).

    Raises:
        RunInit: there is no ledger.
        LedgerUnavailable: PostgreSQL can't be reached.
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
        halt: the row that says why it is halted.
        known_since: when its first ledger row was written (UTC).
        bounds: the levels' bounds.
        now: the present (UTC).
    """
    zero = (row.last_successful_run or known_since or row.created_at) if row else None
    late = lag(zero, now) if zero else None
    condition, problem = _condition(table, row, halt)
    return TableState(table.name, condition, bounds, row, late, problem)


def _condition(
    table: TableConfig | InvalidTable, row: LedgerRow | None, halt: LedgerRow | None
) -> tuple[Condition, Problem | None]:
    if isinstance(table, InvalidTable):
        error = table.error()
        return Condition.WRONG_ENTRY, Problem(error.kind, error.problem, error.remedy)
    condition, problem = _by_rows(table.name, row, halt)
    return condition if table.enabled else Condition.DISABLED, problem


def _by_rows(name: str, row: LedgerRow | None, halt: LedgerRow | None) -> tuple[Condition, Problem | None]:
    if row is None:
        missing = WatermarkNotFound(name)
        return Condition.NO_WATERMARK, Problem(missing.kind, missing.problem, "Run `offload init`.")
    if halt is not None:
        remedy = f"When the cause is dealt with, run `offload resume {name}`."
        return Condition.HALTED, _problem(halt, TableHalted.kind, remedy, row.failure_count)
    if row.status == "failed":
        remedy = f"The next run tries again; `offload history {name}` shows the attempts."
        return Condition.FAILED, _problem(row, OffloadError.kind, remedy, row.failure_count)
    return Condition.GOOD, None


def _problem(row: LedgerRow, kind: str, remedy: str, attempts: int) -> Problem:
    message = row.last_error_message or "No reason was recorded."
    return Problem(row.error_kind or kind, message, remedy, row.created_at, attempts)
