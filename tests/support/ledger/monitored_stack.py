"""Hours of the offload in no time: ledger rows of cycles, and the looks of freshness DAG and callbacks, at times of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.notify.alerts import NotTold, tell
from offload_core.config.connections import PostgresConnection
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.session import connect
from offload_ops.alerts.model import Cycles
from offload_ops.table_state import Problem
from tests.support.fakes.mail_server import MailServer
from tests.support.ledger.week_of_ledger import DAY, MINUTE, PERIOD, WrittenLedger

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=timezone.utc)
TABLES = [table.name for table in DEFAULT_TABLES]
OPS, PAGER = "ops@example.com", "pager@example.com"
SECOND = timedelta(seconds=1)
DOWN = ("clickhouse_connection", "ClickHouse at ch:9000 can't be reached. Start it.")


@dataclass
class Watched:
    """A pipeline of nine tables under watch.

    Attributes:
        written: its ledger.
        cycles: how the offload's DAG does.
        unheard: how often a channel could not be told.
    """

    written: WrittenLedger
    cycles: Cycles = field(default_factory=lambda: Cycles("iceberg_offload", last_started=NOON))
    unheard: int = 0

    def begin(self, at: datetime = NOON) -> None:
        """Tables that are a day old and were offloaded in the cycle that was due at this moment."""
        for name in TABLES:
            self.written.add(name, at - DAY, "init")
        self.cycle(at)

    def cycle(self, at: datetime, names: Iterable[str] = TABLES, *, seconds: int = 7, kind: str = "increment") -> None:
        """A cycle that offloads these tables, one after another, each taking so many seconds."""
        for number, name in enumerate(TABLES, start=1):
            if name in set(names):
                self.written.add(name, at + number * seconds * SECOND, kind, rows=0 if kind == "empty" else 10)

    def failing_cycle(self, at: datetime, error: tuple[str, str] = DOWN) -> None:
        """A cycle in which every table uses up its three attempts, layer after layer, and each failed task calls back."""
        kind, message = error
        layers: dict[str, list[str]] = {}
        for table in DEFAULT_TABLES:
            layers.setdefault(table.layer.value, []).append(table.name)
        for number, names in enumerate(layers.values()):
            for attempt in range(3):
                for name in names:
                    moment = at + number * 3 * MINUTE + attempt * MINUTE
                    self.written.add(name, moment, "failure", error_kind=kind, message=message)
            for name in names:
                self.look(at + number * 3 * MINUTE + 2 * MINUTE + SECOND, {name: Problem(kind, message, attempts=1)})

    def look(self, at: datetime, given_up: Mapping[str, Problem] | None = None) -> None:
        """One look, as the freshness DAG or a callback takes it."""
        try:
            tell(at, given_up, lambda: self.cycles)
        except NotTold:
            self.unheard += 1

    def looks(self, start: datetime, end: datetime, every: timedelta = 5 * MINUTE) -> None:
        """The freshness DAG's looks, some seconds after three minutes past and every five minutes from then on."""
        at = start + 3 * MINUTE + 5 * SECOND
        while at < end:
            self.look(at)
            at += every


def quarters(start: datetime, count: int) -> list[datetime]:
    """When cycles are due."""
    return [start + number * PERIOD for number in range(count)]


@pytest.fixture
def configure_alerts(set_variable: Callable[[str, object], None], pipeline: str) -> Callable[..., None]:
    """Sets the alerts' settings."""

    def configure(**settings: object) -> None:
        known = {"pipeline_id": pipeline, "alert_recipients": [OPS], "page_recipients": [PAGER]}
        set_variable("iceberg_offload_settings", {**known, **settings})

    configure()
    return configure


@pytest.fixture
def watched(
    connect_postgres: PostgresConnection, pipeline: str, configure_alerts: Callable[..., None], mails: MailServer
) -> Iterator[Watched]:
    """Nine tables that were offloaded at noon, and a mail server."""
    assert configure_alerts
    assert mails
    with connect(connect_postgres) as session:
        found = Watched(WrittenLedger(session, pipeline))
        found.begin()
        yield found


def subjects(mails: MailServer) -> list[str]:
    """The mails' subjects without the pipeline's id."""
    return [str(mail.message["Subject"]).partition("] ")[2] for mail in mails.mails]


def text(mails: MailServer, number: int = -1) -> str:
    """A mail's plain text."""
    content: str = mails.mails[number].part("text/plain").get_content()
    return content
