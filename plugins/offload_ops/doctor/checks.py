"""What `offload doctor` looks at without Airflow, and the order of all six checks; how they are done is in `doctor`."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import urllib3

from offload_core.config.connections import Connections
from offload_core.config.lag import LagLevel
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.errors import FixConfiguration
from offload_core.jobs import spark_submit
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from offload_core.source.clickhouse import ClickHouse
from offload_ops.doctor.model import (
    CHECK_SECONDS,
    CYCLES,
    FAILURES,
    LAG,
    METRICS,
    SCHEDULER,
    SERVERS,
    Check,
    Finding,
    Health,
)
from offload_ops.table_state import EXHAUSTED, Condition, TableState, read_states
from offload_ops.tiers.cold_table import open_cold_table

METRICS_URL_ENV = "OFFLOAD_METRICS_URL"
"""Where the metrics are, if the setting `metrics_url` is empty; `make env` sets it for the embedded stack."""
FAILURES_SPAN = timedelta(minutes=60)
SPARK_MASTER, SPARK_PORT = "Spark master", 7077
_JAVA_VERSIONS = range(17, 22)
_HTTP_OK = 200
_HEALTH_OF = {
    LagLevel.NORMAL: Health.GREEN,
    LagLevel.ELEVATED: Health.YELLOW,
    LagLevel.WARNING: Health.YELLOW,
    LagLevel.CRITICAL: Health.RED,
    LagLevel.SEVERE: Health.RED,
    LagLevel.EMERGENCY: Health.RED,
}


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at.

    Attributes:
        connections, tables, settings: as in the command's context.
        environ: the environment, for Spark and for where the metrics are unless the settings say it.
        now: the present, UTC.
    """

    connections: Connections
    tables: Sequence[TableConfig | InvalidTable]
    settings: Settings
    environ: Mapping[str, str]
    now: datetime

    @property
    def metrics_url(self) -> str | None:
        """Address of the metrics endpoint; None where there is none to ask."""
        return self.settings.metrics_url or self.environ.get(METRICS_URL_ENV)

    @property
    def enabled(self) -> list[TableConfig]:
        """The valid tables that are to be offloaded."""
        return [table for table in self.tables if isinstance(table, TableConfig) and table.enabled]


def all_checks(around: Surroundings, airflow_checks: Sequence[Check]) -> list[Check]:
    """The six checks, the sixth in its four parts.

    Args:
        around: what they look at.
        airflow_checks: those named `SCHEDULER` and `CYCLES`; without them these two are not checked. Any others come last.
    """
    airflow = {check.name: check for check in airflow_checks}
    ledger = (
        "See that PostgreSQL is up and reachable from here (the Connection `postgres_default` unless set otherwise)."
    )
    return [
        airflow.get(SCHEDULER, _needs_airflow(SCHEDULER)),
        Check(METRICS, lambda: check_metrics(around.metrics_url), "See that the metrics exporter runs."),
        Check(LAG, lambda: check_lag(around), ledger),
        airflow.get(CYCLES, _needs_airflow(CYCLES)),
        Check(FAILURES, lambda: check_failures(around), ledger),
        Check(
            f"{SERVERS}: ClickHouse",
            lambda: check_clickhouse(around),
            "See that ClickHouse is up and reachable from here (`clickhouse_default`, `clickhouse_http`).",
        ),
        Check(f"{SERVERS}: PostgreSQL", lambda: check_postgres(around), ledger),
        Check(
            f"{SERVERS}: Iceberg",
            lambda: check_iceberg(around),
            "See that the catalog and the warehouse's storage are up and reachable from here (`iceberg_default`).",
        ),
        Check(
            f"{SERVERS}: Spark", lambda: check_spark(around.environ), "Start spark-submit --version by hand to see why."
        ),
        *(check for check in airflow_checks if check.name not in (SCHEDULER, CYCLES)),
    ]


def _needs_airflow(name: str) -> Check:
    finding = Finding(name, Health.NEUTRAL, "Needs Airflow: run `offload doctor` where Airflow is configured.")
    return Check(name, lambda: [finding], "")


