"""The sensor in front of every Spark task, run by Airflow against a real ClickHouse and a real PostgreSQL."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from airflow.models.dagrun import DagRun

from offload_airflow.compat.sdk import DAG, AirflowFailException
from offload_airflow.sensors.watermark import WatermarkSensor
from offload_core.config.connections import PostgresConnection
from offload_core.errors import ClickHouseUnavailable, LedgerUnavailable
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import LedgerRow, Step, StepKind
from offload_core.protocol.window import Cursor
from offload_core.source.queries import format_time
from offload_core.source.quoting import quote_identifier
from tests.support.stack.airflow_connections import SetConnection, clickhouse_fields
from tests.support.stack.runs import attempt, manual_run, scheduled_run, task_instance
from tests.support.stack.servers import HotTier, unique_name

pytestmark = pytest.mark.integration

NOW = datetime.now(timezone.utc).replace(microsecond=0)
LAST_QUARTER = NOW - timedelta(minutes=NOW.minute % 15, seconds=NOW.second)
BUFFER = timedelta(minutes=5)
TABLE = "sensed"

SetVariable = Callable[[str, object], None]


@dataclass
class Source:
    """A ClickHouse table of the test's own, offloaded as `sensed`, and its Variable."""

    hot: HotTier
    name: str
    set_variable: SetVariable

    def configure(self, **changes: object) -> None:
        """Put its entry, with changes, into the Variable."""
        entry: dict[str, object] = {
            "source": self.name,
            "target": f"cold.{TABLE}",
            "layer": "bronze",
            "timestamp_col": "at",
            "sequence_col": "number",
            "keys": ["number"],
        }
        self.set_variable("iceberg_offload_tables", [{**entry, **changes}])

    def insert(self, at: datetime, number: int = 1, until: datetime | None = None) -> None:
        """Add one row."""
        line = f"{format_time(at)},{number},{format_time(until or at)}\n"
        self.hot.client.insert(self.name, line.encode(), "CSV")


@pytest.fixture
def source(
    clickhouse: HotTier, set_connection: SetConnection, set_variable: SetVariable, connect_postgres: PostgresConnection
) -> Iterator[Source]:
    assert connect_postgres
    set_connection("clickhouse_default", **clickhouse_fields(clickhouse.connection))
    found = Source(clickhouse, unique_name("trades"), set_variable)
    name = quote_identifier(found.name)
    clickhouse.client.command(
        f"CREATE TABLE {name} (at DateTime64(6, 'UTC'), number UInt64, until DateTime64(6, 'UTC')) "
        "ENGINE = MergeTree ORDER BY (at, number)"
    )
    found.configure()
    yield found
    clickhouse.client.command(f"DROP TABLE {name} SYNC")


@pytest.fixture
def task() -> WatermarkSensor:
    with DAG(unique_name("sense"), schedule=None, start_date=NOW - timedelta(days=1)):
        return WatermarkSensor(task_id="wait", table=TABLE, mode="reschedule", poke_interval=10, timeout=60, retries=2)


@pytest.fixture
def watermark(ledger: Ledger) -> LedgerRow:
    """An hour-old watermark, as a run left it."""
    ledger.initialize(TABLE)
    cursor = Cursor(LAST_QUARTER - timedelta(hours=1), 7)
    step = Step(StepKind.INCREMENT, cursor, generation=3, source_uuid=uuid.uuid4(), run_id="before", attempt=1, rows=5)
    return ledger.append(ledger.watermark(TABLE), step)


def sense(task: WatermarkSensor, run: DagRun) -> str:
    """The task's state after one attempt."""
    return str(attempt(run, task).state)


def quarter(task: WatermarkSensor) -> DagRun:
    """The scheduled run of the newest complete quarter of an hour."""
    return scheduled_run(task.dag, LAST_QUARTER)


def newest(ledger: Ledger) -> LedgerRow:
    row = ledger.newest(TABLE)
    assert row is not None
    return row


def test_rows_past_the_watermark_let_the_job_run_and_leave_the_ledger_alone(
    source: Source, task: WatermarkSensor, ledger: Ledger, watermark: LedgerRow
) -> None:
    source.insert(LAST_QUARTER - BUFFER)
    assert sense(task, quarter(task)) == "success"
    assert newest(ledger) == watermark


