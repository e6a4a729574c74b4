"""Real trades through the real scheduler: what the DAG does, as seen from outside."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from offload_ops.tiers.cold_table import open_cold_table
from tests.support.checkout import CHECKOUT
from tests.support.fakes.webhook import Webhook, webhook
from tests.support.stack.airflow_stack import AirflowStack

FILES = {
    "binance": CHECKOUT.parent / "shared" / "data" / "binance_xrpeth_trades.csv",
    "kraken": CHECKOUT.parent / "shared" / "data" / "kraken_bcheur_trades.csv",
}
FRESHNESS = "iceberg_offload_freshness"
Trade = tuple[str, str, str, str, Decimal, Decimal, int]


@pytest.fixture(scope="module")
def unpaused(stack: AirflowStack) -> AirflowStack:
    """The stack with the DAG switched on, after the scheduler's first run over empty tables."""
    if stack.api.unpause("iceberg_offload"):
        run_id = None
        while run_id is None:
            run_id = stack.api.newest_run("iceberg_offload")
        for _ in stack.api.follow("iceberg_offload", run_id, 300):
            pass
    return stack


def trades_of(exchange: str) -> list[Trade]:
    """The file's trades; times in microseconds since 1970."""
    with FILES[exchange].open(newline="") as file:
        return [
            (
                row["exchange"],
                row["symbol"],
                row["trade_id"],
                row["side"],
                Decimal(row["price"]),
                Decimal(row["quantity"]),
                int(row["exchange_timestamp_ms"]) * 1000,
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.skipif(
    not all(path.exists() for path in FILES.values()), reason="the real trades of ../shared/data are missing"
)
def test_real_trades_arrive_in_iceberg_digit_by_digit(unpaused: AirflowStack) -> None:
    # The trades are hours old: all candles except the day's have closed, so that the next test finds nothing new.
    newest = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=3)
    for path in FILES.values():
        unpaused.feed("replay", str(path), "--shift-to", newest.isoformat())
    run, states = unpaused.run_dag()
    assert run.state == "success", states
    for exchange in FILES:
        expected = trades_of(exchange)
        shift = int(newest.timestamp()) * 1_000_000 - max(trade[6] for trade in expected)
        cold = open_cold_table(unpaused.connections.iceberg, f"cold.bronze_trades_{exchange}").scan().to_arrow()
        found = [
            (
                row["exchange"],
                row["symbol"],
                row["trade_id"],
                row["side"] or "",
                row["price"],
                row["quantity"],
                round(row["exchange_timestamp"].timestamp() * 1_000_000) - shift,
            )
            for row in cold.to_pylist()
        ]
        assert Counter(found) == Counter(expected)
        assert {str(price) for *_, price, _, _ in found} == {f"{price:.8f}" for *_, price, _, _ in expected}
    assert {row["verdict"] for row in unpaused.verdicts()} == {"equal"}


def test_a_cycle_without_new_rows_succeeds_without_starting_spark(unpaused: AirflowStack) -> None:
    unpaused.run_dag()
    run, states = unpaused.run_dag()
    assert run.state == "success"
    offloads = {task: state for task, state in states.items() if ".offload_" in task}
    assert len(offloads) == 9
    assert set(offloads.values()) == {"skipped"}
    with connect(unpaused.connections.postgres) as session:
        rows = Ledger(session, "iceberg_offload").newest_rows()
    assert {row.kind for row in rows.values()} == {"empty"}
    assert {row.run_id for row in rows.values()} == {run.run_id}


@pytest.fixture
def slack(unpaused: AirflowStack) -> Iterator[Webhook]:
    """A webhook that the settings name for notifications."""
    with webhook() as found:
        address = ["--conn-type", "slackwebhook", "--conn-password", f"{found.url}/T0/B0/secret"]
        unpaused.airflow("connections", "add", "slack_alerts", *address)
        unpaused.api.set_variable("iceberg_offload_settings", json.dumps({"slack_conn_id": "slack_alerts"}))
        yield found
        unpaused.api.delete_variable("iceberg_offload_settings")
        unpaused.airflow("connections", "delete", "slack_alerts")


def test_a_broken_table_entry_fails_its_own_table_and_nothing_else_and_is_notified_once(
    unpaused: AirflowStack, slack: Webhook
) -> None:
    good = {
        "source": "bronze_trades_kraken",
        "target": "cold.bronze_trades_kraken",
        "layer": "bronze",
        "timestamp_col": "exchange_timestamp",
        "sequence_col": "sequence_number",
        "keys": ["symbol", "trade_id"],
    }
    broken = {**good, "target": "cold.bronze_trades_binance", "partition": "fortnight"}
    unpaused.api.set_variable("iceberg_offload_tables", json.dumps([broken, good]))
    try:
        unpaused.api.wait_for_tasks("iceberg_offload", 4 + 2, seconds=120)
        start = datetime.now(timezone.utc) - timedelta(minutes=5, seconds=20)
        unpaused.feed(
            "history",
            "--exchange",
            "kraken",
            "--rows",
            "50",
            "--from",
            start.isoformat(),
            "--to",
            (start + timedelta(seconds=10)).isoformat(),
        )
        run, states = unpaused.run_dag()
        freshness = check_freshness(unpaused)
    finally:
        unpaused.api.delete_variable("iceberg_offload_tables")
    assert run.state == "failed"
    assert states["bronze.offload_bronze_trades_kraken"] == "success"
    assert states["bronze.wait_bronze_trades_binance"] == "failed"
    assert "partition" in unpaused.task_log(run.run_id, "bronze.wait_bronze_trades_binance")
    (message,) = slack.messages
    assert message.startswith("*[iceberg_offload] The offload of bronze_trades_binance failed (configuration)*")
    assert "bronze_trades_kraken: lag 0." in freshness


def check_freshness(stack: AirflowStack) -> str:
    """Run the freshness DAG. Returns the log of its task."""
    stack.api.unpause(FRESHNESS)
    try:
        run_id = stack.api.trigger(FRESHNESS)
        *_, run = stack.api.follow(FRESHNESS, run_id, 120)
    finally:
        stack.api.pause(FRESHNESS)
    assert run.state == "success"
    return stack.task_log(run_id, "freshness", FRESHNESS)


def test_an_operator_runs_the_job_alone_with_only_the_five_arguments(unpaused: AirflowStack) -> None:
    end = datetime.now(timezone.utc) - timedelta(minutes=5, seconds=5)
    span = ["--from", (end - timedelta(seconds=5)).isoformat(), "--to", end.isoformat()]
    unpaused.feed("history", "--exchange", "binance", "--rows", "50", *span)
    output = unpaused.shell(
        'spark-submit --driver-class-path "$OFFLOAD_SPARK_JARS" include/spark/offload_generic.py '
        "--source-table bronze_trades_binance --target-table cold.bronze_trades_binance "
        "--timestamp-col exchange_timestamp --sequence-col sequence_number --layer bronze"
    )
    assert "Rows offloaded: 50" in output


@pytest.mark.full
def test_a_table_of_ones_own_is_added_as_the_readme_says(unpaused: AirflowStack) -> None:
    section = (CHECKOUT / "README.md").read_text().partition("### Your own table")[2].partition("\n### ")[0]
    blocks = re.findall(r"```(sh|json)\n(.*?)```", section, re.DOTALL)
    (make, set_up), (entry,) = ([text for language, text in blocks if language == name] for name in ("sh", "json"))
    shown = unpaused.shell(make)
    tables = [*json.loads(shown[shown.index("[\n") :]), json.loads(entry)]
    unpaused.api.set_variable("iceberg_offload_tables", json.dumps(tables))
    try:
        unpaused.api.wait_for_tasks("iceberg_offload", 2 * len(tables) + 2, seconds=120)
        init, trigger = [shlex.split(line, comments=True) for line in set_up.strip().splitlines()]
        assert "rides" in unpaused.offload(*init[1:])
        run, states = unpaused.run_dag(json.loads(trigger[-1]))
        assert run.state == "success", states
        (verdict,) = json.loads(unpaused.offload("verify", "rides", "--json"))
        assert (verdict["verdict"], verdict["cold_rows"]) == ("equal", 1_000)
    finally:
        unpaused.api.delete_variable("iceberg_offload_tables")
        unpaused.api.wait_for_tasks("iceberg_offload", 20, seconds=120)