def check_metrics(url: str | None) -> list[Finding]:
    """Does the metrics endpoint answer with HTTP 200?"""
    if url is None:
        return [Finding(METRICS, Health.NEUTRAL, "Not set up (the setting `metrics_url` is empty).")]
    remedy = f"See that the metrics exporter runs and that {url} is its address (the setting `metrics_url`)."
    try:
        with urllib3.PoolManager() as pool:
            status = pool.request("GET", url, timeout=CHECK_SECONDS, retries=False).status
    except urllib3.exceptions.HTTPError as error:
        return [Finding(METRICS, Health.RED, f"{url} can't be reached: {str(error).rsplit(': ', 1)[-1]}.", remedy)]
    if status != _HTTP_OK:
        return [Finding(METRICS, Health.RED, f"{url} answers with HTTP {status}.", remedy)]
    return [Finding(METRICS, Health.GREEN, f"{url} answers with HTTP {status}.")]


def check_lag(around: Surroundings) -> list[Finding]:
    """Each table's lag against the severity matrix; a halted table is red whatever its lag."""
    with _ledger(around) as ledger:
        return [_lag(state) for state in read_states(ledger, around.tables, around.settings.lag_minutes, around.now)]


def _lag(state: TableState) -> Finding:
    check, level, problem = f"{LAG}: {state.name}", state.level, state.problem
    if not state.is_watched:
        return Finding(check, Health.NEUTRAL, "Disabled in the configuration.")
    if problem is not None and state.condition is Condition.HALTED:
        since = f" since {_clock(problem.since)}" if problem.since else ""
        return Finding(check, Health.RED, f"Halted{since}: {problem.message}", problem.remedy)
    if problem is not None and (state.condition is Condition.WRONG_ENTRY or state.row is None):
        return Finding(check, Health.RED, problem.message, problem.remedy)
    if state.lag is None or level is None:
        return Finding(check, Health.RED, "Nothing is known of it.", "Run `offload init`.")
    if state.last_success is None:
        health = Health.YELLOW if level in (LagLevel.NORMAL, LagLevel.ELEVATED) else Health.RED
        return Finding(
            check, health, "Never offloaded yet.", "See that the scheduler runs, or trigger `iceberg_offload`."
        )
    found_lag = f"{level.value}: last offloaded {state.lag.total_seconds() / 60:.0f} min ago."
    if level is LagLevel.NORMAL:
        return Finding(check, Health.GREEN, found_lag)
    return Finding(check, _HEALTH_OF[level], found_lag, _LAG_REMEDIES[level].format(name=state.name))


_LAG_REMEDIES = {
    LagLevel.ELEVATED: "Look again in 15 minutes.",
    LagLevel.WARNING: "Find out why: the last cycles and failures below, `offload history {name}`.",
    LagLevel.CRITICAL: "Act now: if the scheduler is red, start it; else see the failures below and trigger `iceberg_offload`.",
    LagLevel.SEVERE: "Act now: clear the cause, then trigger `iceberg_offload`; one run catches up to now.",
    LagLevel.EMERGENCY: "Escalate; clear the cause, then trigger `iceberg_offload`; one run catches up to now.",
}


def check_failures(around: Surroundings) -> list[Finding]:
    """Failed attempts of the last 60 minutes and the last error; red while a table has failed a whole cycle."""
    with _ledger(around) as ledger:
        failures, newest = ledger.failures_since(around.now - FAILURES_SPAN), ledger.newest_rows()
    if not failures:
        return [Finding(FAILURES, Health.GREEN, "None in the last 60 minutes.")]
    last = failures[-1]
    found = (
        f"{len(failures)} in the last 60 minutes; the last one at {_clock(last.created_at)}, "
        f"{last.table_name}: {last.last_error_message}"
    )
    failing = [newest[name] for name in dict.fromkeys(row.table_name for row in failures)]
    stuck = [row.table_name for row in failing if row.status == "halted" or row.failure_count >= EXHAUSTED]
    if stuck:
        return [Finding(FAILURES, Health.RED, found, f"Do what the error says; still failing: {', '.join(stuck)}.")]
    return [Finding(FAILURES, Health.YELLOW, found, f"Watch it, with `offload history {last.table_name}`.")]


