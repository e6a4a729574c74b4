"""The actions of the page. Each is confirmed first, and then uses the same functions as the command line."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from offload_airflow.compat.dag_runs import DagRuns
from offload_airflow.compat.secrets import require_connection
from offload_airflow.config.tables import find_table, load_settings
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.hooks.connections import clickhouse_connection, iceberg_connection
from offload_airflow.hooks.ledger import LedgerHook
from offload_airflow.requests.run import read_request
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.errors import FixConfiguration
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import ORIGIN
from offload_core.source.clickhouse import ClickHouse
from offload_ops.resume import not_halted, resume_table, review_halt
from offload_ops.status_page.model import Action, Field, Question

_SESSION = "offload page"
"""The name of the page's sessions in `pg_stat_activity`."""
_CLICKHOUSE_SECONDS = 10.0
"""How long ClickHouse may take to count the rows that are shown before a table is resumed."""
_FORM_TIME = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True)
class ActionResult:
    """The result of an action: a sentence, and the run that was triggered, if any."""

    text: str
    run_id: str | None = None


def require_table(name: str) -> TableConfig:
    """The table, if an action is possible on it.

    Raises:
        FixConfiguration: it is unknown, switched off, or its entry is wrong.
    """
    table = find_table(name)
    if table is None:
        raise FixConfiguration(f"There is no table {name} that is switched on.", "Choose one from the page.")
    return table


def confirm(action: Action, table: TableConfig, form: Mapping[str, str], post: str, back: str) -> Question:
    """The question before an action.

    Args:
        action: the requested action.
        table: the table.
        form: the fields of the form, if it is shown again because of an error.
        post: the address that the form is sent to.
        back: the address of the page.

    Raises:
        OffloadError: the action is not possible now, or a server that it needs can't be reached.
    """
    settings = load_settings()
    if action is Action.RESUME:
        return _confirm_resume(table, settings, post, back)
    paused = ["The DAG is paused: the run waits until somebody unpauses it."] if DagRuns(DAG_ID).is_paused else []
    if action is Action.RUN:
        lines = [
            f"This triggers a run of `{DAG_ID}` that offloads only {table.name}: all rows past its watermark.",
            "If another run is working on the table, this one waits for it. No row is offloaded twice.",
        ]
        return Question(f"Run {table.name} now?", [*lines, *paused], "Run now", post, back, _hidden())
    lines = [
        f"This triggers a run of `{DAG_ID}` that compares both tiers of {table.name} in this interval, by count and "
        "hash, and changes nothing. It fails if they differ.",
        *paused,
    ]
    start, end = _suggested_interval(table, settings)
    until = "Exclusive. Rows past the watermark are left out."
    fields = (
        Field("from", "From (UTC)", "datetime-local", form.get("from") or start, "In the rows' own time, inclusive."),
        Field("to", "To (UTC)", "datetime-local", form.get("to") or end, until),
    )
    return Question(f"Verify {table.name}?", lines, "Verify", post, back, _hidden(), fields)


def execute(action: Action, table: TableConfig, form: Mapping[str, str]) -> ActionResult:
    """Execute a confirmed action.

    Args:
        action: the action.
        table: the table.
        form: the fields of the form.

    Raises:
        OffloadError: the action failed; the message says what to do.
    """
    if action is Action.RESUME:
        return _resume(table, form)
    conf: dict[str, object] = {"tables": [table.name]}
    if action is Action.VERIFY:
        conf |= {"mode": RunMode.VERIFY.value, **{name: _in_utc(form.get(name, ""), name) for name in ("from", "to")}}
        read_request(conf)
    run_id = DagRuns(DAG_ID).trigger(conf)
    return ActionResult(f"{table.name}: {'verifying' if action is Action.VERIFY else 'a run'} was triggered.", run_id)


def _hidden() -> tuple[tuple[str, str], ...]:
    # Airflow's audit log files the action under the DAG that the form names.
    return (("dag_id", DAG_ID),)


def _suggested_interval(table: TableConfig, settings: Settings) -> tuple[str, str]:
    """The hours before the watermark, as many as the audit compares."""
    with LedgerHook.from_settings(settings).open(_SESSION) as ledger:
        cursor = ledger.cursor(table.name)
    end = cursor.timestamp if cursor != ORIGIN else datetime.now(timezone.utc)
    end = end.replace(minute=0, second=0, microsecond=0)
    return (end - timedelta(hours=settings.audit_hours)).strftime(_FORM_TIME), end.strftime(_FORM_TIME)


def _in_utc(text: str, name: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FixConfiguration(f"`{name}` is not a time: {text or 'it is empty'}.", "Choose a time.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).isoformat()


def _confirm_resume(table: TableConfig, settings: Settings, post: str, back: str) -> Question:
    iceberg = iceberg_connection(require_connection(settings.iceberg_conn_id))
    client = ClickHouse.from_settings(clickhouse_connection(settings), settings, timeout_seconds=_CLICKHOUSE_SECONDS)
    with LedgerHook.from_settings(settings).open(_SESSION) as ledger, closing(client):
        review = review_halt(ledger, client, iceberg, table)
    if review is None:
        raise FixConfiguration(not_halted(table.name), "Check the page again.")
    return Question(
        title=f"Resume {table.name}?",
        lines=[review.headline, review.reason, review.accepts, *review.counts, review.question],
        button=f"Resume {table.name}",
        post=post,
        back=back,
        hidden=(*_hidden(), ("cause", str(review.cause.id))),
    )


def _resume(table: TableConfig, form: Mapping[str, str]) -> ActionResult:
    cause = form.get("cause", "")
    if not cause.isdecimal():
        raise FixConfiguration("The form does not say which halt it is about.", "Open it again from the page.")
    with LedgerHook.from_settings(load_settings()).open(_SESSION) as ledger:
        row = resume_table(ledger, table.name, int(cause))
    return ActionResult(f"{table.name}: resumes from {row.cursor}.")
