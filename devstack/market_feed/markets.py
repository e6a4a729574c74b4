"""The markets of the feed, with invented but realistic numbers.

The markets whose real trades tests replay (XRPETH, BCHEUR) are not among them, so replayed and generated trade ids
never collide.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

EXCHANGES: Final = ("binance", "kraken")


@dataclass(frozen=True)
class Market:
    """One traded pair.

    Attributes:
        symbol: name of the pair, unique within its exchange.
        price: start of the random walk, in the quote currency.
        price_decimals: decimals of the price's tick, at most 8.
        quantity: median quantity of an order, in the base currency.
        quantity_decimals: decimals of a quantity, at most 8.
        volatility: standard deviation of the price's logarithm over a year.
    """

    symbol: str
    price: float
    price_decimals: int
    quantity: float
    quantity_decimals: int
    volatility: float


def _markets(*rows: tuple[str, float, int, float, int, float]) -> tuple[Market, ...]:
    return tuple(Market(*row) for row in rows)


# Busiest first: the generator gives market number k a share proportional to 1 / (k + 1).
MARKETS: Final = MappingProxyType(
    {
        "binance": _markets(
            ("BTCUSDT", 91234.56, 2, 0.004, 8, 0.55),
            ("ETHUSDT", 3105.42, 2, 0.09, 8, 0.75),
            ("SOLUSDT", 141.87, 2, 1.4, 3, 0.95),
            ("XRPUSDT", 2.1345, 4, 90.0, 1, 0.9),
            ("DOGEUSDT", 0.15873, 5, 1200.0, 0, 1.1),
            ("BNBUSDT", 905.11, 2, 0.2, 8, 0.6),
            ("ETHBTC", 0.03403712, 8, 0.3, 4, 0.45),
            ("ADAUSDT", 0.4712, 4, 400.0, 1, 0.95),
            ("PEPEUSDT", 0.00000463, 8, 40_000_000.0, 0, 1.4),
            ("SHIBUSDT", 0.00000881, 8, 20_000_000.0, 2, 1.2),
            ("LINKUSDT", 13.021, 3, 15.0, 2, 0.95),
            ("LTCUSDT", 88.42, 2, 2.0, 8, 0.8),
            ("AVAXUSDT", 14.217, 3, 14.0, 2, 1.0),
            ("SOLBTC", 0.00155501, 8, 5.0, 8, 0.7),
            ("TRXUSDT", 0.28731, 5, 700.0, 1, 0.6),
            ("DOTUSDT", 2.4812, 4, 80.0, 2, 0.9),
            ("BNBBTC", 0.00992064, 8, 0.5, 8, 0.45),
            ("UNIUSDT", 6.8114, 4, 30.0, 2, 1.0),
            ("NEARUSDT", 1.9375, 4, 100.0, 1, 1.1),
            ("BTCUSDC", 91230.11, 2, 0.003, 8, 0.55),
            ("DOGEBTC", 0.00000174, 8, 4000.0, 0, 0.9),
            ("APTUSDT", 2.7033, 4, 60.0, 2, 1.1),
            ("ATOMUSDT", 2.5418, 4, 70.0, 2, 0.9),
            ("FILUSDT", 1.6205, 4, 110.0, 2, 1.0),
            ("XLMBTC", 0.00000275, 8, 3000.0, 0, 0.8),
            ("ETHUSDC", 3104.99, 2, 0.05, 8, 0.75),
            ("ALGOUSDT", 0.14082, 5, 1500.0, 0, 1.0),
            ("BTCTRY", 3861512.0, 0, 0.001, 8, 0.6),
        ),
        "kraken": _markets(
            ("XBTUSD", 91241.1, 1, 0.006, 8, 0.55),
            ("XBTEUR", 78710.4, 1, 0.005, 8, 0.55),
            ("ETHUSD", 3106.01, 2, 0.15, 8, 0.75),
            ("ETHEUR", 2680.3, 2, 0.12, 8, 0.75),
            ("SOLUSD", 141.9, 2, 2.5, 8, 0.95),
            ("XRPUSD", 2.13471, 5, 150.0, 8, 0.9),
            ("XRPEUR", 1.84102, 5, 120.0, 8, 0.9),
            ("USDTUSD", 0.99981, 5, 1500.0, 8, 0.01),
            ("ADAUSD", 0.471203, 6, 500.0, 8, 0.95),
            ("XDGUSD", 0.1587304, 7, 2500.0, 8, 1.1),
            ("ETHXBT", 0.03404, 5, 0.4, 8, 0.45),
            ("LTCUSD", 88.45, 2, 3.0, 8, 0.8),
            ("LINKUSD", 13.02214, 5, 25.0, 8, 0.95),
            ("PEPEUSD", 0.00000463, 8, 60_000_000.0, 5, 1.4),
            ("SHIBUSD", 0.00000881, 8, 30_000_000.0, 5, 1.2),
            ("DOTUSD", 2.4815, 4, 120.0, 8, 0.9),
            ("AVAXUSD", 14.22, 2, 20.0, 8, 1.0),
            ("XMRUSD", 391.17, 2, 0.7, 8, 0.7),
            ("TRXUSD", 0.287335, 6, 900.0, 8, 0.6),
            ("ATOMUSD", 2.5421, 4, 90.0, 8, 0.9),
            ("ALGOUSD", 0.14083, 5, 2000.0, 8, 1.0),
            ("SOLXBT", 0.001555, 6, 6.0, 8, 0.7),
            ("PAXGUSD", 4071.05, 2, 0.05, 8, 0.15),
            ("XBTGBP", 69502.7, 1, 0.004, 8, 0.55),
        ),
    }
)
