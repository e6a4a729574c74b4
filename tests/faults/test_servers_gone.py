"""A server fails at any step and returns later: a clear error, nothing half-written, and the next attempt continues."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from offload_core.failpoints import Failpoint
from tests.support.fakes.fault_proxy import FaultProxy, proxied
from tests.support.spark.fault_tables import TradeTables
from tests.support.spark.faults import assert_exact, visible_rows

POINTS = [point.value for point in Failpoint]
LAST_NEED = {"clickhouse": "after-files", "catalog": "after-audit", "ledger": "in-ledger-transaction"}
"""The last failpoint after which an attempt still needs the server; at the end ClickHouse confirms its columns."""
KINDS = {"clickhouse": "clickhouse_connection", "catalog": "iceberg_catalog", "ledger": "postgres_connection"}
QUICK = [("clickhouse", "mid-read"), ("catalog", "after-files")]
DOWNLOAD = b"FORMAT Parquet"
COUNT = b"AS offload_newest"


@pytest.mark.parametrize(
    ("server", "point"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.full, id="-".join(case))
        for case in product(LAST_NEED, POINTS)
    ],
)
def test_a_server_that_goes_away_and_comes_back_costs_one_attempt(trades: TradeTables, server: str, point: str) -> None:
    world, table = trades.world, trades.take(10)
    if server == "clickhouse":
        world = world.with_settings(rows_per_file=2, fetch_parallelism=1)
    world.run_well(table)
    trades.insert(table, 10, 10)
    with proxied(world) as (job_world, proxies):
        proxy: FaultProxy = getattr(proxies, server)
        with job_world.paused(table, point) as job:
            proxy.vanish()
        ended = job_world.finish(job)
        if POINTS.index(point) > POINTS.index(LAST_NEED[server]):
            assert ended.status == 0, ended.output
        else:
            kind = "commit_state_unknown" if (server, point) == ("catalog", "after-audit") else KINDS[server]
            assert (ended.status, ended.error["kind"]) == (10, kind), ended.output
            assert "next attempt" in str(ended.error["message"])
        is_published = server == "ledger" or ended.status == 0 or point in POINTS[POINTS.index("after-publish") :]
        assert visible_rows(world, table) == (20 if is_published else 10)
        proxy.back()
        trades.insert(table, 20, 5)
        job_world.run_well(table)
    assert_exact(world, table, rows=25)


@pytest.mark.parametrize(
    ("request_pattern", "answer_bytes"),
    [
        pytest.param(DOWNLOAD, 0, id="before the answer's first byte", marks=pytest.mark.full),
        pytest.param(DOWNLOAD, 200, id="in the answer's head", marks=pytest.mark.full),
        pytest.param(DOWNLOAD, 20_000, id="in the middle of the file"),
        pytest.param(COUNT, 250, id="while it counts", marks=pytest.mark.full),
    ],
)
def test_a_clickhouse_that_dies_while_it_answers_leaves_no_file_and_no_row(
    trades: TradeTables, request_pattern: bytes, answer_bytes: int
) -> None:
    world, table = trades.world, trades.take(10_000)
    with proxied(world) as (job_world, proxies):
        proxies.clickhouse.shorten_answer(request_pattern, answer_bytes, refuses=True)
        ended = job_world.run(table)
        assert proxies.clickhouse.has_struck
    assert (ended.status, ended.error["kind"]) == (10, "clickhouse_connection"), ended.output
    folder = world.warehouse / "cold" / table.name
    assert not [path for path in (folder / "data").rglob("*") if path.is_file()]
    world.run_well(table)
    assert_exact(world, table, rows=10_000)


@pytest.mark.full
def test_one_answer_that_breaks_off_among_many_files_leaves_none_of_them(trades: TradeTables) -> None:
    table = trades.take(10_000)
    world = trades.world.with_settings(rows_per_file=1_000)
    with proxied(world) as (job_world, proxies):
        proxies.clickhouse.shorten_answer(DOWNLOAD, 5_000, skip=6)
        ended = job_world.run(table)
        assert proxies.clickhouse.has_struck
    assert (ended.status, ended.error["kind"]) == (10, "clickhouse_connection"), ended.output
    assert not [path for path in (world.warehouse / "cold" / table.name / "data").rglob("*") if path.is_file()]
    world.run_well(table)
    assert_exact(world, table, rows=10_000)


def test_a_complete_answer_with_too_few_rows_is_never_published(trades: TradeTables) -> None:
    world, table = trades.world, trades.take(10)
    with proxied(world) as (job_world, proxies):
        last = b"param_file_last=2026-11-01+%s"
        proxies.clickhouse.rewrite(last % b"23%3A59%3A59", last % b"12%3A00%3A04")
        ended = job_world.run(table)
        assert proxies.clickhouse.has_struck
    assert (ended.status, ended.error["kind"]) == (10, "audit"), ended.output
    assert trades.kinds(table) == []
    world.run_well(table)
    assert_exact(world, table, rows=10)


@pytest.mark.full
def test_a_clickhouse_that_falls_silent_ends_the_attempt(trades: TradeTables) -> None:
    world, table = trades.world, trades.take(10)
    with proxied(world.with_settings(clickhouse_timeout_seconds=1)) as (job_world, proxies):
        proxies.clickhouse.silence(DOWNLOAD)
        ended = job_world.run(table)
        assert proxies.clickhouse.has_struck
    assert (ended.status, ended.error["kind"]) == (10, "clickhouse_connection"), ended.output
    world.run_well(table)
    assert_exact(world, table, rows=10)


@pytest.mark.full
@pytest.mark.parametrize("request_pattern", [b"SELECT", b"UPDATE"])
def test_a_catalog_that_falls_silent_is_asked_again(trades: TradeTables, request_pattern: bytes) -> None:
    world, table = trades.world, trades.take(10)
    world.run_well(table)
    trades.insert(table, 10, 10)
    with proxied(world) as (job_world, proxies):
        iceberg = job_world.connections.iceberg.model_copy(update={"properties": {"jdbc.socketTimeout": "2"}})
        job_world = replace(job_world, connections=job_world.connections.model_copy(update={"iceberg": iceberg}))
        proxies.catalog.silence(request_pattern)
        ended = job_world.run(table)
        assert proxies.catalog.has_struck
    assert ended.status == 0, ended.output
    assert_exact(world, table, rows=20)
