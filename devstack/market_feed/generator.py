"""Generates trades from a seed: vectorized, in constant memory, and always the same for the same arguments.

The trades imitate real ones: orders arrive in bursts, busy markets get most of them, an order that consumes several
levels of the book becomes many trades in one microsecond, prices are random walks, and some trades reach the hot tier
late. Prices and quantities are integers in units of 10^-8 until they become decimals.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from devstack.market_feed.markets import EXCHANGES, MARKETS
from devstack.market_feed.position import FeedPosition
from devstack.market_feed.trades import table_from_units
from offload_core.errors import FixConfiguration
from offload_core.protocol.window import to_micros

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_LATENESS: Final = timedelta(minutes=2)
"""The longest time from a trade to its arrival in the hot tier; the offload's buffer is five minutes."""

BATCH_ROWS: Final = 262_144
BATCH_SPAN: Final = timedelta(days=30)
"""ClickHouse accepts at most 100 partitions (here: days) in one insert."""

UNIT: Final = 100_000_000
GREATEST_QUANTITY: Final = 900_000_000_000_000_000
"""In units of 10^-8: more digits than a double has, so that comparisons expose readers that convert to doubles."""

MICROSECONDS_PER_YEAR: Final = 365.25 * 86_400 * 1e6
MAX_FILLS: Final = 200
LATE_SHARE: Final = 0.005
ROUND_SHARE: Final = 0.3
DUST_SHARE: Final = 0.002
WHALE_SHARE: Final = 0.001
IMPROVED_SHARE: Final = 0.02
SIDELESS_SHARE: Final = {"binance": 0.0, "kraken": 0.005}


@dataclass
class Trades:
    """Trades as columns of integers: times in microseconds since 1970, price and quantity in units of 10^-8."""

    market: Ints
    trade_id: Ints
    side: Ints
    price: Ints
    quantity: Ints
    exchange_us: Ints
    ingestion_us: Ints
    sequence: Ints

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Trades:
        """Return the trades at these positions."""
        return Trades(*(getattr(self, column.name)[index] for column in fields(self)))

    def concat(self, other: Trades) -> Trades:
        """Return these trades followed by the others."""
        return Trades(*(np.concatenate([getattr(self, c.name), getattr(other, c.name)]) for c in fields(self)))


