"""The data of alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from offload_ops.table_state import TableState


class Topic(str, Enum):
    """A notification is about a table's lag or about its issue; each has a history of its own."""

    LAG = "lag"
    ISSUE = "problem"


@dataclass(frozen=True)
class NotificationState:
    """What one channel has been sent about one table since its last alert was over.

    Attributes:
        level: the level of lag that was sent last; None: none.
        issues: the issues that were sent.
        late_since: last success before the first notification about its lag (UTC); None without either.
        notified_at: when the last notification was sent (UTC).
    """

    level: str | None = None
    issues: frozenset[str] = frozenset()
    late_since: datetime | None = None
    notified_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether something that was sent is not over."""
        return self.level is not None or bool(self.issues)

    @property
    def has_halt(self) -> bool:
        """Whether one of the issues is a halt."""
        return any(issue.startswith("halted ") for issue in self.issues)


@dataclass(frozen=True)
class Change:
    """A change of one table since the last notification.

    Attributes:
        state: the table.
        topic: what it is about.
        key: what the log of notifications records: a level, an issue's key, or `alert_log.OVER`.
        before: what has been sent so far.
        needs_message: whether it needs a message; what another table's message already says is only recorded.
        is_upcoming: whether the table is about to cross a level that others have crossed.
    """

    state: TableState
    topic: Topic
    key: str
    before: NotificationState
    needs_message: bool = True
    is_upcoming: bool = False


@dataclass(frozen=True)
class StateChanges:
    """All that one channel has to be notified of now."""

    late: Sequence[Change] = ()
    issues: Sequence[Change] = ()
    over: Sequence[Change] = ()

    @property
    def all(self) -> list[Change]:
        """All changes, the worst first."""
        return [*self.issues, *self.late, *self.over]

    @property
    def needs_message(self) -> bool:
        """Whether any of them needs a message."""
        return any(change.needs_message for change in self.all)

    @property
    def is_over(self) -> bool:
        """Whether nothing new is wrong: all changes are ends of alerts."""
        return not self.late and not self.issues


@dataclass(frozen=True)
class Cycles:
    """The state of the offload's DAG according to Airflow; times are UTC. Callers use None if Airflow can't be queried.

    Attributes:
        dag_id: the DAG.
        scheduler_alive: whether a scheduler has a recent heartbeat.
        heartbeat: the newest one.
        is_known, is_paused: whether Airflow has the DAG, and whether it is paused.
        import_errors: why its file could not be imported.
        running_since: when the oldest run in progress began.
        last_started: when the newest run began.
    """

    dag_id: str
    scheduler_alive: bool = True
    heartbeat: datetime | None = None
    is_known: bool = True
    is_paused: bool = False
    import_errors: Sequence[str] = field(default_factory=list)
    running_since: datetime | None = None
    last_started: datetime | None = None


NotificationStates = Mapping[str, NotificationState]
"""What one channel has been sent, by table."""
