"""How an operator recovers in Airflow, with the real scheduler: clears runs and tasks, and triggers with a conf."""

from __future__ import annotations

import re
import time
from datetime import datetime

import pytest

from devstack.stack.errors import AirflowRefusedError
from tests.support.ledger.past_ledger import BRONZE, GOLD, MINUTE, PERIOD, SILVER, TABLES, PastLedger
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack
from tests.support.stack.airflow_version import AIRFLOW_3
from tests.support.waiting import wait_until

AUDIT = "iceberg_offload_audit"
OFFLOADS = {"bronze": f"bronze.offload_{BRONZE}", "silver": f"silver.offload_{SILVER}", "gold": f"gold.offload_{GOLD}"}


def offloads(states: dict[str, str]) -> list[str]:
    """States of the Spark tasks, layer by layer."""
    return [states[task] for task in OFFLOADS.values()]


@pytest.fixture
def unpaused(past: PastLedger) -> AirflowStack:
    """The stack with the DAG switched on and the scheduler's first run completed."""
    past.switch_on()
    return past.stack


def test_a_backfill_over_empty_cold_tables_moves_every_row_across_midnight_and_leaves_the_dag_as_it_was(
    past: PastLedger,
) -> None:
    runs, tables = past.backfilled["runs"], past.backfilled["tables"]
    starts = [datetime.fromisoformat(run["start"]) for run in runs]
    assert starts == [past.midnight - PERIOD, past.midnight]
    assert {run["state"] for run in runs} == {"success"}
    assert {table["table"]: table["verdict"] for table in tables} == dict.fromkeys(TABLES, "equal")
    assert {table["cold_rows"] for table in tables if table["table"] != GOLD} == {600}
    assert past.stack.api.is_paused(DAG_ID)
    assert past.differing() == set()


def test_a_cleared_run_of_which_all_is_right_compares_and_writes_nothing(
    past: PastLedger, unpaused: AirflowStack
) -> None:
    run_id = past.run_id(past.midnight - PERIOD)
    unpaused.keep_from_the_quarter_hour()
    snapshots, before = past.snapshots(), past.newest(BRONZE)
    run, states = unpaused.rerun(run_id)
    assert run.state == "success", states
    assert offloads(states) == ["skipped"] * 3
    assert past.snapshots() == snapshots
    assert past.newest(BRONZE) == before
    for table in TABLES:
        assert f"✓ {table}: verified, " in past.summary(run_id)


def test_clearing_one_table_of_a_run_repairs_that_table_alone_and_clearing_the_run_the_rest(
    past: PastLedger, unpaused: AirflowStack
) -> None:
    start = past.midnight - PERIOD
    run_id = past.run_id(start)
    unpaused.keep_from_the_quarter_hour()
    past.insert(25, start + MINUTE)
    before = past.newest(BRONZE)
    assert past.differing() == set(TABLES)
    span = ["-s", start.isoformat(), "-e", start.isoformat()]
    unpaused.airflow("tasks", "clear", DAG_ID, "-t", BRONZE, "-y", *span)
    run, states = unpaused.finished(run_id)
    assert run.state == "success", states
    assert past.differing() == {SILVER, GOLD}
    repair = past.newest(BRONZE)
    assert (repair.kind, repair.row_count, repair.run_id) == ("repair", 25, run_id)
    assert repair.cursor == before.cursor
    assert repair.last_successful_run == before.last_successful_run
    run, states = unpaused.rerun(run_id)
    assert run.state == "success", states
    assert offloads(states) == ["skipped", "success", "success"]
    assert f"✓ {SILVER}: Rows repaired: 25," in past.summary(run_id)
    assert past.differing() == set()


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ({"tables": ["bronze_trades_binanze"]}, "bronze_trades_binanze"),
        ({"layers": ["platinum"]}, "platinum"),
        ({"mode": "destroy"}, "destroy"),
        ({"from": "yesterday", "to": "today"}, "yesterday"),
    ],
)
def test_a_wrong_value_is_refused_by_airflow_when_the_run_is_triggered(
    past: PastLedger, conf: dict[str, object], named: str
) -> None:
    with pytest.raises(AirflowRefusedError, match=f"400.*{named}"):
        past.stack.api.trigger(DAG_ID, conf)


def test_a_conf_that_makes_no_sense_as_a_whole_ends_the_run_with_the_remedy_and_nothing_is_done(
    past: PastLedger, unpaused: AirflowStack
) -> None:
    run, states = unpaused.finished(unpaused.api.trigger(DAG_ID, {"from": past.span[0], "table": BRONZE}))
    assert run.state == "failed"
    assert states["open_cycle"] == "failed"
    assert set(offloads(states)) == {"upstream_failed"}
    log = unpaused.task_log(run.run_id, "open_cycle")
    assert "`to` is missing" in log or "table: Extra inputs are not permitted" in log
    assert past.newest(BRONZE).run_id != run.run_id


