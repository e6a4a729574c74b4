"""The market feed: inserts trades of two exchanges into the hot tier.

`python -m devstack.market_feed history|live|replay` is the command; tests and benchmarks use the functions below.
Only one feed at a time may write to an exchange's table, because it continues the numbers that the table contains.
"""

from devstack.market_feed.generator import MAX_LATENESS, TradeStream, generate
from devstack.market_feed.history import insert_history
from devstack.market_feed.hot_tier import connect, insert, read_position
from devstack.market_feed.live import run_live
from devstack.market_feed.markets import EXCHANGES, MARKETS
from devstack.market_feed.position import FeedPosition
from devstack.market_feed.replay import insert_replay, read_trades, shift_to
from devstack.market_feed.trades import TRADE_SCHEMA, bronze_table

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
