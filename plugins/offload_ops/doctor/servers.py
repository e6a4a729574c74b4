"""The checks of the servers and programs that the offload needs: metrics, ClickHouse, PostgreSQL, Iceberg and Spark."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import urlsplit

import urllib3

from offload_core.errors import FixConfiguration
from offload_core.jobs import spark_submit
from offload_core.source.clickhouse import ClickHouse
from offload_ops.doctor.context import CheckContext
from offload_ops.doctor.model import CHECK_SECONDS, METRICS, SERVERS, CheckResult, Health
from offload_ops.tiers.cold_table import open_cold_table

SPARK_MASTER, SPARK_PORT = "Spark master", 7077
_JAVA_VERSIONS = range(17, 22)
_HTTP_OK = 200


def check_metrics(url: str | None) -> list[CheckResult]:
    """Check that the metrics endpoint answers with HTTP 200."""
    if url is None:
        return [CheckResult(METRICS, Health.NEUTRAL, "Not set up (the setting `metrics_url` is empty).")]
    remedy = f"See that the metrics exporter runs and that {url} is its address (the setting `metrics_url`)."
    try:
        with urllib3.PoolManager() as pool:
            status = pool.request("GET", url, timeout=CHECK_SECONDS, retries=False).status
    except urllib3.exceptions.HTTPError as error:
        reason = str(error).rsplit(": ", 1)[-1]
        return [CheckResult(METRICS, Health.RED, f"{url} cannot be reached: {reason}.", remedy)]
    if status != _HTTP_OK:
        return [CheckResult(METRICS, Health.RED, f"{url} answers with HTTP {status}.", remedy)]
    return [CheckResult(METRICS, Health.GREEN, f"{url} answers with HTTP {status}.")]


def check_clickhouse(context: CheckContext) -> list[CheckResult]:
    """Check that ClickHouse answers `SELECT 1`."""
    connection = context.connections.clickhouse
    with closing(ClickHouse(connection, timeout_seconds=CHECK_SECONDS)) as client:
        client.rows("SELECT 1 AS one")
    return [_green("ClickHouse", f"{connection.host}:{connection.http_port} answers.")]


def check_postgres(context: CheckContext) -> list[CheckResult]:
    """Check that the ledger's table can be read."""
    connection = context.connections.postgres
    with context.ledger() as ledger:
        ledger.newest_rows()
    return [_green("PostgreSQL", f"{connection.host}:{connection.port}/{connection.database}: the ledger can be read.")]


def check_iceberg(context: CheckContext) -> list[CheckResult]:
    """Check that catalog and warehouse hold every table."""
    connection = context.connections.iceberg
    tables = context.enabled
    for table in tables:
        open_cold_table(connection, table.target)
    return [_green("Iceberg", f"Catalog {connection.name} and {connection.warehouse} hold {len(tables)} tables.")]


def check_spark(environ: Mapping[str, str]) -> list[CheckResult]:
    """Check that the application, spark-submit and a suitable Java are installed."""
    spark_submit.application(environ)
    path = spark_submit.environment(environ)["PATH"]
    submit = shutil.which("spark-submit", path=path)
    if submit is None:
        raise FixConfiguration(
            "spark-submit was not found.",
            "Set OFFLOAD_SPARK_HOME to Spark's folder, or put its bin folder on the PATH.",
        )
    return [_green("Spark", f"{submit}, Java {_java_version(path, environ)}.")]


def check_spark_master(master: str) -> list[CheckResult]:
    """Check that a Spark master accepts connections.

    There is no master to check where Spark runs on the worker itself (`local[*]`) or under another manager.

    Args:
        master: as `spark-submit --master` takes it, such as `spark://host:7077`. Of several (`spark://a:7077,b:7077`)
            one is enough.
    """
    if not master.startswith("spark://"):
        return []
    refused = []
    for address in master.removeprefix("spark://").split(","):
        server = urlsplit(f"//{address}")
        try:
            # Half the limit, so that a second master is still tried after one that does not answer.
            socket.create_connection((server.hostname or "", server.port or SPARK_PORT), CHECK_SECONDS / 2).close()
        except OSError as error:
            refused.append(f"{address}: {error.strerror or error}")
        else:
            return [_green(SPARK_MASTER, f"{address} accepts connections.")]
    remedy = (
        "See that Spark's master runs and is reachable from here (the Connection `spark_default` unless set otherwise)."
    )
    return [CheckResult(f"{SERVERS}: {SPARK_MASTER}", Health.RED, f"Cannot be reached: {'; '.join(refused)}.", remedy)]


def _java_version(path: str, environ: Mapping[str, str]) -> int:
    java_home = environ.get("OFFLOAD_JAVA_HOME") or environ.get("JAVA_HOME")
    java = f"{java_home}/bin/java" if java_home else shutil.which("java", path=path)
    remedy = "Install Java 17 or 21, and set OFFLOAD_JAVA_HOME to its folder."
    if java is None:
        raise FixConfiguration("There is no Java on the PATH.", remedy)
    try:
        output = subprocess.run(
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
    match = re.search(r'version "(?:1\.)?(\d+)', output.stderr + output.stdout)
    version = int(match.group(1)) if match else 0
    if version not in _JAVA_VERSIONS:
        raise FixConfiguration(f"{java} is version {version or 'unknown'}, which Spark 4 does not run on.", remedy)
    return version


def _green(part: str, message: str) -> CheckResult:
    return CheckResult(f"{SERVERS}: {part}", Health.GREEN, message)
