"""What the page is made of: one look at the ledger's database, of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from offload_core.config.connections import PostgresConnection
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.history import LedgerHistory, read_ledger
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.snapshot import Reader, Reading, one_moment
from offload_core.protocol.window import Interval
from offload_ops.table_state import TableState, read_states

_QUESTION_SECONDS = 5.0
"""How long PostgreSQL may take for one question before the page says that it doesn't answer."""
BIN = timedelta(minutes=30)
"""A bar of the day's sparkline."""
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Known:
    """What the database said at one moment, by its own clock.

    Attributes:
        tables: the configuration.
        states: how each of them is, in their order.
        reading: what the metrics tell as well.
        day: the last 24 hours, up to the end of the half hour that is going on.
        period: those 24 hours.
    """

    tables: Sequence[TableConfig | InvalidTable]
    states: Sequence[TableState]
    reading: Reading
    day: LedgerHistory
    period: Interval

    @property
    def now(self) -> datetime:
        """The moment (UTC)."""
        return self.reading.now


def read(postgres: PostgresConnection, tables: Sequence[TableConfig | InvalidTable], settings: Settings) -> Known:
    """Look now.

    Raises:
        LedgerUnavailable, FixCredentials, RunInit: the ledger can't be read; the message says what to do.
    """
    names = {table.name for table in tables}
    reader = Reader(postgres, settings.pipeline_id, names, _QUESTION_SECONDS)
    with one_moment(postgres, "offload page", _QUESTION_SECONDS) as session:
        reading = reader.read_in(session)
        states = read_states(Ledger(session, settings.pipeline_id), tables, settings.lag_minutes, reading.now)
        period = _day(reading.now)
        return Known(tables, states, reading, read_ledger(session, settings.pipeline_id, period), period)


def _day(now: datetime) -> Interval:
    """24 hours in whole half hours of the clock, the present among them."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    end = midnight + ((now - midnight) // BIN + 1) * BIN
    return Interval(end - DAY, end)
