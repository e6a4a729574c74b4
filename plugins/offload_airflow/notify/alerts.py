"""Notifies people about the tables.

The SLA callback, failed tasks and the freshness DAG all come here, so that none repeats what another has sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from offload_airflow.config.tables import load_settings, load_tables
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.hooks.connections import clickhouse_connection
from offload_airflow.hooks.ledger import LedgerHook
from offload_core.config.lag import LagLevel
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.errors import ClickHouseUnavailable, FixConfiguration, OffloadError
from offload_core.ledger.ledger import Ledger
from offload_core.protocol.window import Window
from offload_ops.alerts.model import Cycles, StateChanges
from offload_ops.table_state import Issue, TableState, read_states

if TYPE_CHECKING:
    from offload_ops.alerts.message import Alert
    from offload_ops.alerts.notification_log import NotificationLog

log = logging.getLogger(__name__)

CALLBACK_SECONDS = 40.0
"""How long a callback may take to notify.

The callback of a missed SLA runs in Airflow's DAG processor, which ends it after 50 seconds
(`[core] dag_file_processor_timeout`).
"""
_LOCK_SECONDS = 20.0
_STATEMENT_SECONDS = 10
_COUNT_SECONDS = 5.0
"""How long ClickHouse may take to count a table's waiting rows."""

Send = Callable[["Alert"], None]


class NotificationFailed(OffloadError):
    """A channel could not be notified. The others were; the next check sends what this one has missed."""

    kind = "alert"


def notify(
    now: datetime, failed: Mapping[str, Issue] | None = None, cycles: Callable[[], Cycles | None] | None = None
) -> list[TableState]:
    """Check every table, and send each channel what it has not been sent yet.

    A channel that can't be reached does not hold up the others. It gets what it has missed at the next check.

    Args:
        now: the current time (UTC).
        failed: issues of tables whose task has just used its last attempt, by name. The ledger may not have them.
        cycles: returns the state of the offload's DAG; default: as Airflow has it.

    Returns:
        The state of the tables.

    Raises:
        FixConfiguration: the Variables or Connections are wrong.
        LedgerUnavailable, RunInit, FixCredentials: the ledger can't be read, so the tables' state is unknown.
        WaitForOtherRun: another process is notifying and takes too long.
        NotificationFailed: a channel could not be notified.
    """
    from offload_ops.alerts.notification_log import NotificationLog

    settings = load_settings()
    with LedgerHook.from_settings(settings).open_connection("offload alerts") as session:
        session.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
        sent = NotificationLog(session, settings.pipeline_id)
        with sent.locked(_LOCK_SECONDS):
            states = read_states(Ledger(session, settings.pipeline_id), load_tables(), settings.lag_minutes, now)
            for state in states:
                is_calm = state.level in (None, LagLevel.NORMAL) and state.issue is None
                log.log(logging.INFO if is_calm else logging.WARNING, "%s", state.line())
            check = _LagCheck(settings, states, (cycles or offload_cycles)(), WaitingRows(settings, now), now)
            _notify_changes(check, sent, failed)
    return states


@dataclass(frozen=True)
class _LagCheck:
    """What one check has found, for the messages to all channels.

    Attributes:
        states: all configured tables.
        cycles: the state of the offload's DAG; None if Airflow can't be queried.
        waiting: counts the tables' waiting rows.
        now: when the check ran (UTC).
    """

    settings: Settings
    states: Sequence[TableState]
    cycles: Cycles | None
    waiting: WaitingRows
    now: datetime

    @property
    def is_cycle_running(self) -> bool:
        """Whether a cycle is in progress."""
        return self.cycles is not None and self.cycles.running_since is not None

    def alert(self, changes: StateChanges) -> Alert:
        """The message about what has changed for a channel."""
        from offload_ops.alerts.cause import likely_cause
        from offload_ops.alerts.message import AlertContext, compose

        causes = {change.state.name: likely_cause(change.state, self.cycles, self.now) for change in changes.late}
        # A scheduler has started the task that failed, so a scheduler that has stopped since is not the cause.
        causes |= {change.state.name: likely_cause(change.state, None, self.now) for change in changes.issues}
        affected = [change.state for change in (*changes.late, *changes.issues)]
        waiting = {state.name: self.waiting.count(state) for state in affected}
        context = AlertContext(self.settings.pipeline_id, self.states, self.settings.runbook_url, self.now)
        return compose(changes, causes, waiting, context)