class TradeStream:
    """One exchange's trades, generated one time slice after another.

    Between the slices it keeps prices, the next numbers, and the trades that have happened but not arrived yet.

    Args:
        exchange: "binance" or "kraken".
        seed: determines everything random.
        start: zone-aware start of the first slice.
        position: the greatest numbers that the table contains.

    Raises:
        FixConfiguration: the exchange is unknown.
    """

    def __init__(self, exchange: str, seed: int, start: datetime, position: FeedPosition | None = None) -> None:
        if exchange not in MARKETS:
            raise FixConfiguration(f"The feed has no exchange {exchange!r}.", f"Choose from {', '.join(EXCHANGES)}.")
        position = position or FeedPosition()
        markets = MARKETS[exchange]
        start_us = to_micros(start)
        self.exchange = exchange
        self._symbols = [market.symbol for market in markets]
        self._rng = np.random.default_rng([seed, zlib.crc32(exchange.encode())])
        self._share = 1.0 / np.arange(1, len(markets) + 1)
        self._share /= self._share.sum()
        self._log_price = np.log([market.price for market in markets])
        self._tick = np.array([10 ** (8 - market.price_decimals) for market in markets], dtype=np.int64)
        self._log_quantity = np.log([market.quantity for market in markets])
        self._lot = np.array([10 ** (8 - market.quantity_decimals) for market in markets], dtype=np.int64)
        self._step = np.array([market.volatility for market in markets]) / np.sqrt(MICROSECONDS_PER_YEAR)
        self._last_us = np.full(len(markets), start_us, dtype=np.int64)
        self._next_sequence = position.next_sequence(start_us)
        self._next_trade_id = np.array([position.next_trade_id(s, start_us) for s in self._symbols], dtype=np.int64)
        self._in_flight = Trades(*(np.empty(0, dtype=np.int64) for _ in fields(Trades)))

    def advance(self, rows: int, start: datetime, end: datetime, *, last: bool = False) -> pa.Table:
        """Generate `rows` trades in `[start, end)`; return the trades that have arrived by `end`, in order of arrival.

        With `last`, the trades still in flight arrive at `end`. An empty slice consists of its start.
        """
        start_us, end_us = to_micros(start), to_micros(end)
        known = self._in_flight
        if rows:
            known = known.concat(self._happen(rows, start_us, end_us))
        if last:
            known.ingestion_us = np.minimum(known.ingestion_us, end_us)
        arrived = known.ingestion_us <= end_us
        self._in_flight = known.take(~arrived)
        out = known.take(arrived)
        return self._table(out.take(np.argsort(out.ingestion_us, kind="stable")))

    def _happen(self, rows: int, start_us: int, end_us: int) -> Trades:
        rng = self._rng
        fills = np.minimum(rng.zipf(2.5, rows), MAX_FILLS)
        orders = int(np.searchsorted(np.cumsum(fills), rows)) + 1
        fills = fills[:orders]
        fills[-1] -= int(fills.sum()) - rows
        order_us = self._burst_times(orders, start_us, end_us)
        order_market = rng.choice(len(self._symbols), size=orders, p=self._share)
        order_buys = rng.random(orders) < 0.5
        order_mid = self._walk(order_us, order_market)

        level = np.arange(rows) - np.repeat(np.cumsum(fills) - fills, fills)
        market = np.repeat(order_market, fills)
        buys = np.repeat(order_buys, fills)
        exchange_us = np.repeat(order_us, fills)
        tick = self._tick[market]
        mid_ticks = np.rint(np.repeat(order_mid, fills) * UNIT / tick).astype(np.int64)
        depth = 1 + np.minimum(level // 2, mid_ticks // 100)
        price = np.maximum(mid_ticks + np.where(buys, depth, -depth), 1) * tick
        price += np.where(
            rng.random(rows) < IMPROVED_SHARE, rng.integers(0, tick), 0
        )  # between the ticks: all eight decimals
        sideless = np.repeat(rng.random(orders) < SIDELESS_SHARE[self.exchange], fills)
        trades = Trades(
            market=market,
            trade_id=self._number_per_market(market),
            side=np.where(sideless, 2, np.where(buys, 0, 1)).astype(np.int64),
            price=price,
            quantity=self._quantities(market),
            exchange_us=exchange_us,
            ingestion_us=exchange_us + self._latency(rows),
            sequence=np.arange(self._next_sequence, self._next_sequence + rows, dtype=np.int64),
        )
        self._next_sequence += rows
        return trades

    def _burst_times(self, orders: int, start_us: int, end_us: int) -> Ints:
        """Sorted times in `[start_us, end_us)`; a few short stretches get most of them."""
        bins = min(512, max(1, orders // 8))
        weight = self._rng.gamma(0.5, size=bins) + 1e-9
        position = np.repeat(np.arange(bins), self._rng.multinomial(orders, weight / weight.sum()))
        offset = (position + self._rng.random(orders)) / bins * (end_us - start_us)
        times: Ints = start_us + np.minimum(offset.astype(np.int64), max(end_us - start_us - 1, 0))
        times.sort()
        return times

    def _walk(self, order_us: Ints, order_market: Ints) -> Floats:
        """The mid price at each order: its logarithm is a random walk over the time since the market's last order."""
        by_market = np.argsort(order_market, kind="stable")
        market, us = order_market[by_market], order_us[by_market]
        first = np.ones(len(market), dtype=bool)
        first[1:] = market[1:] != market[:-1]
        before = np.where(first, self._last_us[market], np.concatenate([us[:1], us[:-1]]))
        steps = self._step[market] * np.sqrt(np.maximum(us - before, 0)) * self._rng.standard_normal(len(us))
        walked = np.cumsum(steps)
        base = (walked - steps)[first]
        log_price = (
            self._log_price[market] + walked - np.repeat(base, np.diff(np.append(np.flatnonzero(first), len(us))))
        )
        log_price = np.clip(log_price, np.log(1e-7), np.log(1e10))
        last = np.append(first[1:], True)
        self._log_price[market[last]] = log_price[last]
        self._last_us[market[last]] = us[last]
        mid = np.empty(len(us))
        mid[by_market] = np.exp(log_price)
        return mid

    def _quantities(self, market: Ints) -> Ints:
        """Log-normal quantities: some are round, a few are 0.00000001, a few are enormous with all their digits."""
        rng = self._rng
        rows = len(market)
        drawn = np.exp(self._log_quantity[market] + 1.6 * rng.standard_normal(rows))
        magnitude = 10.0 ** np.floor(np.log10(drawn))
        drawn = np.where(rng.random(rows) < ROUND_SHARE, np.rint(drawn / magnitude) * magnitude, drawn)
        lot = self._lot[market]
        quantity: Ints = (
            np.maximum(np.rint(np.minimum(drawn * UNIT, GREATEST_QUANTITY) / lot), 1).astype(np.int64) * lot
        )
        whale = rng.random(rows) < WHALE_SHARE
        quantity[whale] = rng.integers(GREATEST_QUANTITY // 1000, GREATEST_QUANTITY, int(whale.sum()))
        quantity[rng.random(rows) < DUST_SHARE] = 1
        return quantity

    def _latency(self, rows: int) -> Ints:
        """Microseconds from the trade to the hot tier: usually tens of milliseconds, sometimes up to `MAX_LATENESS`."""
        usual = self._rng.lognormal(np.log(40_000), 0.6, rows)
        late = self._rng.exponential(20e6, rows)
        chosen = np.where(self._rng.random(rows) < LATE_SHARE, late, usual)
        return np.minimum(chosen, MAX_LATENESS / timedelta(microseconds=1)).astype(np.int64)

    def _number_per_market(self, market: Ints) -> Ints:
        by_market = np.argsort(market, kind="stable")
        counts = np.bincount(market, minlength=len(self._symbols))
        rank = np.arange(len(market)) - np.repeat(np.cumsum(counts) - counts, counts)
        ids = np.empty(len(market), dtype=np.int64)
        ids[by_market] = self._next_trade_id[market[by_market]] + rank
        self._next_trade_id += counts
        return ids

    def _table(self, trades: Trades) -> pa.Table:
        return table_from_units(
            exchange=self.exchange,
            symbols=self._symbols,
            market=trades.market,
            trade_id=trades.trade_id,
            side=trades.side,
            price=trades.price,
            quantity=trades.quantity,
            exchange_us=trades.exchange_us,
            ingestion_us=trades.ingestion_us,
            sequence=trades.sequence,
        )


def generate(
    exchange: str,
    rows: int,
    start: datetime,
    end: datetime,
    seed: int,
    position: FeedPosition | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.Table]:
    """Yield exactly `rows` trades with `exchange_timestamp` in `[start, end)`, in order of arrival.

    They are in tables of `TRADE_SCHEMA`. The same arguments give the same tables. `batch_rows` bounds the memory, for
    any number of rows.

    Args:
        exchange: "binance" or "kraken".
        rows: number of trades.
        start: zone-aware, inclusive.
        end: zone-aware, exclusive.
        seed: not negative.
        position: the greatest numbers that the table contains; None for an empty table.
        batch_rows: trades per generated table; the rows depend on it too.

    Raises:
        FixConfiguration: unknown exchange, empty range, or a negative number.
    """
    if end <= start:
        raise FixConfiguration(f"The time range from {start} to {end} is empty.", "Choose an end later than its start.")
    if rows < 0 or seed < 0 or batch_rows < 1:
        raise FixConfiguration(
            f"rows={rows}, seed={seed}, batch_rows={batch_rows}: negative.", "Choose numbers from 0 (batches: 1) up."
        )
    return _batches(TradeStream(exchange, seed, start, position), rows, start, end, batch_rows)


def _batches(stream: TradeStream, rows: int, start: datetime, end: datetime, batch_rows: int) -> Iterator[pa.Table]:
    count = max(-(-rows // batch_rows), -((start - end) // BATCH_SPAN))
    for number in range(count):
        low, high = (start + (end - start) * cut // count for cut in (number, number + 1))
        happening = rows * (number + 1) // count - rows * number // count
        table = stream.advance(happening, low, high, last=number == count - 1)
        if table.num_rows:
            yield table