def test_a_row_of_the_watermarks_own_microsecond_counts_if_its_sequence_is_higher(
    source: Source, task: WatermarkSensor, watermark: LedgerRow
) -> None:
    source.insert(watermark.cursor.timestamp, number=7)
    assert sense(task, quarter(task)) == "skipped"
    source.insert(watermark.cursor.timestamp, number=8)
    assert sense(task, scheduled_run(task.dag, LAST_QUARTER - timedelta(minutes=15))) == "success"


def test_no_rows_are_an_empty_success_that_restarts_the_lag_clock_and_keeps_the_watermark(
    source: Source,
    task: WatermarkSensor,
    ledger: Ledger,
    watermark: LedgerRow,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert source
    run = quarter(task)
    caplog.set_level(logging.INFO)
    assert sense(task, run) == "skipped"
    row = newest(ledger)
    assert (row.status, row.kind, row.started_from, row.run_id, row.row_count) == (
        "success",
        "empty",
        watermark.id,
        run.run_id,
        0,
    )
    assert (row.cursor, row.generation, row.source_uuid) == (
        watermark.cursor,
        watermark.generation,
        watermark.source_uuid,
    )
    assert (row.window_lower, row.window_upper) == (watermark.cursor.timestamp, LAST_QUARTER - BUFFER)
    assert row.last_successful_run is not None
    assert watermark.last_successful_run is not None
    assert row.last_successful_run > watermark.last_successful_run
    assert "No new data to offload" in caplog.text
    assert f"ATTEMPT table={TABLE} run_id={run.run_id} attempt=1 outcome=empty window_from=" in caplog.text


def test_rows_that_are_younger_than_the_buffer_wait_for_the_next_run(
    source: Source, task: WatermarkSensor, ledger: Ledger, watermark: LedgerRow
) -> None:
    source.insert(LAST_QUARTER - BUFFER + timedelta(microseconds=1))
    assert sense(task, quarter(task)) == "skipped"
    assert newest(ledger).cursor == watermark.cursor


def test_the_buffer_is_a_setting(
    source: Source, task: WatermarkSensor, watermark: LedgerRow, pipeline: str, set_variable: SetVariable
) -> None:
    assert watermark
    set_variable("iceberg_offload_settings", {"pipeline_id": pipeline, "buffer_minutes": 0})
    source.insert(LAST_QUARTER)
    assert sense(task, quarter(task)) == "success"


def test_a_window_that_is_not_complete_by_clickhouses_clock_is_looked_at_again_later(
    source: Source, task: WatermarkSensor, ledger: Ledger, watermark: LedgerRow
) -> None:
    source.insert(LAST_QUARTER - BUFFER)
    an_hour_ahead = datetime.now(timezone.utc) + timedelta(hours=1)
    assert sense(task, scheduled_run(task.dag, an_hour_ahead)) == "up_for_reschedule"
    assert newest(ledger) == watermark


def test_a_run_by_hand_looks_at_everything_up_to_now(
    source: Source, task: WatermarkSensor, watermark: LedgerRow
) -> None:
    assert watermark
    source.insert(datetime.now(timezone.utc) - BUFFER - timedelta(seconds=5))
    assert sense(task, manual_run(task.dag, NOW - timedelta(hours=2))) == "success"


def test_only_closed_candles_count(source: Source, task: WatermarkSensor, watermark: LedgerRow) -> None:
    assert watermark
    source.configure(layer="gold", sequence_col=None, closed_col="until")
    start = LAST_QUARTER - timedelta(minutes=20)
    source.insert(start, until=LAST_QUARTER)
    assert sense(task, scheduled_run(task.dag, LAST_QUARTER - timedelta(minutes=15))) == "skipped"
    assert sense(task, quarter(task)) == "skipped"
    source.insert(start, until=LAST_QUARTER - BUFFER)
    assert sense(task, manual_run(task.dag, LAST_QUARTER - timedelta(minutes=30))) == "success"


def test_a_table_without_a_watermark_fails_and_never_starts_from_zero(
    source: Source, task: WatermarkSensor, ledger: Ledger
) -> None:
    source.insert(LAST_QUARTER - BUFFER)
    with pytest.raises(AirflowFailException, match=r"^Watermark not found for table: sensed\. Run `offload init`"):
        sense(task, quarter(task))
    assert ledger.newest(TABLE) is None


def test_a_halted_table_fails_with_the_reason_and_stays_as_it_is(
    source: Source, task: WatermarkSensor, ledger: Ledger, watermark: LedgerRow
) -> None:
    assert watermark
    source.insert(LAST_QUARTER - BUFFER)
    ledger.record_failure(TABLE, "ledger_ahead", "Iceberg was rolled back.", run_id="r", attempt=1, halt=True)
    halted = newest(ledger)
    with pytest.raises(AirflowFailException, match=r"Iceberg was rolled back\..*`offload resume sensed`"):
        sense(task, quarter(task))
    assert newest(ledger) == halted


def test_a_watermark_in_the_future_fails(source: Source, task: WatermarkSensor, ledger: Ledger) -> None:
    assert source
    ledger.initialize(TABLE)
    ledger.reset(TABLE, Cursor(NOW + timedelta(days=1)))
    with pytest.raises(AirflowFailException, match="lies in the future"):
        sense(task, quarter(task))


def test_clickhouse_down_is_a_failure_to_retry_and_never_a_skip(
    source: Source, task: WatermarkSensor, ledger: Ledger, watermark: LedgerRow, set_connection: SetConnection
) -> None:
    # Nobody listens on port 1.
    set_connection("clickhouse_default", **{**clickhouse_fields(source.hot.connection), "port": 1})
    run = quarter(task)
    with pytest.raises(ClickHouseUnavailable, match=r"127\.0\.0\.1:1 can't be reached.*`clickhouse_default`"):
        sense(task, run)
    assert task_instance(run, task).state == "up_for_retry"
    failure = newest(ledger)
    assert (failure.status, failure.error_kind, failure.failure_count) == ("failed", "clickhouse_connection", 1)
    assert failure.cursor == watermark.cursor


def test_a_wrong_clickhouse_password_fails_at_once_and_is_not_shown(
    source: Source,
    task: WatermarkSensor,
    watermark: LedgerRow,
    set_connection: SetConnection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert watermark
    set_connection("clickhouse_default", **{**clickhouse_fields(source.hot.connection), "password": "wr0ng-password"})
    run = quarter(task)
    with pytest.raises(AirflowFailException, match="ClickHouse refused user"):
        sense(task, run)
    assert task_instance(run, task).state == "failed"
    assert "wr0ng-password" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "no_such_table"}, r"ClickHouse has no such table.*Correct `source`"),
        ({"timestamp_col": "no_such_column"}, r"ClickHouse has no such column.*no_such_column"),
    ],
)
def test_a_missing_table_or_column_fails_at_once(
    source: Source, task: WatermarkSensor, watermark: LedgerRow, changes: dict[str, object], message: str
) -> None:
    assert watermark
    source.configure(**changes)
    with pytest.raises(AirflowFailException, match=message):
        sense(task, quarter(task))


