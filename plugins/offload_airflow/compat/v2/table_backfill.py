"""A backfill of some tasks of a DAG in Airflow 2.11.

`airflow dags backfill` cannot do it. With `--ignore-dependencies` it starts a table's two tasks at the same time;
without, it also runs everything upstream of them, including the tasks of other tables.

    python -m offload_airflow.compat.v2.table_backfill DAG_ID REGEX START END [again]
"""

from __future__ import annotations

import logging
import signal
import sys
from datetime import datetime

from airflow import settings
from airflow.utils.cli import get_dag, sigint_handler
from airflow.utils.state import DagRunState


def main(dag_id: str, regex: str, start: datetime, end: datetime, *, again: bool) -> None:
    """Run matching tasks in the runs of a period, in the order of their dependencies, and wait until they end.

    Args:
        dag_id: the DAG.
        regex: matches the ids of the tasks.
        start, end: the logical dates of the first and the last run (UTC).
        again: also in runs that have succeeded.

    Raises:
        AirflowException: tasks failed.
    """
    dag = get_dag(None, dag_id).partial_subset(regex, include_upstream=False)
    if again:
        dag.clear(start_date=start, end_date=end, dag_run_state=DagRunState.QUEUED)
    dag.run(start_date=start, end_date=end, rerun_failed_tasks=True, continue_on_failures=True)


if __name__ == "__main__":
    logging.basicConfig(level=settings.LOGGING_LEVEL, format=settings.SIMPLE_LOG_FORMAT)
    signal.signal(signal.SIGTERM, sigint_handler)
    name, tasks, *span = sys.argv[1:5]
    main(name, tasks, *map(datetime.fromisoformat, span), again=sys.argv[5:] == ["again"])
