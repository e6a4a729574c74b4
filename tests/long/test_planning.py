"""Planning the read of one hour does not get slower with the number of days in a table."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.maintenance import manifests_wanted
from tests.support.spark.fault_tables import TradeTables, prepared
from tests.support.spark.faults import assert_exact
from tests.support.spark.foreign_writer import foreign_writer
from tests.support.spark.maintained_table import cold, maintain_well
from tests.support.spark.world import World

pytestmark = [pytest.mark.integration, pytest.mark.full]

START = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=400)
HOUR = timedelta(hours=1)
A_WEEK, A_MONTH, A_YEAR = 7, 31, 365
SIZE = "commit.manifest.target-size-bytes"


class Hourly(TradeTables):
    """Tables with one trade an hour."""

    def insert(self, table: TableConfig, first: int, count: int) -> None:
        """Insert trades, one an hour; the number of a trade is its hour."""
        self.world.hot.command(
            f"INSERT INTO {table.source} "
            f"SELECT number + {first} AS id, toDateTime64('{START:%F %T}', 6, 'UTC') + id * 3600, id, "
            f"toDecimal128(cityHash64(id) / 1e9, 8) FROM numbers({count})"
        )


@pytest.fixture(scope="module")
def trades(
    request: pytest.FixtureRequest, servers: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hourly]:
    with prepared(Hourly, request, servers, tmp_path_factory) as tables:
        yield tables


@pytest.fixture(scope="module")
def taken() -> dict[int, float]:
    """Planning times (milliseconds) by the number of days."""
    return {}


@pytest.mark.parametrize("days", [A_WEEK, A_MONTH, A_YEAR])
def test_a_plan_reads_few_entries_however_many_days_there_are(
    trades: Hourly, days: int, taken: dict[int, float], capsys: pytest.CaptureFixture[str]
) -> None:
    table = trades.take(24 * days)
    trades.world.run_well(table)
    own = "8000000" if days == A_MONTH else None
    if own is not None:
        with foreign_writer(trades.world) as spark:  # as a killed maintenance leaves it
            spark.sql(
                f"ALTER TABLE {spark.name(table)} SET TBLPROPERTIES ('{SIZE}' = '1', 'offload.held.{SIZE}' = '{own}')"
            )
    maintain_well(trades.world, table)
    properties = cold(trades.world, table).properties
    assert (properties.get(SIZE), properties.get(f"offload.held.{SIZE}")) == (own, None)
    taken[days] = planning_milliseconds(trades.world, table, days)
    with capsys.disabled():
        count = len(cold(trades.world, table).inspect.manifests())
        print(
            f" {days} days: {count} manifests, {taken[days]:.2f} ms, {taken[days] / taken[min(taken)]:.2f} times ",
            end="",
        )
    share = math.ceil(days / manifests_wanted(days, days))
    for day in range(days):
        assert 1 <= entries_read(trades.world, table, START + timedelta(days=day)) <= 4 * share
    assert_exact(trades.world, table, rows=24 * days)


def entries_read(world: World, table: TableConfig, day: datetime) -> int:
    """How many files are listed in the manifests that a plan for a day must read."""
    return sum(
        manifest["added_data_files_count"] + manifest["existing_data_files_count"]
        for manifest in cold(world, table).inspect.manifests().to_pylist()
        for summary in manifest["partition_summaries"]
        if summary["lower_bound"] <= f"{day:%F}" <= summary["upper_bound"]
    )


def planning_milliseconds(world: World, table: TableConfig, days: int) -> float:
    """CPU time in which pyiceberg plans the read of an hour of the last day: the median of 25."""
    found, start = cold(world, table), START + timedelta(days=days) - 2 * HOUR
    column = table.timestamp_col
    hour = And(GreaterThanOrEqual(column, start.isoformat()), LessThan(column, (start + HOUR).isoformat()))  # type: ignore[call-arg,arg-type]
    taken = []
    for _ in range(25):
        began = time.process_time()
        assert len(list(found.scan(row_filter=hour).plan_files())) == 1
        taken.append(time.process_time() - began)
    return statistics.median(taken) * 1000
