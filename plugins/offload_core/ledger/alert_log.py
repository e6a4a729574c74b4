"""The notifications sent, in PostgreSQL (`offload_alerts`, append-only); `offload_ops.alerts` interprets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from offload_core.ledger.session import LedgerConnection, ledger_errors, table_lock

OVER = "over"
"""The column `told` of the row that ends an alert."""

_LOCK = "-alerts"
"""Locked like a table, under a name that no table can have."""
_OPEN = (
    "SELECT a.table_name, a.topic, a.told, a.late_since, a.told_at FROM offload_alerts a "
    "WHERE a.pipeline_id = %(pipeline)s AND a.channel = %(channel)s AND a.id > coalesce((SELECT max(o.id) "
    "FROM offload_alerts o WHERE o.pipeline_id = a.pipeline_id AND o.channel = a.channel "
    "AND o.table_name = a.table_name AND o.topic = a.topic AND o.told = %(over)s), 0) ORDER BY a.id"
)
_INSERT = (
    "INSERT INTO offload_alerts (pipeline_id, table_name, channel, topic, told, late_since, told_at) "
    "VALUES (%(pipeline)s, %(table)s, %(channel)s, %(topic)s, %(told)s, %(late_since)s, %(told_at)s)"
)
_DELETE_OLD = (
    "DELETE FROM offload_alerts a WHERE a.pipeline_id = %(pipeline)s AND a.told_at < %(before)s AND EXISTS ("
    "SELECT 1 FROM offload_alerts o WHERE o.pipeline_id = a.pipeline_id AND o.channel = a.channel "
    "AND o.table_name = a.table_name AND o.topic = a.topic AND o.told = %(over)s AND o.id >= a.id)"
)


class AlertLog:
    """The notifications of one pipeline, over one PostgreSQL session that the caller opens and closes.

    Every method raises LedgerUnavailable, FixCredentials, or RunInit where the table is missing.
    """

    def __init__(self, session: LedgerConnection, pipeline: str) -> None:
        self._session = session
        self._pipeline = pipeline

    @contextmanager
    def locked(self, wait_seconds: float) -> Iterator[None]:
        """Keep others from sending notifications until the block ends.

        Raises:
            WaitForOtherRun: somebody else is still sending.
        """
        with table_lock(self._session, self._pipeline, _LOCK, wait_seconds):
            yield

    def open(self, channel: str) -> list[dict[str, Any]]:
        """A channel's notifications that belong to alerts which are not over, oldest first.

        Each record has `table_name`, `topic`, `told`, `late_since` and `told_at`.
        """
        with ledger_errors():
            values = {"pipeline": self._pipeline, "channel": channel, "over": OVER}
            return self._session.execute(_OPEN, values).fetchall()

    def append(self, channel: str, records: Sequence[Mapping[str, object]]) -> None:
        """Add a channel's notifications, all or none; the records' keys are table, topic, told, late_since, told_at."""
        scope = {"pipeline": self._pipeline, "channel": channel}
        with ledger_errors(), self._session.transaction(), self._session.cursor() as cursor:
            cursor.executemany(_INSERT, [{**record, **scope} for record in records])

    def delete_old(self, before: datetime) -> int:
        """Delete notifications older than a moment (zone-aware) whose alert is over. Returns how many."""
        with ledger_errors():
            values = {"pipeline": self._pipeline, "before": before, "over": OVER}
            return self._session.execute(_DELETE_OLD, values).rowcount
