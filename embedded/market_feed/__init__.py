"""The market feed: puts trades of two exchanges into the hot tier.

`python -m embedded.market_feed history|live|replay` is the command; tests and benchmarks use the functions below.
One feed at a time may write to an exchange's table, because it numbers its trades on from what the table holds.
"""

from embedded.market_feed.generator import MAX_LATENESS, TradeStream, generate
from embedded.market_feed.history import insert_history
from embedded.market_feed.hot_tier import connect, insert, read_position
from embedded.market_feed.live import run_live
from embedded.market_feed.markets import EXCHANGES, MARKETS
from embedded.market_feed.position import FeedPosition
from embedded.market_feed.replay import insert_replay, read_trades, shift_to
from embedded.market_feed.trades import TRADE_SCHEMA, bronze_table

__all__ = [
    "EXCHANGES",
    "MARKETS",
    "MAX_LATENESS",
    "TRADE_SCHEMA",
    "FeedPosition",
    "TradeStream",
    "bronze_table",
    "connect",
    "generate",
    "insert",
    "insert_history",
    "insert_replay",
    "read_position",
    "read_trades",
    "run_live",
    "shift_to",
]
