"""What an operator does from the page: each action is asked about, and then done by the same functions as on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from offload_airflow.compat.dag_runs import DagRuns
from offload_airflow.compat.secrets import require_connection
from offload_airflow.config.tables import find_table, load_settings
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.hooks.connections import clickhouse_connection, iceberg_connection, postgres_connection
from offload_airflow.requests.run import read_request
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from offload_core.errors import FixConfiguration
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import ORIGIN
from offload_core.source.clickhouse import ClickHouse
from offload_ops.resume import find_stop, let_go_on, not_stopped
from offload_ops.status_page.model import Action, Field, Question, Tone

_CLICKHOUSE_SECONDS = 10.0
"""How long ClickHouse may take to count the rows that are told before a table goes on."""
_FORM_TIME = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True)
class Result:
    """What was done: in a sentence, and the run that it started."""

    text: str
    run_id: str | None = None


def require_table(name: str) -> TableConfig:
    """The table, if it is one that can be worked on.

    Raises:
        FixConfiguration: it is unknown, switched off, or its entry is wrong.
    """
    table = find_table(name)
    if table is None:
        raise FixConfiguration(f"There is no table {name} that is switched on.", "Choose one from the page.")
    return table


def ask(action: Action, table: TableConfig, sent: Mapping[str, str], post: str, back: str) -> Question:
    """The question before an action.

    Args:
        action: what is asked for.
        table: which table.
        sent: the form's fields, if it comes back with an error.
        post, back: where the form goes, and where to without it.

    Raises:
        OffloadError: it makes no sense now, or a server that it needs can't be reached.
    """
    settings = load_settings()
    if action is Action.RESUME:
        return _ask_resume(table, settings, post, back)
    paused = ["The DAG is paused: the run waits until somebody switches it on."] if DagRuns(DAG_ID).is_paused else []
    if action is Action.RUN:
        lines = [
            f"A run of `{DAG_ID}` starts that offloads only {table.name}: all that is new since its watermark.",
            "If another run is at work on the table, this one waits for it; no row is offloaded twice.",
        ]
        return Question(f"Run {table.name} now?", [*lines, *paused], "Run now", post, back, _hidden())
    lines = [
        f"A run of `{DAG_ID}` compares both tiers of {table.name} in this interval, by count and hash, and changes nothing. "
        "It fails if they differ.",
        *paused,
    ]
    start, end = _suggested(table, settings)
    fields = (
        Field("from", "From (UTC)", "datetime-local", sent.get("from") or start, "In the rows' own time, inclusive."),
        Field(
            "to",
            "To (UTC)",
            "datetime-local",
            sent.get("to") or end,
            "Exclusive. What lies past the watermark is left out.",
        ),
    )
    return Question(f"Verify {table.name}?", lines, "Verify", post, back, _hidden(), fields)


def do(action: Action, table: TableConfig, sent: Mapping[str, str]) -> Result:
    """Do it.

    Args:
        action: what was asked for.
        table: which table.
        sent: the form's fields.

    Raises:
        OffloadError: it could not be done; the message says what to do.
    """
    if action is Action.RESUME:
        return _resume(table, sent)
    conf: dict[str, object] = {"tables": [table.name]}
    if action is Action.VERIFY:
        conf |= {"mode": RunMode.VERIFY.value, **{name: _in_utc(sent.get(name, ""), name) for name in ("from", "to")}}
        read_request(conf)
    run_id = DagRuns(DAG_ID).trigger(conf)
    return Result(f"{table.name}: {'verifying' if action is Action.VERIFY else 'a run'} was triggered.", run_id)


def _hidden() -> tuple[tuple[str, str], ...]:
    # Airflow's audit log files the action under the DAG that the form names.
    return (("dag_id", DAG_ID),)


def _suggested(table: TableConfig, settings: Settings) -> tuple[str, str]:
    """The hours before the watermark that the audit compares too."""
    with _ledger(settings) as ledger:
        cursor = ledger.cursor(table.name)
    end = cursor.timestamp if cursor != ORIGIN else datetime.now(timezone.utc)
    end = end.replace(minute=0, second=0, microsecond=0)
    return (end - timedelta(hours=settings.audit_hours)).strftime(_FORM_TIME), end.strftime(_FORM_TIME)


def _in_utc(text: str, name: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FixConfiguration(f"`{name}` is no time: {text or 'it is empty'}.", "Choose one.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).isoformat()


def _ask_resume(table: TableConfig, settings: Settings, post: str, back: str) -> Question:
    iceberg = iceberg_connection(require_connection(settings.iceberg_conn_id))
    client = ClickHouse(
        clickhouse_connection(settings), timeout_seconds=_CLICKHOUSE_SECONDS, settings=settings.clickhouse_settings
    )
    with _ledger(settings) as ledger, closing(client):
        stop = find_stop(ledger, client, iceberg, table)
    if stop is None:
        raise FixConfiguration(not_stopped(table.name), "Look at the tables again.")
    return Question(
        title=f"Resume {table.name}?",
        lines=[stop.since, stop.why, stop.accepts, *stop.counts, stop.question],
        button=f"Resume {table.name}",
        post=post,
        back=back,
        hidden=(*_hidden(), ("cause", str(stop.cause.id))),
        tone=Tone.WATCH,
    )


def _resume(table: TableConfig, sent: Mapping[str, str]) -> Result:
    cause = sent.get("cause", "")
    if not cause.isdecimal():
        raise FixConfiguration("The form does not say which stop it is about.", "Open it anew from the page.")
    with _ledger(load_settings()) as ledger:
        row = let_go_on(ledger, (table.name, int(cause)))
    return Result(f"{table.name}: goes on from {row.cursor}.")


@contextmanager
def _ledger(settings: Settings) -> Iterator[Ledger]:
    connection = postgres_connection(require_connection(settings.postgres_conn_id))
    with closing(connect(connection, "offload page")) as session:
        yield Ledger(session, settings.pipeline_id)
