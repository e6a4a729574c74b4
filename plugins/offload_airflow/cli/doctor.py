"""The checks of `offload doctor` that need Airflow: the scheduler with the DAG, the last cycles, and the Spark master of its Connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from offload_airflow.compat.dag_runs import DagRuns
from offload_airflow.compat.health import dag_state, latest_runs, scheduler_state
from offload_airflow.compat.secrets import require_connection
from offload_airflow.compat.types import DagState, PastRun, RunState, SchedulerState
from offload_airflow.dag_ids import DAG_ID
from offload_ops.doctor.checks import SPARK_MASTER, SPARK_PORT, check_spark_master
from offload_ops.doctor.model import CYCLES, SCHEDULER, SERVERS, Check, Finding, Health

SLOW, TOO_SLOW = timedelta(minutes=5), timedelta(minutes=10)
"""Of a cycle, as in the alerts."""
HUNG = timedelta(minutes=15)
"""A cycle that is at work longer than that misses the next one."""
_CYCLES = 3


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
    """The Spark master of an Airflow Connection, as `spark-submit --master` takes it. Raises FixConfiguration if there is none."""
    connection = require_connection(conn_id)
    host = connection.host or ""
    return f"{host}:{connection.port or SPARK_PORT}" if host.startswith("spark://") and "," not in host else host


def _check_cycles_now(now: datetime) -> list[Finding]:
    return [*check_cycles(latest_runs(DAG_ID, _CYCLES), now), *check_abandoned(DagRuns(DAG_ID).abandoned(now))]


def check_scheduler(scheduler: SchedulerState, dag: DagState) -> list[Finding]:
    """Is a scheduler alive that starts the DAG's runs? One finding for each thing in its way."""
    found: list[Finding] = []
    if not scheduler.is_alive:
        last = (
            f"its last heartbeat was at {_clock(scheduler.heartbeat)}" if scheduler.heartbeat else "there never was one"
        )
        found.append(_red(f"No scheduler is alive: {last}.", "Start it: `airflow scheduler`, or its service."))
    found += [
        _red(
            f"Import error: {error}",
            "Mend what the error names, often a Variable; `airflow dags list-import-errors` shows it in full.",
        )
        for error in dag.import_errors
    ]
    if not dag.is_known:
        found.append(
            _red(
                f"Airflow doesn't know the DAG {DAG_ID}.",
                "Copy `dags/` and `plugins/` into AIRFLOW_HOME, and see import errors.",
            )
        )
    elif dag.is_paused:
        found.append(_red(f"The DAG {DAG_ID} is paused.", f"Switch it on: `airflow dags unpause {DAG_ID}`."))
    return found or [Finding(SCHEDULER, Health.GREEN, f"Alive, and the DAG {DAG_ID} is switched on.")]


def check_cycles(runs: Sequence[PastRun], now: datetime) -> list[Finding]:
    """How did the last cycles end, and how long did they take?"""
    if not runs:
        return [
            Finding(CYCLES, Health.YELLOW, "No cycle has run yet.", f"Trigger one: `airflow dags trigger {DAG_ID}`.")
        ]
    told = ", ".join(_told(run, now) for run in runs)
    finished = [run for run in runs if run.ended is not None]
    running = [run for run in runs if run.ended is None]
    if any(now - run.started > HUNG for run in running):
        remedy = "See in Airflow which task is at work; if it hangs, mark it failed, which ends it."
        return [Finding(CYCLES, Health.RED, told, remedy)]
    if finished and finished[0].state == "failed":
        remedy = "See which tables failed (`offload status`), mend that, then clear the failed tasks or wait for the next run."
        return [Finding(CYCLES, Health.RED, told, remedy)]
    if finished and _duration(finished[0], now) > TOO_SLOW:
        remedy = "See which task takes so long (Airflow's Gantt view), and whether ClickHouse holds many more rows than usual."
        return [Finding(CYCLES, Health.RED, told, remedy)]
    if any(run.state == "failed" or _duration(run, now) > SLOW for run in finished):
        return [Finding(CYCLES, Health.YELLOW, told, "Watch the next cycles.")]
    return [Finding(CYCLES, Health.GREEN, told)]


def check_abandoned(runs: Sequence[RunState]) -> list[Finding]:
    """Has a backfill died over its runs? A finding for each."""
    return [
        Finding(
            CYCLES,
            Health.RED,
            f"{run.run_id} is {run.state}, and the backfill that made it has died; while it is, no other run starts.",
            "Mark the run failed in Airflow, or give the `offload backfill` again, which takes it over.",
        )
        for run in runs
    ]


def _told(run: PastRun, now: datetime) -> str:
    return f"{_clock(run.started)} {run.state} {'after' if run.ended else 'since'} {_duration(run, now).total_seconds():.1f} s"


def _duration(run: PastRun, now: datetime) -> timedelta:
    return (run.ended or now) - run.started


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _red(finding: str, remedy: str) -> Finding:
    return Finding(SCHEDULER, Health.RED, finding, remedy)