def _notify_changes(check: _LagCheck, sent: NotificationLog, failed: Mapping[str, Issue] | None) -> None:
    from offload_ops.alerts.changes import state_changes

    failures: list[OffloadError] = []
    for channel, send in channels(check.settings).items():
        changes = state_changes(
            check.states, sent.states(channel), check.now, is_running=check.is_cycle_running, failed=failed
        )
        if not changes.all:
            continue
        failure = _send(channel, send, check.alert(changes)) if changes.needs_message else None
        if failure is None:
            sent.record(channel, changes.all, check.now)
        else:
            failures.append(failure)
    _require_sent(failures)


def channels(settings: Settings) -> dict[str, Send]:
    """The channels that the settings name: mail, Slack."""
    found: dict[str, Send] = {}
    if settings.alert_recipients or settings.page_recipients:
        found["mail"] = partial(_mail, settings)
    if settings.slack_conn_id:
        found["slack"] = partial(_slack, settings.slack_conn_id)
    return found


def notify_all(settings: Settings, alert: Alert) -> None:
    """Send every channel a message that is not about a table.

    Raises:
        NotificationFailed: a channel could not be notified.
    """
    failures = [_send(channel, send, alert) for channel, send in channels(settings).items()]
    _require_sent([failure for failure in failures if failure is not None])


def _send(channel: str, send: Send, alert: Alert) -> OffloadError | None:
    """Notify a channel. Returns the error if that failed, because the other channels come first."""
    try:
        send(alert)
    except OffloadError as error:
        log.error("Notification by %s failed: %s", channel, error)
        return error
    log.info("Notified by %s: %s", channel, alert.headline)
    return None


def _require_sent(failures: Sequence[OffloadError]) -> None:
    if failures:
        raise NotificationFailed(failures[0].problem, failures[0].remedy) from failures[0]


def _mail(settings: Settings, alert: Alert) -> None:
    from offload_airflow.compat.mail import send_mail

    to = settings.alert_recipients + (settings.page_recipients if alert.is_page else ())
    if to:
        send_mail(list(dict.fromkeys(to)), alert.subject, text=alert.text(), html=alert.html())


def _slack(conn_id: str, alert: Alert) -> None:
    from offload_airflow.hooks.slack import AlertSlackHook

    # The text begins with the headline, which Slack shows in bold.
    AlertSlackHook(conn_id).notify(alert.subject, alert.text().partition("\n")[2])


class WaitingRows:
    """Counts, once per table, the rows in ClickHouse that a run would move.

    Once ClickHouse can't be reached, it is not queried again.

    Args:
        settings: name the ClickHouse Connection.
        now: the current time (UTC).
    """

    def __init__(self, settings: Settings, now: datetime) -> None:
        self._settings = settings
        self._upper = now - timedelta(minutes=settings.buffer_minutes)
        self._known: dict[str, str] = {}
        self._is_unavailable = False

    def count(self, state: TableState) -> str:
        """The number of rows as text; `unknown` if they can't be counted."""
        if state.name not in self._known:
            self._known[state.name] = self._query(state)
        return self._known[state.name]

    def _query(self, state: TableState) -> str:
        from offload_core.source.clickhouse import ClickHouse
        from offload_core.source.row_counts import rows_in

        table = next((table for table in load_tables() if table.name == state.name), None)
        if self._is_unavailable or state.cursor is None or not isinstance(table, TableConfig):
            return "unknown"
        limits = {**self._settings.clickhouse_settings, "max_execution_time": _COUNT_SECONDS}
        try:
            connection = clickhouse_connection(self._settings)
            with closing(ClickHouse(connection, timeout_seconds=_COUNT_SECONDS, settings=limits)) as client:
                return f"{rows_in(client, table, Window(state.cursor, self._upper)):,}"
        except (ClickHouseUnavailable, FixConfiguration) as error:
            self._is_unavailable = True
            log.info("Waiting rows can't be counted: %s", error)
        except OffloadError as error:
            log.info("Waiting rows of %s can't be counted: %s", state.name, error)
        return "unknown"


def offload_cycles() -> Cycles | None:
    """The state of the offload's DAG in Airflow; None if Airflow can't be queried."""
    from offload_airflow.compat.health import dag_state, latest_runs, running_since, scheduler_state

    try:
        scheduler, dag, newest = scheduler_state(), dag_state(DAG_ID), latest_runs(DAG_ID, 1)
        return Cycles(
            dag_id=DAG_ID,
            scheduler_alive=scheduler.is_alive,
            heartbeat=scheduler.heartbeat,
            is_known=dag.is_known,
            is_paused=dag.is_paused,
            import_errors=dag.import_errors,
            running_since=running_since(DAG_ID),
            last_started=newest[0].started if newest else None,
        )
    except Exception:  # the alert matters more than its likely cause
        log.exception("The state of the DAG %s can't be read from Airflow.", DAG_ID)
        return None
