"""The checks of `offload doctor` that need Airflow: scheduler and DAG, last cycles, the Connection's Spark master."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from offload_airflow.compat.dag_runs import DagRuns
from offload_airflow.compat.health import dag_state, latest_runs, scheduler_state
from offload_airflow.compat.secrets import require_connection
from offload_airflow.compat.types import DagState, PastRun, RunState, SchedulerState
from offload_airflow.dag_ids import DAG_ID
from offload_ops.doctor.model import CYCLES, SCHEDULER, SERVERS, Check, CheckResult, Health
from offload_ops.doctor.servers import SPARK_MASTER, SPARK_PORT, check_spark_master
from offload_ops.text import clock_seconds

SLOW, TOO_SLOW = timedelta(minutes=5), timedelta(minutes=10)
"""How long a cycle may take, as in the alerts."""
HUNG = timedelta(minutes=15)
"""A cycle that runs longer than this delays the next one."""
_CYCLES = 3
"""How many of the last cycles are checked."""


def airflow_checks(spark_conn_id: str) -> list[Check]:
    """The checks, for the context of the command.

    Args:
        spark_conn_id: the Airflow Connection with the Spark master.
    """
    remedy = "See that Airflow's database is up."
    return [
        Check(SCHEDULER, lambda: check_scheduler(scheduler_state(), dag_state(DAG_ID)), remedy),
        Check(CYCLES, lambda: _check_cycles_now(datetime.now(timezone.utc)), remedy),
        Check(
            f"{SERVERS}: {SPARK_MASTER}",
            lambda: check_spark_master(spark_master(spark_conn_id)),
            f"See the Airflow Connection `{spark_conn_id}`.",
        ),
    ]


def spark_master(conn_id: str) -> str:
    """The Spark master of an Airflow Connection, as `spark-submit --master` takes it.

    Raises:
        FixConfiguration: there is no such Connection.
    """
    connection = require_connection(conn_id)
    host = connection.host or ""
    return f"{host}:{connection.port or SPARK_PORT}" if host.startswith("spark://") and "," not in host else host


def _check_cycles_now(now: datetime) -> list[CheckResult]:
    return [*check_cycles(latest_runs(DAG_ID, _CYCLES), now), *check_abandoned(DagRuns(DAG_ID).abandoned(now))]


def check_scheduler(scheduler: SchedulerState, dag: DagState) -> list[CheckResult]:
    """Check that a scheduler is alive and starts the DAG's runs. One result for each obstacle."""
    obstacles = [
        CheckResult(SCHEDULER, Health.RED, message, remedy)
        for is_obstacle, message, remedy in _scheduler_rules(scheduler, dag)
        if is_obstacle
    ]
    return obstacles or [CheckResult(SCHEDULER, Health.GREEN, f"Alive, and the DAG {DAG_ID} is switched on.")]


def _scheduler_rules(scheduler: SchedulerState, dag: DagState) -> list[tuple[bool, str, str]]:
    heartbeat = (
        f"its last heartbeat was at {clock_seconds(scheduler.heartbeat)}"
        if scheduler.heartbeat
        else "there never was one"
    )
    return [
        (
            not scheduler.is_alive,
            f"No scheduler is alive: {heartbeat}.",
            "Start it: `airflow scheduler`, or its service.",
        ),
        *(
            (
                True,
                f"Import error: {error}",
                "Fix what the error names, often a Variable; `airflow dags list-import-errors` shows it in full.",
            )
            for error in dag.import_errors
        ),
        (
            not dag.is_known,
            f"Airflow doesn't know the DAG {DAG_ID}.",
            "Copy `dags/` and `plugins/` into AIRFLOW_HOME, and see import errors.",
        ),
        (
            dag.is_known and dag.is_paused,
            f"The DAG {DAG_ID} is paused.",
            f"Switch it on: `airflow dags unpause {DAG_ID}`.",
        ),
    ]


def check_cycles(runs: Sequence[PastRun], now: datetime) -> list[CheckResult]:
    """Check how the last cycles ended, and how long they took. The first rule that applies decides.

    Args:
        runs: the last runs, newest first.
        now: the present (UTC).
    """
    if not runs:
        trigger = f"Trigger one: `airflow dags trigger {DAG_ID}`."
        return [CheckResult(CYCLES, Health.YELLOW, "No cycle has run yet.", trigger)]
    finished = [run for run in runs if run.ended is not None]
    newest = finished[0] if finished else None
    rules = [
        (
            any(run.ended is None and now - run.started > HUNG for run in runs),
            Health.RED,
            "See in Airflow which task is running; if it hangs, mark it failed, which ends it.",
        ),
        (
            newest is not None and newest.state == "failed",
            Health.RED,
            "See which tables failed (`offload status`), fix the cause, then clear the failed tasks or wait for the "
            "next run.",
        ),
        (
            newest is not None and _duration(newest, now) > TOO_SLOW,
            Health.RED,
            "See which task takes so long (Airflow's Gantt view), and whether ClickHouse holds many more rows than "
            "usual.",
        ),
        (
            any(run.state == "failed" or _duration(run, now) > SLOW for run in finished),
            Health.YELLOW,
            "Watch the next cycles.",
        ),
        (True, Health.GREEN, None),
    ]
    health, remedy = next((health, remedy) for applies, health, remedy in rules if applies)
    return [CheckResult(CYCLES, health, ", ".join(_summary(run, now) for run in runs), remedy)]


def check_abandoned(runs: Sequence[RunState]) -> list[CheckResult]:
    """Report the runs whose backfill has died, one result for each."""
    return [
        CheckResult(
            CYCLES,
            Health.RED,
            f"{run.run_id} is {run.state}, and the backfill that created it has died; no other run starts until it "
            "ends.",
            "Mark the run failed in Airflow, or run `offload backfill` again, which takes it over.",
        )
        for run in runs
    ]


def _summary(run: PastRun, now: datetime) -> str:
    ended = "after" if run.ended else "since"
    return f"{clock_seconds(run.started)} {run.state} {ended} {_duration(run, now).total_seconds():.1f} s"


def _duration(run: PastRun, now: datetime) -> timedelta:
    return (run.ended or now) - run.started
