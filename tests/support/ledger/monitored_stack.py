"""Simulated hours of the offload: ledger rows of cycles, and the checks of the freshness DAG and the callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest

from offload_airflow.notify.alerts import NotificationFailed, notify
from offload_core.config.connections import PostgresConnection
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.session import connect
from offload_ops.alerts.model import Cycles
from offload_ops.table_state import Issue
from tests.support.fakes.mail_server import MailServer
from tests.support.ledger.week_of_ledger import DAY, MINUTE, PERIOD, WrittenLedger

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=timezone.utc)
TABLES = [table.name for table in DEFAULT_TABLES]
OPS, PAGER = "ops@example.com", "pager@example.com"
SECOND = timedelta(seconds=1)
DOWN = ("clickhouse_connection", "ClickHouse at ch:9000 can't be reached. Start it.")


@dataclass
class MonitoredTables:
    """A monitored pipeline of nine tables.

    Attributes:
        ledger: its ledger.
        cycles: the state of the offload's DAG.
        failed_notifications: how often a channel could not be notified.
    """

    ledger: WrittenLedger
    cycles: Cycles = field(default_factory=lambda: Cycles("iceberg_offload", last_started=NOON))
    failed_notifications: int = 0

    def begin(self, at: datetime = NOON) -> None:
        """Add tables that are a day old and were offloaded in the cycle that was due at this moment."""
        for name in TABLES:
            self.ledger.add(name, at - DAY, "init")
        self.cycle(at)

    def cycle(self, at: datetime, names: Iterable[str] = TABLES, *, seconds: int = 7, kind: str = "increment") -> None:
        """Add a cycle that offloads these tables one after another, each in this many seconds."""
        for number, name in enumerate(TABLES, start=1):
            if name in set(names):
                self.ledger.add(name, at + number * seconds * SECOND, kind, rows=0 if kind == "empty" else 10)

    def failing_cycle(self, at: datetime, error: tuple[str, str] = DOWN) -> None:
        """Add a cycle in which every table fails three times, layer after layer; each last failure calls back."""
        kind, message = error
        layers: dict[str, list[str]] = {}
        for table in DEFAULT_TABLES:
            layers.setdefault(table.layer.value, []).append(table.name)
        for number, names in enumerate(layers.values()):
            for attempt in range(3):
                for name in names:
                    moment = at + number * 3 * MINUTE + attempt * MINUTE
                    self.ledger.add(name, moment, "failure", error_kind=kind, message=message)
            for name in names:
                self.check(at + number * 3 * MINUTE + 2 * MINUTE + SECOND, {name: Issue(kind, message, attempts=1)})

    def check(self, at: datetime, failed: Mapping[str, Issue] | None = None) -> None:
        """Run one check, as the freshness DAG or a callback does."""
        try:
            notify(at, failed, lambda: self.cycles)
        except NotificationFailed:
            self.failed_notifications += 1

    def checks(self, start: datetime, end: datetime, every: timedelta = 5 * MINUTE) -> None:
        """Run the freshness DAG's checks: the first just after minute 3, then one every five minutes."""
        at = start + 3 * MINUTE + 5 * SECOND
        while at < end:
            self.check(at)
            at += every


def quarters(start: datetime, count: int) -> list[datetime]:
    """The times at which cycles are due."""
    return [start + number * PERIOD for number in range(count)]


@pytest.fixture
def configure_alerts(set_variable: Callable[[str, object], None], pipeline: str) -> Callable[..., None]:
    """Sets the alerts' settings."""

    def configure(**settings: object) -> None:
        base = {"pipeline_id": pipeline, "alert_recipients": [OPS], "page_recipients": [PAGER]}
        set_variable("iceberg_offload_settings", {**base, **settings})

    configure()
    return configure


@pytest.fixture
def monitored(
    connect_postgres: PostgresConnection, pipeline: str, configure_alerts: Callable[..., None], mails: MailServer
) -> Iterator[MonitoredTables]:
    """Nine tables that were offloaded at noon, and a mail server."""
    assert configure_alerts
    assert mails
    with connect(connect_postgres) as session:
        tables = MonitoredTables(WrittenLedger(session, pipeline))
        tables.begin()
        yield tables


def subjects(mails: MailServer) -> list[str]:
    """The mails' subjects without the pipeline's id."""
    return [str(mail.message["Subject"]).partition("] ")[2] for mail in mails.mails]


def text(mails: MailServer, number: int = -1) -> str:
    """A mail's plain text."""
    content: str = mails.mails[number].part("text/plain").get_content()
    return content
