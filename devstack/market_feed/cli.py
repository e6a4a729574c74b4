"""The command line of the market feed."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from clickhouse_connect.driver.client import Client

from devstack.market_feed.history import insert_history
from devstack.market_feed.hot_tier import connect
from devstack.market_feed.live import run_live
from devstack.market_feed.replay import insert_replay, read_trades, shift_to
from devstack.market_feed.report import follow, show, summarize
from offload_core.config.connections import load_connections
from offload_core.errors import FixConfiguration, OffloadError
from offload_core.protocol.window import from_iso

app = typer.Typer(
    help="Insert trades into the hot tier: generated from a seed, or real ones from a file. "
    "OFFLOAD_CONNECTIONS or OFFLOAD_CONNECTIONS_FILE contains the connection to ClickHouse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class ExchangeName(str, Enum):
    binance = "binance"
    kraken = "kraken"


def parse_time(text: str) -> datetime:
    """Parse an ISO 8601 time with a zone, and return it in UTC."""
    try:
        moment = from_iso(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a timestamp such as 2026-11-20T10:00:00Z") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no zone: write {text}Z for UTC")
    return moment.astimezone(timezone.utc)


BOTH = (ExchangeName.binance, ExchangeName.kraken)
Exchanges = Annotated[
    list[ExchangeName], typer.Option("--exchange", help="The exchange whose table is filled; may be repeated.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed and arguments on the same tables give the same rows.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, on the last line.")]
TIME = "ISO 8601 with a zone, such as 2026-11-20T10:00:00Z"


@app.command()
def history(
    rows: Annotated[int, typer.Option(min=1, help="Trades per exchange.")],
    exchange: Exchanges = list(BOTH),  # noqa: B006 - typer needs a list and never changes it
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=parse_time,
            metavar="TIME",
            help=f"Oldest time ({TIME}); ClickHouse drops older rows than its TTL. [default: a day before --to]",
        ),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option(
            "--to", parser=parse_time, metavar="TIME", help="End of the time range, exclusive. [default: now]"
        ),
    ] = None,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Insert a number of trades of a time range, all at once."""
    end = end or _now()
    start = start or end - timedelta(days=1)
    began = time.monotonic()
    with _reporting_errors(), _connect() as client:
        names = _names(exchange)
        inserted = follow(insert_history(client, names, rows, start, end, seed), total=rows * len(names))
        show(summarize("history", inserted, began), as_json)


@app.command()
def live(
    rate: Annotated[float, typer.Option(min=0.001, help="Trades per second and exchange.")],
    duration: Annotated[
        float | None, typer.Option(min=0.001, help="Stop after this number of seconds. [default: on Ctrl-C or SIGTERM]")
    ] = None,
    exchange: Exchanges = list(BOTH),  # noqa: B006
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Insert trades that happen now, at a given rate, until the command is stopped."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    limit = None if duration is None else timedelta(seconds=duration)
    began = time.monotonic()
    with _reporting_errors(), _connect() as client:
        names = _names(exchange)
        total = None if duration is None else int(rate * duration) * len(names)
        inserted = follow(run_live(client, names, rate, seed, _now, stop, limit), total)
        show(summarize("live", inserted, began), as_json)


@app.command()
def replay(
    file: Annotated[
        Path, typer.Argument(help="CSV: exchange, symbol, trade_id, side, price, quantity, exchange_timestamp_ms.")
    ],
    shift_newest_to: Annotated[
        datetime | None,
        typer.Option(
            "--shift-to",
            parser=parse_time,
            metavar="TIME",
            help=f"Shift all trades so that the newest one happens at this time ({TIME}).",
        ),
    ] = None,
    shift: Annotated[int | None, typer.Option(help="Shift all trades by this number of seconds.")] = None,
    as_json: Json = False,
) -> None:
    """Insert real trades from a file, with all their digits."""
    began = time.monotonic()
    with _reporting_errors():
        if shift is not None and shift_newest_to is not None:
            raise FixConfiguration("--shift and --shift-to contradict each other.", "Use only one of them.")
        trades = read_trades(file)
        by = shift_to(trades, shift_newest_to) if shift_newest_to else timedelta(seconds=shift or 0)
        with _connect() as client:
            inserted = follow(insert_replay(client, trades, by, _now()), total=trades.num_rows)
        show(summarize("replay", inserted, began), as_json)


def main() -> None:
    """Entry point of `python -m devstack.market_feed`."""
    # The driver also logs the errors that it raises; this command shows them once.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    app(prog_name="python -m devstack.market_feed")


def _connect() -> Client:
    return connect(load_connections(os.environ).clickhouse)


def _names(exchanges: list[ExchangeName]) -> list[str]:
    return list(dict.fromkeys(exchange.value for exchange in exchanges))


def _now() -> datetime:
    return datetime.now(timezone.utc)


@contextmanager
def _reporting_errors() -> Iterator[None]:
    try:
        yield
    except OffloadError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
