"""Backfills by Airflow's own command and by `offload backfill`, next to the real scheduler: `make test-long`."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from tests.support.checkout import CHECKOUT
from tests.support.ledger.past_ledger import BRONZE, GOLD, MINUTE, PERIOD, SILVER, TABLES, PastLedger, newest_quarter
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack
from tests.support.stack.airflow_version import AIRFLOW_3
from tests.support.waiting import wait_until

pytestmark = pytest.mark.full


@contextmanager
def locked(stack: AirflowStack, table: str) -> Iterator[None]:
    """Hold a table's lock, so that a run of the table does not end."""
    with (
        closing(connect(stack.connections.postgres, "test")) as session,
        Ledger(session, "iceberg_offload").locked(table, wait_seconds=30),
    ):
        yield


@contextmanager
def backfilling(past: PastLedger, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running `offload backfill`, which is killed with the block if it does not end by itself."""
    command = [str(CHECKOUT / "bin" / "offload"), "backfill", "--yes", "--json", *options]
    with subprocess.Popen(
        command, env=past.stack.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_offload_backfill_waits_for_a_scheduled_run_that_is_running_and_lets_the_scheduler_continue(
    past: PastLedger,
) -> None:
    stack = past.stack
    stack.keep_from_the_quarter_hour()
    start = newest_quarter() - PERIOD
    span = ["--from", start.isoformat(), "--to", (start + 10 * MINUTE).isoformat()]
    with ExitStack() as holding:
        holding.enter_context(locked(stack, BRONZE))
        stack.api.unpause(DAG_ID)
        if start in stack.api.run_ids(DAG_ID):
            stack.api.clear(DAG_ID, past.run_id(start))
        wait_until(lambda: start in stack.api.run_ids(DAG_ID), "the scheduler to create its run", 60)
        run_id = past.run_id(start)
        assert run_id.startswith("scheduled__")
        wait_until(lambda: stack.api.state(DAG_ID, run_id) == "running", "it to begin", 60)
        refusal = stack.offload("backfill", "--yes", "--wait", "0", *span, status=2)
        assert f"{run_id} (running)" in refusal
        assert not stack.api.is_paused(DAG_ID)
        with backfilling(past, *span) as command:
            assert command.stderr is not None
            assert any(f"Waiting for {run_id}" in line for line in command.stderr)
            holding.close()
            output, errors = command.communicate(timeout=300)
    assert command.returncode == 0, errors
    assert [run["state"] for run in json.loads(output)["runs"]] == ["success"]
    assert not stack.api.is_paused(DAG_ID)
    assert past.differing() == set()


def test_airflows_own_backfill_with_reset_repairs_late_rows_and_its_runs_can_be_cleared_afterwards(
    past: PastLedger,
) -> None:
    stack = past.stack
    stack.keep_from_the_quarter_hour()
    if not AIRFLOW_3:  # where the scheduler runs backfills, of no DAG that is paused
        stack.api.pause(DAG_ID)
    past.insert(15, past.midnight - PERIOD + 4 * MINUTE)
    airflows_own(past)
    assert past.differing() == set(TABLES), "runs that have succeeded run again only on request"
    airflows_own(past, again=True)
    assert past.differing() == set()
    assert f"✓ {SILVER}: Rows repaired: 15," in past.summary(past.run_id(past.midnight - PERIOD))
    stack.api.unpause(DAG_ID)
    stack.run_dag()
    run, states = stack.rerun(past.run_id(past.midnight - PERIOD))
    assert run.state == "success", states
    assert past.differing() == set()


def test_a_terminated_backfill_leaves_nothing_unfinished_and_the_scheduler_running(
    past: PastLedger,
) -> None:
    stack, run_id = past.stack, past.run_id(past.midnight)
    stack.api.unpause(DAG_ID)
    stack.keep_from_the_quarter_hour()
    span = ["--from", past.midnight.isoformat(), "--to", past.span[1]]
    with backfilling(past, "--rerun", *span) as command:
        wait_until(lambda: "running" in stack.api.task_states(DAG_ID, run_id).values(), "the backfill to begin")
        assert stack.api.is_paused(DAG_ID) is not AIRFLOW_3, "on 2.11, the scheduler would take the backfill's runs"
        command.send_signal(signal.SIGTERM)
        _, errors = command.communicate(timeout=120)
    assert command.returncode not in (0, None)
    assert (
        f"{run_id} had not finished and was marked as failed." if AIRFLOW_3 else f"{DAG_ID} is not paused any more."
    ) in errors
    assert not stack.api.is_paused(DAG_ID)
    assert stack.api.state(DAG_ID, run_id) == "failed"
    run, states = stack.rerun(run_id)
    assert run.state == "success", states
    assert past.differing() == set()


def test_a_backfill_of_one_table_touches_no_other_and_one_run_does_the_rest(past: PastLedger) -> None:
    stack = past.stack
    stack.api.unpause(DAG_ID)
    stack.keep_from_the_quarter_hour()
    past.insert(12, past.midnight - 2 * MINUTE)
    start, end = past.span
    span = ["--from", start, "--to", end]
    stack.offload("backfill", "--dry-run", *span)
    assert past.differing() == set(TABLES)
    stack.offload("backfill", "--yes", "--table", SILVER, *span, status=1)
    stack.offload("backfill", "--yes", "--rerun", "--table", SILVER, *span)
    assert past.differing() == {BRONZE, GOLD}
    for moment in (past.midnight - PERIOD, past.midnight):
        log = stack.task_log(past.run_id(moment), f"silver.offload_{SILVER}")
        assert "Ending spark-submit" not in log, "the table's job began before its sensor had ended"
    stack.offload("backfill", "--yes", "--one-run", *span)
    assert past.differing() == set()


def test_airflows_own_backfill_beside_the_scheduler_and_a_manual_run_ends_with_equal_tables(
    past: PastLedger,
) -> None:
    stack = past.stack
    stack.api.unpause(DAG_ID)
    stack.keep_from_the_quarter_hour()
    past.insert(14, past.midnight - PERIOD + 8 * MINUTE)
    start, end = past.span
    manual = stack.api.trigger(DAG_ID, {"from": start, "to": end})
    # The DAG is not paused. On 2.11 the scheduler may take the runs that were reset; the backfill then runs some of
    # them twice, or reports a deadlock.
    airflows_own(past, "--rerun-failed-tasks", again=True, status=None)
    stack.finished(manual)
    stack.run_dag()
    assert past.differing() == set()


def airflows_own(past: PastLedger, *options_of_2: str, again: bool = False, status: int | None = 0) -> None:
    """Run Airflow's own backfill of the past to its end; with `again`, also runs that have succeeded."""
    stack = past.stack
    first, last = (past.midnight - PERIOD).isoformat(), past.midnight.isoformat()
    if AIRFLOW_3:
        wait_until(lambda: not stack.api.has_backfills(DAG_ID), "other backfills to end", 120)
        reprocess = "completed" if again else "none"
        span = ("--from-date", first, "--to-date", last)
        stack.airflow("backfill", "create", "--dag-id", DAG_ID, *span, "--reprocess-behavior", reprocess)
        wait_until(lambda: not stack.api.has_backfills(DAG_ID), "the backfill to end", 300)
    else:
        options = (*options_of_2, "--reset-dagruns", "-y") if again else options_of_2
        stack.airflow("dags", "backfill", DAG_ID, "-s", first, "-e", last, *options, status=status)
