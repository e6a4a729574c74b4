"""The commands, as users type them, with a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from install.layout import Layout
from offload_core.config.connections import ClickHouseConnection, Connections
from tests.support.checkout import CHECKOUT

pytestmark = pytest.mark.integration

YESTERDAY = f"{datetime.now(timezone.utc) - timedelta(days=1):%Y-%m-%d}"
RANGE = ("--from", f"{YESTERDAY}T10:00:00Z", "--to", f"{YESTERDAY}T12:00:00+01:00")
FINGERPRINT = "SELECT count(), sum(cityHash64(*)) FROM {table:Identifier}"
Feed = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def feed(servers: Connections, hot_tier_connection: ClickHouseConnection) -> Feed:
    """Starts `python -m devstack.market_feed` with arguments; `connection` overrides fields of ClickHouse's."""

    def start(*arguments: object, **connection: object) -> subprocess.Popen[str]:
        clickhouse = hot_tier_connection.model_copy(update=connection)
        environ = {
            **os.environ,
            "PYTHONPATH": str(CHECKOUT / "plugins"),
            "OFFLOAD_CONNECTIONS": servers.model_copy(update={"clickhouse": clickhouse}).with_secrets_json(),
        }
        command = [str(Layout.of_checkout().python("devstack")), "-m", "devstack.market_feed", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=CHECKOUT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def summary_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    code, out, err = finish(process)
    assert code == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def test_history_inserts_the_same_rows_again_into_an_empty_table(hot_tier: Client, feed: Feed) -> None:
    prints = []
    for _ in range(2):
        summary = summary_of(feed("history", "--rows", 2_000, *RANGE, "--seed", 5, "--json"))
        assert (summary["command"], summary["rows"]) == ("history", 4_000)
        for exchange in ("binance", "kraken"):
            table = f"bronze_trades_{exchange}"
            prints.append(hot_tier.query(FINGERPRINT, parameters={"table": table}).result_rows)
            part = summary["exchanges"][exchange]
            assert part["rows"] == 2_000
            assert f"{YESTERDAY}T10:00:00" <= part["oldest"] < part["newest"] < f"{YESTERDAY}T11:00:00"
            assert part["newest"].endswith("Z")
            hot_tier.command(f"TRUNCATE TABLE {table}")
    assert prints[:2] == prints[2:]


def test_history_of_one_exchange_leaves_the_other_alone_and_prints_a_summary(hot_tier: Client, feed: Feed) -> None:
    code, out, _ = finish(feed("history", "--rows", 1_500, "--exchange", "kraken", *RANGE))
    assert code == 0
    assert f"kraken: 1,500 trades from {YESTERDAY}T10:0" in out
    assert "binance" not in out
    assert hot_tier.command("SELECT count() FROM bronze_trades_binance") == 0


def test_live_inserts_until_it_is_stopped(hot_tier: Client, feed: Feed, wait_until: Callable[..., None]) -> None:
    process = feed("live", "--rate", 200, "--json")
    wait_until(lambda: hot_tier.command("SELECT uniqExact(exchange) FROM silver_trades") == 2)
    process.send_signal(signal.SIGTERM)
    summary = summary_of(process)
    assert summary["rows"] == hot_tier.command("SELECT count() FROM silver_trades")
    newest = datetime.fromisoformat(summary["exchanges"]["kraken"]["newest"].replace("Z", "+00:00"))
    assert abs(datetime.now(timezone.utc) - newest) < timedelta(seconds=30)


def test_replay_moves_the_newest_trade_to_the_given_time(hot_tier: Client, feed: Feed, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(
        "exchange,symbol,trade_id,side,price,quantity,exchange_timestamp_ms\n"
        "kraken,A,1,,1.00000001,2,1700000000000\n"
        "kraken,A,2,buy,1,0.10000000,1700000001500\n"
    )
    summary = summary_of(feed("replay", path, "--shift-to", f"{YESTERDAY}T00:00:01.500Z", "--json"))
    assert summary["exchanges"]["kraken"] == {
        "rows": 2,
        "oldest": f"{YESTERDAY}T00:00:00.000000Z",
        "newest": f"{YESTERDAY}T00:00:01.500000Z",
    }
    query = "SELECT side, toString(price), toString(quantity) FROM bronze_trades_kraken ORDER BY trade_id"
    assert hot_tier.query(query).result_rows == [(None, "1.00000001", "2"), ("buy", "1", "0.1")]


@pytest.mark.parametrize(
    ("connection", "remedy"),
    [
        ({"database": "no_such_database"}, "Run `offload init --hot-tier`"),
        ({"http_port": 1}, "Start it"),
        ({"user": "nobody_at_all"}, "Correct user and password"),
    ],
)
def test_an_error_is_one_sentence_with_its_remedy(feed: Feed, connection: dict[str, object], remedy: str) -> None:
    code, out, err = finish(feed("history", "--rows", 1, *RANGE, "--json", **connection))
    assert code == 1
    assert out == ""
    assert err.startswith("Error: ")
    assert remedy in err
    assert "Traceback" not in err


def test_an_error_about_missing_tables_names_the_command_that_creates_them(feed: Feed) -> None:
    code, _, err = finish(feed("history", "--rows", 1, *RANGE))
    assert code == 1
    assert "bronze_trades_binance" in err
    assert "Run `offload init --hot-tier`" in err


def test_a_time_without_a_zone_is_refused(feed: Feed) -> None:
    code, _, err = finish(feed("history", "--rows", 1, "--from", "2026-11-19T10:00:00"))
    assert code == 2
    assert "2026-11-19T10:00:00Z" in err.replace("\n", "")
