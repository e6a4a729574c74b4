"""A month of cycles, with late rows and expiring ones: the cold tier stays right, small and quick to plan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest

from offload_core.connections import Connections
from offload_core.run_plan import RunMode
from tests.support.faults import assert_exact
from tests.support.simulation import CYCLE, Simulation, simulation
from tests.support.world import new_world

DAYS = int(os.environ.get("OFFLOAD_SIMULATED_DAYS", "30"))
CYCLES_PER_DAY = timedelta(days=1) // CYCLE

pytestmark = [pytest.mark.integration, pytest.mark.full]


@pytest.fixture(scope="module")
def month(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """The month, not begun."""
    with new_world(servers, tmp_path_factory.mktemp("world")) as world, simulation(world, DAYS) as made:
        yield made


def test_a_month_of_cycles_ends_with_both_tiers_the_same(month: Simulation) -> None:
    for _ in range(DAYS):
        for _ in range(CYCLES_PER_DAY):
            month.cycle()
        month.expire()
    assert month.arrived_late
    end = month.now + timedelta(hours=1)
    for table in month.tables:
        month.run(table, RunMode.REPAIR, month.start, end)
        assert_exact(month.world, table)
