"""Telling people what has to be told: one way for the SLA's callback, failed tasks and the freshness DAG, so that none repeats another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from offload_airflow.compat.secrets import require_connection
from offload_airflow.config.tables import load_settings, load_tables
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.hooks.connections import clickhouse_connection, postgres_connection
from offload_core.config.lag import LagLevel
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.errors import ClickHouseUnavailable, FixConfiguration, OffloadError
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection, connect
from offload_core.protocol.window import Window
from offload_ops.alerts.model import Cycles, News
from offload_ops.table_state import Problem, TableState, read_states

if TYPE_CHECKING:
    from offload_ops.alerts.message import Alert

log = logging.getLogger(__name__)

_LOCK_SECONDS = 20.0
_STATEMENT_SECONDS = 10
_COUNT_SECONDS = 5.0
"""How long ClickHouse may take to count a table's waiting rows."""

Send = Callable[["Alert"], None]


class NotTold(OffloadError):
    """A channel could not be told; all others were, and what it missed, it is told the next time."""

    kind = "alert"


def tell(
    now: datetime, given_up: Mapping[str, Problem] | None = None, cycles: Callable[[], Cycles | None] | None = None
) -> list[TableState]:
    """Look at every table, and tell each channel what it has not been told yet.

    A channel that can't be reached does not hold up the others; what it could not be told, it is told the next time.

    Args:
        now: the present (UTC).
        given_up: problems of tables whose task has just failed for good, by name; the ledger may not know them.
        cycles: asks how the offload's DAG does; default: Airflow.

    Returns:
        How the tables are.

    Raises:
        FixConfiguration: the Variables or Connections are wrong.
        LedgerUnavailable, RunInit, FixCredentials: the ledger can't be read, so nothing can be told.
        WaitForOtherRun: somebody else is telling something and takes long.
        NotTold: a channel could not be told.
    """
    from offload_ops.alerts.state_file import AlertMemory

    settings = load_settings()
    with closing(
        connect(postgres_connection(require_connection(settings.postgres_conn_id)), "offload alerts")
    ) as session:
        session.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
        memory = AlertMemory(session, settings.pipeline_id)
        with memory.locked(_LOCK_SECONDS):
            states = read_states(Ledger(session, settings.pipeline_id), load_tables(), settings.lag_minutes, now)
            for state in states:
                is_calm = state.level in (None, LagLevel.NORMAL) and state.problem is None
                log.log(logging.INFO if is_calm else logging.WARNING, "%s", state.line())
            _tell_all(session, settings, states, now, given_up, (cycles or offload_cycles)())
    return states


def _tell_all(
    session: LedgerConnection,
    settings: Settings,
    states: list[TableState],
    now: datetime,
    given_up: Mapping[str, Problem] | None,
    cycles: Cycles | None,
) -> None:
    from offload_ops.alerts.changes import news
    from offload_ops.alerts.state_file import AlertMemory

    memory, waiting = AlertMemory(session, settings.pipeline_id), WaitingRows(settings, now)
    failure: OffloadError | None = None
    is_running = cycles is not None and cycles.running_since is not None
    for channel, send in channels(settings).items():
        found = news(states, memory.told(channel), now, is_running=is_running, given_up=given_up)
        if not found.items:
            continue
        try:
            if found.is_loud:
                alert = _alert(settings, found, states, cycles, waiting, now)
                send(alert)
                log.info("Told by %s: %s", channel, alert.headline)
        except OffloadError as error:
            log.error("Could not be told by %s: %s", channel, error)
            failure = failure or error
        else:
            memory.record(channel, found.items, now)
    if failure is not None:
        raise NotTold(failure.problem, failure.remedy) from failure


def channels(settings: Settings) -> dict[str, Send]:
    """The ways to tell people that the settings name: by mail, by Slack."""
    found: dict[str, Send] = {}
    if settings.alert_recipients or settings.page_recipients:
        found["mail"] = partial(_mail, settings)
    if settings.slack_conn_id:
        found["slack"] = partial(_slack, settings.slack_conn_id)
    return found


def tell_every_channel(settings: Settings, alert: Alert) -> None:
    """Send a message that is about no table.

    Raises:
        NotTold: a channel could not be told.
    """
    failure: OffloadError | None = None
    for channel, send in channels(settings).items():
        try:
            send(alert)
        except OffloadError as error:
            log.error("Could not be told by %s: %s", channel, error)
            failure = failure or error
    if failure is not None:
        raise NotTold(failure.problem, failure.remedy) from failure


def _mail(settings: Settings, alert: Alert) -> None:
    from offload_airflow.compat.mail import send_mail

    to = settings.alert_recipients + (settings.page_recipients if alert.is_page else ())
    if to:
        send_mail(list(dict.fromkeys(to)), alert.subject, text=alert.text(), html=alert.html())


def _slack(conn_id: str, alert: Alert) -> None:
    from offload_airflow.hooks.slack import AlertSlackHook

    AlertSlackHook(conn_id).tell(alert.subject, alert.text().partition("\n")[2])


def _alert(
    settings: Settings,
    found: News,
    states: Sequence[TableState],
    cycles: Cycles | None,
    waiting: WaitingRows,
    now: datetime,
) -> Alert:
    from offload_ops.alerts.cause import likely_cause
    from offload_ops.alerts.message import compose

    concerned = [item.state for item in (*found.late, *found.problems)]
    causes = {item.state.name: likely_cause(item.state, cycles, now) for item in found.late}
    # What has just failed is not to be explained by a scheduler that has gone to sleep since.
    causes |= {item.state.name: likely_cause(item.state, None, now) for item in found.problems}
    return compose(
        settings.pipeline_id,
        found,
        states,
        causes,
        {state.name: waiting.of(state) for state in concerned},
        settings.runbook_url,
        now,
    )


class WaitingRows:
    """Counts, once per table, the rows in ClickHouse that a run would move; after ClickHouse failed to answer once, it is left alone.

    Args:
        settings: which ClickHouse.
        now: the present (UTC).
    """

    def __init__(self, settings: Settings, now: datetime) -> None:
        self._settings = settings
        self._upper = now - timedelta(minutes=settings.buffer_minutes)
        self._known: dict[str, str] = {}
        self._is_away = False

    def of(self, state: TableState) -> str:
        """The number in words; `unknown` where it can't be told."""
        if state.name not in self._known:
            self._known[state.name] = self._count(state)
        return self._known[state.name]

    def _count(self, state: TableState) -> str:
        from offload_core.source.clickhouse import ClickHouse
        from offload_core.source.row_counts import rows_in

        table = next((table for table in load_tables() if table.name == state.name), None)
        if self._is_away or state.cursor is None or not isinstance(table, TableConfig):
            return "unknown"
        limits = {**self._settings.clickhouse_settings, "max_execution_time": _COUNT_SECONDS}
        try:
            connection = clickhouse_connection(self._settings)
            with closing(ClickHouse(connection, timeout_seconds=_COUNT_SECONDS, settings=limits)) as client:
                return f"{rows_in(client, table, Window(state.cursor, self._upper)):,}"
        except (ClickHouseUnavailable, FixConfiguration) as error:
            self._is_away = True
            log.info("Waiting rows can't be counted: %s", error)
        except OffloadError as error:
            log.info("Waiting rows of %s can't be counted: %s", state.name, error)
        return "unknown"


def offload_cycles() -> Cycles | None:
    """How the offload's DAG does, from Airflow's database; None if that can't be asked."""
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
        log.exception("Airflow can't be asked how the DAG %s does.", DAG_ID)
        return None
