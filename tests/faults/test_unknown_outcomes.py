"""A commit without an answer, successful or not, is never published twice, and its files are never deleted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.fakes.fault_proxy import FaultProxy, proxied
from tests.support.spark.fault_tables import TradeTables
from tests.support.spark.faults import assert_exact, visible_rows

CATALOG_COMMIT = b"UPDATE iceberg_tables"
LEDGER_COMMIT = b"COMMIT"


def strike(proxy: FaultProxy, pattern: bytes, outcome: str, **options: object) -> None:
    """Let the next commit succeed without its answer, or get lost."""
    order = proxy.swallow_answer if outcome == "landed" else proxy.lose_request
    order(pattern, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    """A catalog commit without an answer.

    Attributes:
        commit: the commit, which `COMMITS` describes.
        outcome: whether the commit landed or was lost.
        catalog: whether the catalog stays reachable.
        kind: the kind of the attempt's error; None if the attempt finds out by itself and succeeds.
        steps: the kinds of the ledger's rows after the next run.
        is_quick: whether the case runs in `make test`.
    """

    commit: str
    outcome: str
    catalog: str
    kind: str | None
    steps: str
    is_quick: bool = False


# The failpoint before each commit, and the number of commits between the two.
COMMITS = {"branch": ("after-files", 0), "rows": ("after-files", 1), "publish": ("after-audit", 0)}
CASES = [
    Case("branch", "landed", "stays", None, "increment increment empty"),
    Case("branch", "landed", "goes", "iceberg_catalog", "increment increment"),
    Case("branch", "lost", "stays", None, "increment increment empty"),
    Case("branch", "lost", "goes", "iceberg_catalog", "increment increment"),
    Case("rows", "landed", "stays", None, "increment increment empty", is_quick=True),
    Case("rows", "landed", "goes", "iceberg_catalog", "increment increment"),
    Case("rows", "lost", "stays", None, "increment increment empty"),
    Case("rows", "lost", "goes", "iceberg_catalog", "increment increment"),
    Case("publish", "landed", "stays", None, "increment increment empty"),
    Case("publish", "landed", "goes", "commit_state_unknown", "increment recovered empty", is_quick=True),
    Case("publish", "lost", "stays", None, "increment increment empty"),
    Case("publish", "lost", "goes", "commit_state_unknown", "increment increment"),
]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            marks=() if case.is_quick else pytest.mark.full,
            id=f"{case.commit}-{case.outcome}-catalog-{case.catalog}",
        )
        for case in CASES
    ],
)
def test_a_catalog_commit_without_an_answer_ends_in_every_row_once(trades: TradeTables, case: Case) -> None:
    world, table = trades.world, trades.take(10)
    world.run_well(table)
    trades.insert(table, 10, 10)
    point, skip = COMMITS[case.commit]
    with proxied(world) as (job_world, proxies):
        with job_world.paused(table, point) as job:
            strike(proxies.catalog, CATALOG_COMMIT, case.outcome, skip=skip, refuses=case.catalog == "goes")
        ended = job_world.finish(job)
        assert proxies.catalog.has_struck
    if case.kind is None:
        assert ended.status == 0, ended.output
    else:
        assert (ended.status, ended.error["kind"]) == (10, case.kind), ended.output
        assert "None" not in str(ended.error["message"])
        assert ".." not in str(ended.error["message"])
    is_published = case.kind is None or (case.commit, case.outcome) == ("publish", "landed")
    assert visible_rows(world, table) == (20 if is_published else 10)
    world.run_well(table)
    assert trades.kinds(table) == case.steps.split()
    assert_exact(world, table, rows=20)


@pytest.mark.full
@pytest.mark.parametrize("outcome", ["landed", "lost"])
def test_a_ledger_commit_without_an_answer_moves_the_watermark_once(trades: TradeTables, outcome: str) -> None:
    world, table = trades.world, trades.take(10)
    with proxied(world) as (job_world, proxies):
        with job_world.paused(table, "in-ledger-transaction") as job:
            strike(proxies.ledger, LEDGER_COMMIT, outcome)
        ended = job_world.finish(job)
        assert proxies.ledger.has_struck
    assert (ended.status, ended.error["kind"]) == (10, "postgres_connection"), ended.output
    trades.insert(table, 10, 5)
    world.run_well(table)
    assert trades.kinds(table) == ["increment" if outcome == "landed" else "recovered", "increment"]
    assert_exact(world, table, rows=15)
