"""The notifications that were sent, by channel, in the ledger's table `offload_alerts`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from offload_core.ledger.alert_log import AlertLog
from offload_core.ledger.session import LedgerConnection
from offload_ops.alerts.model import Change, NotificationState, Topic


class NotificationLog:
    """The notifications of one pipeline, over one PostgreSQL session that the caller opens and closes.

    All methods raise LedgerUnavailable, FixCredentials, or RunInit if the table is missing.
    """

    def __init__(self, session: LedgerConnection, pipeline: str) -> None:
        self._log = AlertLog(session, pipeline)

    @contextmanager
    def locked(self, wait_seconds: float) -> Iterator[None]:
        """Keep other processes from sending notifications until the block ends.

        Raises:
            WaitForOtherRun: another process is still sending notifications.
        """
        with self._log.locked(wait_seconds):
            yield

    def states(self, channel: str) -> dict[str, NotificationState]:
        """What a channel has been sent about each table whose alert is not over."""
        states: dict[str, NotificationState] = {}
        for record in self._log.open(channel):
            before = states.get(record["table_name"], NotificationState())
            is_lag = record["topic"] == Topic.LAG.value
            states[record["table_name"]] = NotificationState(
                level=record["told"] if is_lag else before.level,
                issues=before.issues if is_lag else before.issues | {record["told"]},
                late_since=(before.late_since or record["late_since"]) if is_lag else before.late_since,
                notified_at=record["told_at"],
            )
        return states

    def record(self, channel: str, changes: Sequence[Change], now: datetime) -> None:
        """Record that a channel has been notified of these changes, all of them or none."""
        records = [
            {
                "table": change.state.name,
                "topic": change.topic.value,
                "told": change.key,
                "late_since": change.state.last_success,
                "told_at": now,
            }
            for change in changes
        ]
        self._log.append(channel, records)

    def delete_old(self, before: datetime) -> int:
        """Delete notifications older than a moment (zone-aware) whose alert is over. Returns how many."""
        return self._log.delete_old(before)
