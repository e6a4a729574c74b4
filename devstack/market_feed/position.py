"""Which numbers an exchange's next trades get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def to_microseconds(moment: datetime) -> int:
    """Microseconds from 1970 to `moment` (zone-aware), exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """The moment in UTC that lies `value` microseconds after 1970."""
    return EPOCH + timedelta(microseconds=value)


@dataclass(frozen=True)
class FeedPosition:
    """The greatest numbers an exchange's table holds.

    Attributes:
        sequence: greatest sequence_number, 0 when the table is empty.
        trade_ids: greatest trade id per symbol; symbols without trades are absent.
    """

    sequence: int = 0
    trade_ids: Mapping[str, int] = field(default_factory=dict)

    def next_sequence(self, start_us: int) -> int:
        """First sequence_number for trades from `start_us` (microseconds since 1970) on."""
        return _next(self.sequence, start_us)

    def next_trade_id(self, symbol: str, start_us: int) -> int:
        """First trade id of `symbol` for trades from `start_us` on."""
        return _next(self.trade_ids.get(symbol, 0), start_us)


def _next(held: int, start_us: int) -> int:
    # At least the start's microseconds: a table that TTL has emptied meanwhile must not start over with numbers
    # that trades in the cold tier already have.
    return max(held + 1, start_us)
