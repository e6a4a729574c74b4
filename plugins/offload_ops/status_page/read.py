"""Reads all data of the page from the ledger's database, as of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_core.config.connections import PostgresConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.history import LedgerHistory, read_ledger
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.snapshot import LedgerSnapshot, SnapshotReader, one_moment
from offload_core.protocol.window import Interval
from offload_ops.table_state import TableState, read_states

_TIMEOUT_SECONDS = 5.0
"""How long PostgreSQL may take for one query before the page says that it doesn't answer."""
BIN = timedelta(minutes=30)
"""The time that one bar of a sparkline covers."""
DAY = timedelta(days=1)


@dataclass(frozen=True)
class PageData:
    """The content of the database at one moment, by PostgreSQL's clock.

    Attributes:
        tables: the configuration.
        states: the state of each table, in the same order.
        snapshot: the data that the metrics show too.
        day: the last 24 hours, up to the end of the current half hour.
        period: those 24 hours.
    """

    tables: Sequence[TableConfig | InvalidTable]
    states: Sequence[TableState]
    snapshot: LedgerSnapshot
    day: LedgerHistory
    period: Interval

    @property
    def now(self) -> datetime:
        """The moment (UTC)."""
        return self.snapshot.now


def read_page_data(
    postgres: PostgresConnection, tables: Sequence[TableConfig | InvalidTable], settings: Settings
) -> PageData:
    """Read the data of the page.

    Raises:
        LedgerUnavailable, FixCredentials, RunInit: the ledger can't be read; the message says what to do.
    """
    names = {table.name for table in tables}
    reader = SnapshotReader(postgres, settings.pipeline_id, names, _TIMEOUT_SECONDS)
    with one_moment(postgres, "offload page", _TIMEOUT_SECONDS) as session:
        snapshot = reader.read_in(session)
        states = read_states(Ledger(session, settings.pipeline_id), tables, settings.lag_minutes, snapshot.now)
        period = _last_day(snapshot.now)
        return PageData(tables, states, snapshot, read_ledger(session, settings.pipeline_id, period), period)


def _last_day(now: datetime) -> Interval:
    """24 hours that begin and end on the clock's half hours, and contain the present."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    end = midnight + ((now - midnight) // BIN + 1) * BIN
    return Interval(end - DAY, end)