def test_a_run_for_one_table_leaves_the_others_alone_and_a_verified_interval_says_so(
    past: PastLedger, unpaused: AirflowStack
) -> None:
    start, end = past.span
    conf = {"mode": "verify", "tables": [SILVER], "layers": None, "from": start, "to": end}
    run, states = unpaused.run_dag(conf)
    assert run.state == "success", states
    assert offloads(states) == ["skipped"] * 3
    summary = past.summary(run.run_id)
    assert f"✓ {BRONZE}: not selected" in summary
    # The number depends on which tests have inserted rows before.
    assert re.search(rf"✓ {SILVER}: verified, [1-9]\d* rows equal", summary)


@pytest.mark.full
def test_verify_fails_where_rows_are_missing_and_a_run_from_to_inserts_them(
    past: PastLedger, unpaused: AirflowStack
) -> None:
    unpaused.keep_from_the_quarter_hour()
    past.insert(10, past.midnight)
    start, end = past.span
    snapshots, before = past.snapshots(), past.newest(SILVER)
    run, states = unpaused.run_dag({"mode": "verify", "from": start, "to": end})
    assert run.state == "failed"
    assert set(offloads(states)) == {"upstream_failed"}
    assert past.snapshots() == snapshots
    assert past.newest(SILVER) == before
    assert "mode repair" in unpaused.task_log(run.run_id, f"silver.wait_{SILVER}")
    assert "differs in" in past.summary(run.run_id)
    run, states = unpaused.run_dag({"layers": ["bronze", "silver"], "from": start, "to": end})
    assert run.state == "success", states
    assert offloads(states) == ["success", "success", "skipped"]
    assert past.differing() == {GOLD}
    run, states = unpaused.run_dag({"mode": "restate", "tables": [GOLD], "from": start, "to": end})
    assert run.state == "success", states
    assert f"✓ {GOLD}: Rows restated: " in past.summary(run.run_id)
    assert past.differing() == set()


@pytest.mark.full
def test_restate_replaces_an_interval_and_is_refused_where_clickhouse_no_longer_holds_it(
    past: PastLedger, unpaused: AirflowStack
) -> None:
    unpaused.keep_from_the_quarter_hour()
    past.take(BRONZE, past.midnight - 4 * MINUTE)
    start, end = past.span
    conf: dict[str, object] = {"tables": [BRONZE], "from": start, "to": end}
    run, _ = unpaused.run_dag({**conf, "mode": "verify"})
    assert run.state == "failed"
    assert "mode restate" in unpaused.task_log(run.run_id, f"bronze.wait_{BRONZE}")
    run, states = unpaused.run_dag({**conf, "mode": "restate"})
    assert run.state == "success", states
    assert past.differing() == set()
    past.take(BRONZE, past.midnight - PERIOD)
    gone = (past.midnight - PERIOD + 2 * MINUTE).isoformat()
    run, states = unpaused.run_dag({**conf, "mode": "restate", "to": gone})
    assert run.state == "failed", states
    assert "cannot be restated" in past.summary(run.run_id)
    assert past.differing() == set()


def test_the_hourly_audit_inserts_what_came_late_and_finds_nothing_the_second_time(
    past: PastLedger, unpaused: AirflowStack
) -> None:
    api = unpaused.api
    api.unpause(AUDIT)
    wait_until(lambda: not 2070 < time.time() % 3600 < 2160, "the scheduler's own audit to be over", seconds=120)
    unpaused.finished(api.wait_for_newer_run(AUDIT, "none", seconds=60), AUDIT)
    past.insert(15, past.midnight - PERIOD + 4 * MINUTE)
    run, states = unpaused.finished(unpaused.api.trigger(AUDIT), AUDIT)
    assert run.state == "success", states
    assert [states[f"{step}_{BRONZE}"] for step in ("audit", "repair", "look_again")] == ["success"] * 3
    log = unpaused.task_log(run.run_id, f"audit_{BRONZE}", AUDIT)
    assert "lacks 15 rows that arrived late" in log
    assert f"{BRONZE}: success, late rows: 15" in unpaused.task_log(run.run_id, "close_audit", AUDIT)
    assert past.differing() == set()
    run, states = unpaused.finished(unpaused.api.trigger(AUDIT), AUDIT)
    assert run.state == "success", states
    assert {states[f"repair_{table}"] for table in TABLES} == {"skipped"}
    api.pause(AUDIT)


@pytest.mark.skipif(AIRFLOW_3, reason="its form is drawn in the browser: tests/integration/test_status_page.py")
def test_the_trigger_form_has_a_field_for_each_and_nobody_types_json(past: PastLedger) -> None:
    page = past.stack.page(f"/dags/{DAG_ID}/trigger")
    for field in ("mode", "tables", "layers", "from", "to"):
        assert f'name="element_{field}"' in page
    for table in TABLES:
        assert f'<option value="{table}"' in page
    assert "restate: replace the interval by" in page
    assert page.count("datetimepicker") >= 2
