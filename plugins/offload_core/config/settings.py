"""How tables are offloaded: the model behind the Airflow Variable `iceberg_offload_settings`, one JSON object."""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from offload_core.config.json_text import explain, parse_json
from offload_core.config.lag import LagMinutes
from offload_core.errors import FixConfiguration

SETTINGS_VARIABLE = "iceberg_offload_settings"
DEFAULT_POOL = "iceberg_offload"
POOL_SLOTS = 2
"""Slots of the Spark tasks' pool when the offload creates it: as many tables are offloaded at once."""
POOL_DESCRIPTION = "Spark jobs of the Iceberg offload that run at once"

Addresses = tuple[Annotated[str, Field(pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")], ...]
"""Mail addresses, without names."""


class SessionUse(str, Enum):
    """When a job starts a SparkSession to fetch rows; a job that compares rows has one in any case."""

    AUTO = "auto"
    """Where the master is a cluster and the window has more rows than `spread_rows`."""
    ALWAYS = "always"


class Settings(BaseModel):
    """Everything that is not about a single table: the Airflow Variable `iceberg_offload_settings`.

    Names of durations end in their unit.
    """

    # A secret that was put here by mistake must not be logged with the error that refuses it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    pipeline_id: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Names this pipeline in markers, locks and the ledger."),
    ] = "iceberg_offload"
    schedule: Annotated[str, Field(description="Cron expression of the offload, UTC.")] = "*/15 * * * *"
    buffer_minutes: Annotated[
        float, Field(ge=0, le=1440, description="How long rows may take to arrive in ClickHouse.")
    ] = 5
    max_rows_per_commit: Annotated[
        int, Field(ge=1, description="A larger window is split into chunks, each with its own commit and ledger row.")
    ] = 10_000_000
    rows_per_file: Annotated[
        int, Field(ge=1, description="A partition's share of a chunk above this is fetched as several files.")
    ] = 1_000_000
    fetch_parallelism: Annotated[
        int, Field(ge=1, le=64, description="Files fetched from ClickHouse at once by one job's driver.")
    ] = 2
    spark_session: Annotated[
        SessionUse,
        Field(
            description="`auto`: on a cluster, Spark's executors fetch a window of more than `spread_rows`; the driver "
            "fetches all others without a SparkSession. `always`: executors fetch every window."
        ),
    ] = SessionUse.AUTO
    # The driver moves 2 to 3.5 million rows a second; a session with its executors needs about ten seconds to start
    # (docs/scale.md).
    spread_rows: Annotated[
        int, Field(ge=1, description="A window of more rows is fetched by Spark's executors, if there is a cluster.")
    ] = 20_000_000
    spread_parallelism: Annotated[
        int, Field(ge=1, le=1024, description="Files fetched from ClickHouse at once by one job's executors.")
    ] = 8
    lock_wait_seconds: Annotated[
        float, Field(ge=0, le=600, description="How long a run waits for the table's lock.")
    ] = 20
    clickhouse_timeout_seconds: Annotated[
        float, Field(gt=0, le=3600, description="Longest silence of ClickHouse before the attempt fails.")
    ] = 120
    clickhouse_settings: Annotated[
        dict[str, str | int | float],
        Field(description="ClickHouse settings of the offload's queries, such as max_threads."),
    ] = {}
    audit_hours: Annotated[
        int, Field(ge=1, le=24 * 31, description="How many hours before the watermark the hourly audit compares.")
    ] = 6
    audit_schedule: Annotated[str, Field(description="Cron expression of the audit, UTC.")] = "35 * * * *"
    audit_timeout_minutes: Annotated[
        float, Field(gt=0, le=1440, description="Limit of one attempt to audit a table, or to repair it.")
    ] = 20
    audit_keep_days: Annotated[
        float, Field(ge=1, le=3650, description="How long results of audits are kept in `offload_audits`.")
    ] = 90
    task_timeout_minutes: Annotated[
        float,
        Field(
            gt=0,
            le=1440,
            description="Limit of one attempt at a table; three attempts and their pauses fit the schedule's period.",
        ),
    ] = 4
    sla_minutes: Annotated[
        float,
        Field(
            gt=0,
            le=1440,
            description="Airflow 2: the SLA of an offload task after its due time. Airflow 3: the deadline of a run "
            "after "
            "it was queued.",
        ),
    ] = 5
    pool: Annotated[
        str, Field(min_length=1, description="Airflow pool of the Spark tasks; its slots are the parallelism.")
    ] = DEFAULT_POOL
    maintenance_schedule: Annotated[
        str, Field(description="Cron expression of the maintenance, UTC: once a day, at a quiet hour.")
    ] = "30 3 * * *"
    maintenance_timeout_minutes: Annotated[
        float, Field(gt=0, le=1440, description="Limit of one attempt at a table's maintenance.")
    ] = 60
    compaction_target_mb: Annotated[
        int, Field(ge=1, description="Size (MiB) of the files into which compaction merges smaller ones.")
    ] = 128
    compaction_batch_mb: Annotated[
        int,
        Field(
            ge=1,
            description="How much (MiB) one commit of a compaction rewrites at most; it rewrites whole partitions.",
        ),
    ] = 4096
    snapshot_age_hours: Annotated[
        float,
        Field(
            ge=0,
            description="Snapshots stay this long, for readers, time travel and roll-backs; the newest commit always "
            "stays.",
        ),
    ] = 72
    snapshots_to_keep: Annotated[
        int, Field(ge=1, description="How many snapshots always stay, whatever their age.")
    ] = 20
    orphan_age_hours: Annotated[
        float,
        Field(
            ge=24,
            description="Files that no snapshot refers to are deleted at this age; it must exceed the longest write.",
        ),
    ] = 24
    ledger_retention_days: Annotated[
        float,
        Field(
            ge=1,
            description="Ledger rows stay this long; rows that are still needed always stay. The weekly report "
            "compares "
            "two weeks.",
        ),
    ] = 15
    keep_spark_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=600,
            description="How long a Spark application on the worker's machine (master local) waits for another table's "
            "job; 0: every table starts its own application.",
        ),
    ] = 20
    spark_conf: Annotated[dict[str, str], Field(description="Further Spark settings of the job. No secrets.")] = {}
    driver_memory: Annotated[str, Field(pattern=r"^\d+[kmgKMG]$", description="Spark driver memory.")] = "2g"
    executor_memory: Annotated[str, Field(pattern=r"^\d+[kmgKMG]$", description="Spark executor memory.")] = "2g"
    clickhouse_conn_id: Annotated[str, Field(description="Airflow Connection: ClickHouse, native protocol.")] = (
        "clickhouse_default"
    )
    clickhouse_http_conn_id: Annotated[
        str,
        Field(
            description="Airflow Connection: the same ClickHouse, HTTP. Missing: the native one's host on port 8123."
        ),
    ] = "clickhouse_http"
    postgres_conn_id: Annotated[str, Field(description="Airflow Connection: PostgreSQL with the ledger.")] = (
        "postgres_default"
    )
    spark_conn_id: Annotated[str, Field(description="Airflow Connection: the Spark master.")] = "spark_default"
    iceberg_conn_id: Annotated[str, Field(description="Airflow Connection: the Iceberg catalog.")] = "iceberg_default"
    metrics_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://", description="URL of the metrics, for `offload doctor`; none: it does not query them."
        ),
    ] = None
    freshness_schedule: Annotated[
        str,
        Field(
            description="Cron expression of the check of every table's lag, UTC; three minutes after a cycle's start, "
            "most "
            "tables are done."
        ),
    ] = "3-59/5 * * * *"
    lag_minutes: Annotated[
        LagMinutes,
        Field(
            description="The lag from which on a table is at each level; raise them together with the schedule's "
            "period."
        ),
    ] = LagMinutes()
    alert_recipients: Annotated[
        Addresses,
        Field(
            description="Mail addresses to notify when tables are late or fail, and when that is over; none: no mail."
        ),
    ] = ()
    page_recipients: Annotated[
        Addresses,
        Field(
            description="Mail addresses that also get the urgent alerts: halted tables, lost rows, a lag of more than "
            "an "
            "hour."
        ),
    ] = ()
    slack_conn_id: Annotated[
        str | None,
        Field(min_length=1, description="Airflow Connection: a Slack incoming webhook for all alerts; none: no Slack."),
    ] = None
    runbook_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://", description="Where docs/runbooks can be read, for links in alerts; none: file names."
        ),
    ] = None
    log_retention_days: Annotated[
        float, Field(ge=1, le=3650, description="How long the log files of the offload's own DAGs are kept.")
    ] = 7
    report_schedule: Annotated[str, Field(description="Cron expression of the weekly report, UTC.")] = "0 9 * * 1"
    report_recipients: Annotated[
        Addresses, Field(description="Mail addresses that get the weekly report; none: it is only written to a file.")
    ] = ()
    report_folder: Annotated[
        str | None,
        Field(min_length=1, description="Where the weekly report is written; none: `reports` in AIRFLOW_HOME."),
    ] = None

    @field_validator("spark_conf")
    @classmethod
    def _holds_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for key in value:
            if re.search(r"(?i)secret|password|credential|token|(access|account).?key", key):
                raise ValueError(f"{key} looks like a secret: put it into an Airflow Connection instead")
        return value


def parse_settings(text: str) -> Settings:
    """Read the Variable `iceberg_offload_settings`, a JSON object.

    Raises:
        FixConfiguration: no JSON object, an unknown setting or a wrong value; the message names the field.
    """
    values = parse_json(text, SETTINGS_VARIABLE)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise FixConfiguration(
            f"The Airflow Variable `{SETTINGS_VARIABLE}` is wrong: {explain(error)}.", "Correct it there."
        ) from error
