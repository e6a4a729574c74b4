"""The numbers that an exchange's next trades get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FeedPosition:
    """The greatest numbers in an exchange's table.

    Attributes:
        sequence: greatest sequence_number; 0 if the table is empty.
        trade_ids: greatest trade id per symbol; symbols without trades are absent.
    """

    sequence: int = 0
    trade_ids: Mapping[str, int] = field(default_factory=dict)

    def next_sequence(self, start_us: int) -> int:
        """Return the first sequence_number for trades from `start_us` (microseconds since 1970) on."""
        return _next(self.sequence, start_us)

    def next_trade_id(self, symbol: str, start_us: int) -> int:
        """Return the first trade id of `symbol` for trades from `start_us` (microseconds since 1970) on."""
        return _next(self.trade_ids.get(symbol, 0), start_us)


def _next(greatest: int, start_us: int) -> int:
    # At least the start's microseconds: if TTL has emptied the table, its numbers must not start over, because trades
    # in the cold tier already have them.
    return max(greatest + 1, start_us)
