"""The Variable `iceberg_offload_settings`."""

from __future__ import annotations

import json
import traceback
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.settings import Settings, parse_settings
from offload_core.errors import FixConfiguration

SECRET = "hunter2"


def test_an_empty_object_means_the_defaults():
    assert parse_settings("{}") == Settings()


def test_the_defaults_are_those_that_are_documented():
    assert Settings().model_dump(mode="json") == {
        "pipeline_id": "iceberg_offload",
        "schedule": "*/15 * * * *",
        "buffer_minutes": 5,
        "max_rows_per_commit": 10_000_000,
        "rows_per_file": 1_000_000,
        "fetch_parallelism": 2,
        "spark_session": "auto",
        "spread_rows": 20_000_000,
        "spread_parallelism": 8,
        "lock_wait_seconds": 20,
        "clickhouse_timeout_seconds": 120,
        "clickhouse_settings": {},
        "audit_hours": 6,
        "audit_schedule": "35 * * * *",
        "audit_timeout_minutes": 20,
        "audit_keep_days": 90,
        "task_timeout_minutes": 4,
        "sla_minutes": 5,
        "pool": "iceberg_offload",
        "keep_spark_seconds": 20,
        "spark_conf": {},
        "driver_memory": "2g",
        "executor_memory": "2g",
        "clickhouse_conn_id": "clickhouse_default",
        "clickhouse_http_conn_id": "clickhouse_http",
        "postgres_conn_id": "postgres_default",
        "spark_conn_id": "spark_default",
        "iceberg_conn_id": "iceberg_default",
        "metrics_url": None,
        "freshness_schedule": "3-59/5 * * * *",
        "lag_minutes": {"elevated": 15, "warning": 20, "critical": 30, "severe": 45, "emergency": 60},
        "alert_recipients": [],
        "page_recipients": [],
        "slack_conn_id": None,
        "runbook_url": None,
        "log_retention_days": 7,
        "report_schedule": "0 9 * * 1",
        "report_recipients": [],
        "report_folder": None,
        "maintenance_schedule": "30 3 * * *",
        "maintenance_timeout_minutes": 60,
        "compaction_target_mb": 128,
        "compaction_batch_mb": 4096,
        "snapshot_age_hours": 72,
        "snapshots_to_keep": 20,
        "orphan_age_hours": 24,
        "ledger_retention_days": 15,
    }


def test_three_attempts_and_their_pauses_fit_the_period():
    pause = 1

    assert 3 * Settings().task_timeout_minutes + 2 * pause < 15


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"bufer_minutes": 5}', "bufer_minutes: Extra inputs are not permitted"),
        ('{"metrics_url": "exporter:8000"}', "metrics_url: String should match pattern"),
        ('{"pipeline_id": "a b"}', "pipeline_id: String should match pattern"),
        ('{"pipeline_id": "a\\n"}', "pipeline_id: String should match pattern"),
        ('{"buffer_minutes": -1}', "buffer_minutes: Input should be greater than or equal to 0"),
        ('{"buffer_minutes": 1441}', "buffer_minutes: Input should be less than or equal to 1440"),
        ('{"buffer_minutes": NaN}', "buffer_minutes: Input should be"),
        ('{"buffer_minutes": "soon"}', "buffer_minutes: Input should be a valid number"),
        ('{"max_rows_per_commit": 0}', "max_rows_per_commit: Input should be greater than or equal to 1"),
        ('{"rows_per_file": 0}', "rows_per_file: Input should be greater than or equal to 1"),
        ('{"fetch_parallelism": 0}', "fetch_parallelism: Input should be greater than or equal to 1"),
        ('{"clickhouse_timeout_seconds": 3601}', "clickhouse_timeout_seconds: Input should be less than or equal to"),
        ('{"task_timeout_minutes": 1441}', "task_timeout_minutes: Input should be less than or equal to 1440"),
        ('{"fetch_parallelism": 65}', "fetch_parallelism: Input should be less than or equal to 64"),
        ('{"lock_wait_seconds": -1}', "lock_wait_seconds: Input should be greater than or equal to 0"),
        ('{"lock_wait_seconds": Infinity}', "lock_wait_seconds: Input should be less than or equal to 600"),
        ('{"clickhouse_timeout_seconds": 0}', "clickhouse_timeout_seconds: Input should be greater than 0"),
        ('{"clickhouse_settings": {"max_threads": [1]}}', "clickhouse_settings.max_threads"),
        ('{"task_timeout_minutes": 0}', "task_timeout_minutes: Input should be greater than 0"),
        ('{"report_recipients": ["nobody"]}', "report_recipients.0: String should match pattern"),
        (
            '{"report_recipients": ["a@b.example\\nBcc: c@d.example"]}',
            "report_recipients.0: String should match pattern",
        ),
        ('{"sla_minutes": 0}', "sla_minutes: Input should be greater than 0"),
        ('{"sla_minutes": Infinity}', "sla_minutes: Input should be less than or equal to 1440"),
        ('{"pool": ""}', "pool: String should have at least 1 character"),
        ('{"spark_conf": {"spark.executor.cores": 2}}', "spark_conf.spark.executor.cores: Input should be a valid str"),
        ('{"driver_memory": "2 gigabytes"}', "driver_memory: String should match pattern"),
        ('{"executor_memory": "2"}', "executor_memory: String should match pattern"),
        ("[]", "Input should be a valid dictionary"),
    ],
)
def test_a_wrong_setting_is_named_with_its_reason(text, reason):
    with pytest.raises(FixConfiguration) as caught:
        parse_settings(text)

    assert str(caught.value).startswith(f"The Airflow Variable `iceberg_offload_settings` is wrong: {reason}")
    assert str(caught.value).endswith("Correct it there.")


def test_a_variable_that_is_no_json_is_an_error_that_says_so():
    with pytest.raises(FixConfiguration, match="`iceberg_offload_settings` is not valid JSON"):
        parse_settings("buffer_minutes = 5")


@pytest.mark.parametrize(
    "key",
    [
        "spark.hadoop.fs.s3a.secret.key",
        "spark.sql.catalog.demo.jdbc.password",
        "spark.sql.catalog.demo.s3.access-key-id",
        "spark.hadoop.fs.s3a.access.key",
        "spark.hadoop.fs.azure.account.key.store.blob.core.windows.net",
        "spark.sql.catalog.demo.TOKEN",
        "spark.sql.catalog.demo.credential",
    ],
)
def test_a_secret_among_the_spark_settings_is_refused_without_being_shown(key):
    with pytest.raises(FixConfiguration, match="looks like a secret: put it into an Airflow Connection") as caught:
        parse_settings(json.dumps({"spark_conf": {key: SECRET}}))

    assert key in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_harmless_spark_settings_pass():
    conf = {
        "spark.executor.cores": "2",
        "spark.sql.shuffle.partitions": "4",
        "spark.hadoop.fs.s3a.endpoint": "http://s3",
    }

    assert parse_settings(json.dumps({"spark_conf": conf})).spark_conf == conf


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.floats(allow_nan=True, allow_infinity=True)
            for name in ("buffer_minutes", "lock_wait_seconds", "task_timeout_minutes", "sla_minutes")
        },
    )
)
def test_every_duration_that_is_accepted_can_be_used(values):
    try:
        settings = parse_settings(json.dumps(values))
    except FixConfiguration:
        return

    timedelta(minutes=settings.buffer_minutes + settings.task_timeout_minutes + settings.sla_minutes)
    timedelta(seconds=settings.lock_wait_seconds)
