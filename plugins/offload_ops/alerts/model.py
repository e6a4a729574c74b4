"""What an alert is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from offload_ops.table_state import TableState


class Topic(str, Enum):
    """A table's lag and its problem are told each for itself."""

    LAG = "lag"
    PROBLEM = "problem"


OVER = "over"
"""What is remembered as told when an alert is over."""


@dataclass(frozen=True)
class Told:
    """What one channel has been told of one table since its last alert was over.

    Attributes:
        level: the lag's level that was told last; None: none.
        problems: the problems that were told.
        late_since: when the table had last been offloaded, when its lag was told first (UTC); None: never, or no lag was told.
        told_at: when it was told last (UTC).
    """

    level: str | None = None
    problems: frozenset[str] = frozenset()
    late_since: datetime | None = None
    told_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is something that is not over."""
        return self.level is not None or bool(self.problems)


@dataclass(frozen=True)
class Item:
    """One thing to tell of one table.

    Attributes:
        state: the table.
        topic: what it is about.
        told: what is remembered: a level, a problem, or `OVER`.
        before: what had been told until now.
        is_loud: whether it needs a message; what another table's message says already is only remembered.
        is_ahead: whether the table is on the point of crossing a level that others have crossed.
    """

    state: TableState
    topic: Topic
    told: str
    before: Told
    is_loud: bool = True
    is_ahead: bool = False


@dataclass(frozen=True)
class News:
    """All that one channel is to be told now."""

    late: Sequence[Item] = ()
    problems: Sequence[Item] = ()
    over: Sequence[Item] = ()

    @property
    def items(self) -> list[Item]:
        """All of it, the worst first."""
        return [*self.problems, *self.late, *self.over]

    @property
    def is_loud(self) -> bool:
        """Whether any of it needs a message."""
        return any(item.is_loud for item in self.items)


@dataclass(frozen=True)
class Cycles:
    """How the offload's DAG does, as Airflow has it; None as a whole where Airflow can't be asked. Times are UTC.

    Attributes:
        dag_id: the DAG.
        scheduler_alive: whether a scheduler gave a sign of life lately.
        heartbeat: its last one.
        is_known, is_paused: whether Airflow has the DAG, and has it switched off.
        import_errors: why its file could not be imported.
        running_since: when the oldest run began that is still at work.
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


Memory = Mapping[str, Told]
"""What one channel has been told, by table."""
