"""What was told to whom, in PostgreSQL: the table `offload_alerts`. Rows are only ever inserted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from offload_core.ledger.session import LedgerConnection, ledger_errors, table_lock
from offload_ops.alerts.model import OVER, Item, Told, Topic

_LOCK = "-alerts"
"""Locked like a table, under a name that no table can have."""
_OPEN = (
    "SELECT a.table_name, a.topic, a.told, a.late_since, a.told_at FROM offload_alerts a "
    "WHERE a.pipeline_id = %(pipeline)s AND a.channel = %(channel)s AND a.id > coalesce((SELECT max(o.id) FROM offload_alerts o "
    "WHERE o.pipeline_id = a.pipeline_id AND o.channel = a.channel AND o.table_name = a.table_name AND o.topic = a.topic "
    "AND o.told = %(over)s), 0) ORDER BY a.id"
)
_INSERT = (
    "INSERT INTO offload_alerts (pipeline_id, table_name, channel, topic, told, late_since, told_at) "
    "VALUES (%(pipeline)s, %(table)s, %(channel)s, %(topic)s, %(told)s, %(late_since)s, %(told_at)s)"
)
_FORGET = (
    "DELETE FROM offload_alerts a WHERE a.pipeline_id = %(pipeline)s AND a.told_at < %(before)s AND EXISTS ("
    "SELECT 1 FROM offload_alerts o WHERE o.pipeline_id = a.pipeline_id AND o.channel = a.channel "
    "AND o.table_name = a.table_name AND o.topic = a.topic AND o.told = %(over)s AND o.id >= a.id)"
)


class AlertMemory:
    """What the channels of one pipeline have been told, over one PostgreSQL session that the caller opens and closes.

    All methods raise LedgerUnavailable, FixCredentials, or RunInit where the table is missing.
    """

    def __init__(self, session: LedgerConnection, pipeline: str) -> None:
        self._session = session
        self._pipeline = pipeline

    @contextmanager
    def locked(self, wait_seconds: float) -> Iterator[None]:
        """Keep others from telling anything until the block ends.

        Raises:
            WaitForOtherRun: somebody else is still telling something.
        """
        with table_lock(self._session, self._pipeline, _LOCK, wait_seconds):
            yield

    def told(self, channel: str) -> dict[str, Told]:
        """What a channel has been told of each table that is not over."""
        values = {"pipeline": self._pipeline, "channel": channel, "over": OVER}
        with ledger_errors():
            records = self._session.execute(_OPEN, values).fetchall()
        found: dict[str, Told] = {}
        for record in records:
            before = found.get(record["table_name"], Told())
            is_lag = record["topic"] == Topic.LAG.value
            found[record["table_name"]] = Told(
                level=record["told"] if is_lag else before.level,
                problems=before.problems if is_lag else before.problems | {record["told"]},
                late_since=(before.late_since or record["late_since"]) if is_lag else before.late_since,
                told_at=record["told_at"],
            )
        return found

    def record(self, channel: str, items: Sequence[Item], now: datetime) -> None:
        """Remember that a channel has been told these, all of them or none."""
        with ledger_errors(), self._session.transaction(), self._session.cursor() as cursor:
            cursor.executemany(
                _INSERT,
                [
                    {
                        "pipeline": self._pipeline,
                        "table": item.state.name,
                        "channel": channel,
                        "topic": item.topic.value,
                        "told": item.told,
                        "late_since": item.state.last_success,
                        "told_at": now,
                    }
                    for item in items
                ],
            )

    def forget(self, before: datetime) -> int:
        """Delete what was told before a moment (zone-aware) and is over; how many rows that were."""
        values = {"pipeline": self._pipeline, "before": before, "over": OVER}
        with ledger_errors():
            return self._session.execute(_FORGET, values).rowcount
