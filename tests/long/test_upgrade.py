"""An installation of Airflow 2.11 moves to Airflow 3 (docs/upgrade-airflow-3.md) without a lost or doubled row."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from install.airflow_version import AIRFLOW_3
from install.layout import Layout
from offload_core.config.tables import DEFAULT_TABLES
from tests.support.reaper import temporary_folder
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack, started_stack, upgraded

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not all(Layout.of_checkout().python(name).exists() for name in ("airflow", AIRFLOW_3.environment)),
        reason="both versions of Airflow are needed: make setup, make setup AIRFLOW=3",
    ),
]
ROWS = 2_000
"""Trades per exchange before the upgrade, and again after it."""


@pytest.fixture(scope="module")
def old() -> Iterator[AirflowStack]:
    """A stack of Airflow 2.11, with the DAG switched on."""
    with temporary_folder("upgrade") as folder, started_stack(folder, OFFLOAD_AIRFLOW="2") as stack:
        stack.api.unpause(DAG_ID)
        yield stack


@pytest.fixture(scope="module")
def offloaded(old: AirflowStack) -> AirflowStack:
    """The stack after an hour of trades has been offloaded and an operator has set a Variable."""
    old.api.set_variable("iceberg_offload_settings", json.dumps({"audit_hours": 7}))
    # On another day than those after the upgrade, so that no daily candle in Iceberg changes.
    trades(old, until=now() - timedelta(hours=29), seed=1)
    run, states = old.run_dag()
    assert run.state == "success", states
    assert_equal(old, ROWS)
    return old


@pytest.fixture(scope="module")
def steps(offloaded: AirflowStack) -> list[dict[str, object]]:
    """A table's ledger rows before the upgrade."""
    return history(offloaded)


@pytest.fixture(scope="module")
def moved(offloaded: AirflowStack, steps: list[dict[str, object]]) -> AirflowStack:
    """The stack on Airflow 3, after more trades have been offloaded."""
    assert steps
    found = upgraded(offloaded)
    trades(found, until=now() - timedelta(hours=1), seed=2)
    run, states = found.run_dag()
    assert run.state == "success", states
    return found


def test_without_being_asked_for_a_state_folder_is_not_upgraded(offloaded: AirflowStack) -> None:
    refused = up(offloaded, "3")

    assert refused.returncode == 1
    assert "belongs to Airflow 2.11, not 3" in refused.stderr
    assert "make upgrade AIRFLOW=3" in refused.stderr
    assert offloaded.api.newest_run(DAG_ID), "the running stack continues"


def test_every_row_is_in_iceberg_once_from_before_and_after(moved: AirflowStack) -> None:
    assert_equal(moved, 2 * ROWS)


def test_the_ledger_goes_on_where_it_was(steps: list[dict[str, object]], moved: AirflowStack) -> None:
    after = history(moved)

    assert len(after) > len(steps)
    assert [step for step in after if step in steps] == steps


def test_runs_and_variables_are_still_there_and_the_dag_is_on(moved: AirflowStack) -> None:
    runs = {run["dag_run_id"]: run["state"] for run in moved.api.runs(DAG_ID)}

    assert len([run for run, state in runs.items() if state == "success"]) >= 2
    assert json.loads(moved.airflow("variables", "get", "iceberg_offload_settings").splitlines()[-1]) == {
        "audit_hours": 7
    }
    assert not moved.api.is_paused(DAG_ID)


def test_a_run_from_before_that_is_cleared_finds_everything_in_place(moved: AirflowStack) -> None:
    first = moved.api.runs(DAG_ID)[-1]["dag_run_id"]

    run, states = moved.rerun(first)

    assert run.state == "success", states
    assert_equal(moved, 2 * ROWS)


def test_there_is_no_way_back_but_a_copy(moved: AirflowStack) -> None:
    refused = up(moved, "2")

    assert refused.returncode == 1
    assert "belongs to Airflow 3, not 2.11" in refused.stderr
    assert "restore a copy" in refused.stderr


def trades(stack: AirflowStack, until: datetime, seed: int) -> None:
    """Insert generated trades of the hour before a moment."""
    start = until - timedelta(hours=1)
    span = ("--from", start.isoformat(), "--to", until.isoformat())
    stack.feed("history", "--rows", str(ROWS), "--seed", str(seed), *span)


def assert_equal(stack: AirflowStack, rows: int) -> None:
    """Check that both tiers are equal for every table, and that the bronze tables have `rows` trades."""
    verdicts = {verdict["table"]: verdict for verdict in stack.verdicts()}
    assert {verdict["verdict"] for verdict in verdicts.values()} == {"equal"}
    for table in DEFAULT_TABLES[:2]:
        assert verdicts[table.name]["cold_rows"] == rows


def history(stack: AirflowStack) -> list[dict[str, object]]:
    """A table's ledger rows, from `offload history`."""
    found: list[dict[str, object]] = json.loads(stack.offload("history", DEFAULT_TABLES[0].name, "--json"))
    return found


def up(stack: AirflowStack, version: str) -> subprocess.CompletedProcess[str]:
    """Run `make up` with a version of Airflow."""
    command = [str(stack.layout.python("devstack")), "-m", "devstack", "up", "--airflow"]
    environ = {**stack.environ, "OFFLOAD_AIRFLOW": version}
    return subprocess.run(command, cwd=stack.layout.checkout, env=environ, check=False, capture_output=True, text=True)


def now() -> datetime:
    """The present (UTC), to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)
