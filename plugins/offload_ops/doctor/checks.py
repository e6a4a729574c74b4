"""All checks of `offload doctor`, in their order. Those that need Airflow come from the Airflow side."""

from __future__ import annotations

from collections.abc import Sequence

from offload_ops.doctor.context import CheckContext
from offload_ops.doctor.ledger import check_failures, check_lag
from offload_ops.doctor.model import CYCLES, FAILURES, LAG, METRICS, SCHEDULER, SERVERS, Check, CheckResult, Health
from offload_ops.doctor.servers import check_clickhouse, check_iceberg, check_metrics, check_postgres, check_spark

_LEDGER_REMEDY = (
    "See that PostgreSQL is up and reachable from here (the Connection `postgres_default` unless set otherwise)."
)


def all_checks(context: CheckContext, airflow_checks: Sequence[Check]) -> list[Check]:
    """The six checks, the sixth in its four parts.

    Args:
        context: what they check.
        airflow_checks: the checks `SCHEDULER` and `CYCLES`, without which the two are reported as not checked. Any
            others come last.
    """
    airflow = {check.name: check for check in airflow_checks}
    return [
        airflow.get(SCHEDULER, _needs_airflow(SCHEDULER)),
        Check(METRICS, lambda: check_metrics(context.metrics_url), "See that the metrics exporter runs."),
        Check(LAG, lambda: check_lag(context), _LEDGER_REMEDY),
        airflow.get(CYCLES, _needs_airflow(CYCLES)),
        Check(FAILURES, lambda: check_failures(context), _LEDGER_REMEDY),
        Check(
            f"{SERVERS}: ClickHouse",
            lambda: check_clickhouse(context),
            "See that ClickHouse is up and reachable from here (`clickhouse_default`, `clickhouse_http`).",
        ),
        Check(f"{SERVERS}: PostgreSQL", lambda: check_postgres(context), _LEDGER_REMEDY),
        Check(
            f"{SERVERS}: Iceberg",
            lambda: check_iceberg(context),
            "See that the catalog and the warehouse's storage are up and reachable from here (`iceberg_default`).",
        ),
        Check(
            f"{SERVERS}: Spark",
            lambda: check_spark(context.environ),
            "Run `spark-submit --version` by hand to see why.",
        ),
        *(check for check in airflow_checks if check.name not in (SCHEDULER, CYCLES)),
    ]


def _needs_airflow(name: str) -> Check:
    result = CheckResult(name, Health.NEUTRAL, "Needs Airflow: run `offload doctor` where Airflow is configured.")
    return Check(name, lambda: [result], "")
