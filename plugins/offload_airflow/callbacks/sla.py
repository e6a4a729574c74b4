"""What happens when Airflow notices that a table is late."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from offload_airflow.hooks.ledger import LedgerHook
from offload_airflow.table_configs import load_settings, load_tables
from offload_core.lag import LagLevel, lag, lag_level
from offload_core.ledger import LedgerRow

log = logging.getLogger(__name__)


def sla_miss_callback(
    dag: Any, _task_list: str, _blocking_task_list: str, slas: Sequence[Any], _blocking_tis: Sequence[Any]
) -> None:
    """Log how late every table really is: Airflow only knows that a task has not ended in time.

    Never raises, because Airflow would call it again at every check. Its lines are in the DAG processor's log.
    """
    try:
        missed = sorted({miss.task_id for miss in slas})
        log.warning("SLA missed in %s by %s.", dag.dag_id, ", ".join(missed))
        for level, line in lag_lines(
            _newest_rows(), [table.name for table in load_tables()], datetime.now(timezone.utc)
        ):
            log.log(logging.INFO if level is LagLevel.NORMAL else logging.WARNING, "%s", line)
    except Exception:
        log.exception("The lag of the tables can't be told: the ledger or the configuration can't be read.")


def lag_lines(rows: dict[str, LedgerRow], tables: list[str], now: datetime) -> list[tuple[LagLevel, str]]:
    """One line per table with its lag and level.

    Args:
        rows: the newest ledger row of each table.
        tables: the configured tables.
        now: the present (UTC).
    """
    lines = []
    for table in tables:
        row = rows.get(table)
        if row is None or row.last_successful_run is None:
            lines.append((LagLevel.EMERGENCY, f"{table}: never offloaded yet"))
            continue
        late = lag(row.last_successful_run, now)
        level = lag_level(late)
        since = row.last_successful_run.isoformat(sep=" ", timespec="seconds")
        text = f"{table}: lag {late.total_seconds() / 60:.1f} minutes ({level.value}), last offloaded {since}"
        lines.append((level, f"{text}, {row.status}: {row.last_error_message}" if row.last_error_message else text))
    return lines


def _newest_rows() -> dict[str, LedgerRow]:
    settings = load_settings()
    with LedgerHook(postgres_conn_id=settings.postgres_conn_id, pipeline_id=settings.pipeline_id).open() as ledger:
        return ledger.newest_rows()
