"""Running the job without Airflow: how it is started, what is heard from it, and how its end is understood."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timezone
from pathlib import Path

import pytest

from offload_core.config.connections import Connections
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.errors import FixConfiguration, SparkFailed, SparkOutOfMemory
from offload_core.jobs.arguments import JobArguments, parse
from offload_core.jobs.outcome import JobFailed
from offload_core.jobs.spark_run import run_job
from offload_core.protocol.plan import RunMode
from tests.support.fakes.spark import FakeSpark, install, report
from tests.support.waiting import wait_until

SECRET = "hunter2"
NOON = datetime(2026, 11, 19, 12, tzinfo=timezone.utc)
CONNECTIONS = Connections.model_validate(
    {
        "clickhouse": {"host": "ch", "password": SECRET},
        "postgres": {"host": "pg", "user": "u", "database": "d", "password": SECRET},
        "iceberg": {"warehouse": "/w", "password": SECRET},
    }
)
ARGUMENTS = JobArguments(
    DEFAULT_TABLES[0],
    Settings(driver_memory="3g", spark_conf={"spark.x": "y"}),
    NOON,
    "by hand",
    1,
    NOON.replace(hour=11),
    RunMode.REPAIR,
)


@pytest.fixture
def spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSpark:
    """A spark-submit that starts no Spark."""
    fake = install(tmp_path / "spark")
    monkeypatch.setenv("OFFLOAD_SPARK_HOME", str(fake.home))
    return fake


def run() -> list[str]:
    """Run the job and return the lines that were heard."""
    lines: list[str] = []
    run_job(ARGUMENTS, CONNECTIONS, lines.append)
    return lines


def test_the_job_gets_its_arguments_and_the_settings_memory(spark: FakeSpark):
    run()

    argv = spark.argv
    application = next(number for number, word in enumerate(argv) if word.endswith("offload_generic.py"))
    assert parse(argv[application + 1 :]) == ARGUMENTS
    assert argv[:2] == ["--master", "local[*]"]
    assert argv[argv.index("--driver-memory") + 1] == "3g"
    assert "spark.x=y" in argv


def test_the_master_can_be_set(spark: FakeSpark, monkeypatch):
    monkeypatch.setenv("OFFLOAD_SPARK_MASTER", "spark://cluster:7077")

    run()

    assert spark.argv[:2] == ["--master", "spark://cluster:7077"]


def test_passwords_travel_in_the_environment_and_never_in_the_arguments(spark: FakeSpark):
    run()

    assert SECRET in spark.environ["OFFLOAD_CONNECTIONS"]
    assert SECRET not in " ".join(spark.argv)


def test_each_line_is_heard_and_the_one_for_programs_is_not_shown(spark: FakeSpark, monkeypatch):
    assert spark
    report(monkeypatch, retryable=False)
    lines: list[str] = []

    with pytest.raises(JobFailed):
        run_job(ARGUMENTS, CONNECTIONS, lines.append)

    assert lines[0] == "✗ Offload failed: ClickHouse can't be reached. Start it."
    assert not [line for line in lines if "OFFLOAD_ERROR" in line]


@pytest.mark.parametrize("retryable", [True, False])
def test_what_the_job_says_of_its_error_is_the_error(spark: FakeSpark, monkeypatch, retryable):
    assert spark
    report(monkeypatch, retryable=retryable)

    with pytest.raises(JobFailed, match=r"The Spark job failed: ClickHouse can't be reached\. Start it\.") as caught:
        run()

    assert (caught.value.kind, caught.value.retryable) == ("clickhouse_connection", retryable)


@pytest.mark.parametrize(
    ("output", "code", "expected"),
    [
        ("", "3", SparkFailed),
        ("java.lang.OutOfMemoryError: Java heap space", "1", SparkOutOfMemory),
        ("", "137", SparkOutOfMemory),
    ],
)
def test_an_end_without_a_word_is_told_by_what_is_known(spark: FakeSpark, monkeypatch, output, code, expected):
    assert spark
    monkeypatch.setenv("FAKE_SPARK_OUTPUT", output)
    monkeypatch.setenv("FAKE_SPARK_EXIT", code)

    with pytest.raises(expected, match=rf"exit code {code}") as caught:
        run()

    assert type(caught.value) is expected


def test_a_missing_spark_is_told_with_what_to_set(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OFFLOAD_SPARK_HOME", str(tmp_path))

    with pytest.raises(FixConfiguration, match=r"spark-submit was not found\. Set OFFLOAD_SPARK_HOME"):
        run()


def test_an_interrupted_command_leaves_no_job_behind(spark: FakeSpark, monkeypatch):
    monkeypatch.setenv("FAKE_SPARK_HANG", "1")
    monkeypatch.setattr("offload_core.jobs.spark_run._KILL_AFTER_SECONDS", 0.5)
    monkeypatch.setenv("FAKE_SPARK_OUTPUT", "started")

    def interrupt(line: str) -> None:
        assert line == "started"
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_job(ARGUMENTS, CONNECTIONS, interrupt)

    wait_until(lambda: not spark.alive(), "the end of the job", 5)