def check_clickhouse(around: Surroundings) -> list[Finding]:
    """Does ClickHouse answer `SELECT 1`?"""
    connection = around.connections.clickhouse
    with closing(ClickHouse(connection, timeout_seconds=CHECK_SECONDS)) as client:
        client.rows("SELECT 1 AS one")
    return [_good("ClickHouse", f"{connection.host}:{connection.http_port} answers.")]


def check_postgres(around: Surroundings) -> list[Finding]:
    """Can the ledger's table be read?"""
    connection = around.connections.postgres
    with _ledger(around) as ledger:
        ledger.newest_rows()
    return [_good("PostgreSQL", f"{connection.host}:{connection.port}/{connection.database}: the ledger can be read.")]


def check_iceberg(around: Surroundings) -> list[Finding]:
    """Do catalog and warehouse give every table?"""
    connection = around.connections.iceberg
    tables = around.enabled
    for table in tables:
        open_cold_table(connection, table.target)
    return [_good("Iceberg", f"Catalog {connection.name} and {connection.warehouse} hold {len(tables)} tables.")]


def check_spark(environ: Mapping[str, str]) -> list[Finding]:
    """Are the application, spark-submit and a fitting Java there?"""
    spark_submit.application(environ)
    path = spark_submit.environment(environ)["PATH"]
    submit = shutil.which("spark-submit", path=path)
    if submit is None:
        raise FixConfiguration(
            "spark-submit was not found.",
            "Set OFFLOAD_SPARK_HOME to Spark's folder, or put its bin folder on the PATH.",
        )
    return [_good("Spark", f"{submit}, Java {_java_version(path, environ)}.")]


def check_spark_master(master: str) -> list[Finding]:
    """Does a Spark master accept connections? Nothing to ask where Spark runs on the worker itself (`local[*]`) or under another manager.

    Args:
        master: as `spark-submit --master` takes it, such as `spark://host:7077`; of several, `spark://a:7077,b:7077`, one is enough.
    """
    if not master.startswith("spark://"):
        return []
    refused = []
    for address in master.removeprefix("spark://").split(","):
        server = urlsplit(f"//{address}")
        try:
            socket.create_connection((server.hostname or "", server.port or SPARK_PORT), CHECK_SECONDS / 2).close()
        except OSError as error:
            refused.append(f"{address}: {error.strerror or error}")
        else:
            return [_good(SPARK_MASTER, f"{address} accepts connections.")]
    remedy = (
        "See that Spark's master runs and is reachable from here (the Connection `spark_default` unless set otherwise)."
    )
    return [Finding(f"{SERVERS}: {SPARK_MASTER}", Health.RED, f"Can't be reached: {'; '.join(refused)}.", remedy)]


def _java_version(path: str, environ: Mapping[str, str]) -> int:
    java_home = environ.get("OFFLOAD_JAVA_HOME") or environ.get("JAVA_HOME")
    java = f"{java_home}/bin/java" if java_home else shutil.which("java", path=path)
    remedy = "Install Java 17 or 21, and set OFFLOAD_JAVA_HOME to its folder."
    if java is None:
        raise FixConfiguration("There is no Java on the PATH.", remedy)
    try:
        told = subprocess.run(
            [java, "-version"],
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise FixConfiguration(f"{java} does not run: {error}.", remedy) from error
    # Up to Java 8 the version began with "1.".
    match = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    version = int(match.group(1)) if match else 0
    if version not in _JAVA_VERSIONS:
        raise FixConfiguration(f"{java} is version {version or 'unknown'}, which Spark 4 does not run on.", remedy)
    return version


def _good(part: str, finding: str) -> Finding:
    return Finding(f"{SERVERS}: {part}", Health.GREEN, finding)


@contextmanager
def _ledger(around: Surroundings) -> Iterator[Ledger]:
    with closing(connect(around.connections.postgres, "offload doctor")) as session:
        yield Ledger(session, around.settings.pipeline_id)


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