@pytest.mark.usefixtures("source")
def test_postgresql_down_is_a_failure_to_retry_and_never_a_skip(
    task: WatermarkSensor, set_connection: SetConnection
) -> None:
    # Nobody listens on port 1.
    set_connection("postgres_default", conn_type="postgres", host="127.0.0.1", port=1, login="me", schema="offload")
    run = quarter(task)
    with pytest.raises(LedgerUnavailable, match=r"can't be reached at 127\.0\.0\.1:1/offload"):
        sense(task, run)
    assert task_instance(run, task).state == "up_for_retry"


def test_a_broken_entry_fails_at_once_with_the_field_and_the_reason(
    source: Source, task: WatermarkSensor, watermark: LedgerRow
) -> None:
    assert watermark
    source.configure(write_mode="merge")
    with pytest.raises(AirflowFailException, match=r"write_mode: .*`iceberg_offload_tables`"):
        sense(task, quarter(task))


def test_a_disabled_table_is_skipped(
    source: Source, task: WatermarkSensor, ledger: Ledger, watermark: LedgerRow
) -> None:
    source.configure(enabled=False)
    source.insert(LAST_QUARTER - BUFFER)
    assert sense(task, quarter(task)) == "skipped"
    assert newest(ledger) == watermark


def test_passwords_are_not_in_the_log(
    source: Source,
    task: WatermarkSensor,
    watermark: LedgerRow,
    connect_postgres: PostgresConnection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert watermark
    caplog.set_level(logging.DEBUG)
    sense(task, quarter(task))
    for connection in (source.hot.connection, connect_postgres):
        assert connection.password.get_secret_value() not in caplog.text
