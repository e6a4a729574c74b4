"""The metrics of a real ledger; the exporter keeps answering, whatever breaks."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest

from offload_core import __version__
from offload_core.config.connections import PostgresConnection
from offload_core.config.tables import DEFAULT_TABLES, InvalidTable
from offload_core.ledger.cleanup import delete_old_rows
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.rows import LedgerRow, Step, StepKind
from offload_core.ledger.session import LedgerConnection, connect
from offload_core.ledger.snapshot import SnapshotReader
from offload_core.ledger.tables import TableRegister
from offload_core.maintenance import TableStats
from offload_core.protocol.window import Cursor, Interval, Window
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit, WindowAudit
from offload_ops.audit.store import AuditStore
from offload_ops.tiers.row_hash import RowHash
from tests.support.stack.exporter import (
    Exporter,
    HealthPage,
    environment,
    exporter_process,
    free_port,
    running_exporter,
)

pytestmark = pytest.mark.integration

NOW = datetime.now(timezone.utc)
MINUTE = timedelta(minutes=1)
RUN = "scheduled__2026-11-21T12:00:00+00:00"
TRADES, CANDLES = DEFAULT_TABLES[0].name, DEFAULT_TABLES[8].name
_STABLE_METRICS = {
    "offload_info",
    "offload_lag_minutes",
    "offload_last_success_timestamp",
    "offload_cycle_duration_seconds",
    "offload_errors_total",
    "watermark_timestamp_seconds",
}


def offload(
    ledger: Ledger,
    table: str = TRADES,
    *,
    rows: int = 10,
    upto: datetime = NOW - 6 * MINUTE,
    run: str = RUN,
    seconds: float = 5,
    kind: str | None = None,
    total: int | None = 1000,
) -> LedgerRow:
    """Add a successful step of a table, which is initialized if necessary; without rows, an empty step."""
    ledger.initialize(table)
    watermark = ledger.watermark(table)
    step = Step(
        kind=StepKind(kind or ("increment" if rows else "empty")),
        cursor=Cursor(upto, 7) if rows else watermark.cursor,
        generation=0,
        source_uuid=uuid.UUID(int=1),
        run_id=run,
        attempt=1,
        window=Window(watermark.cursor, upto),
        rows=rows,
        snapshot_id=5 if rows else None,
        total_records=total if rows else None,
        seconds=seconds,
    )
    return ledger.append(watermark, step)


def fail(ledger: Ledger, table: str = TRADES, kind: str = "clickhouse_connection", *, halt: bool = False) -> None:
    ledger.record_failure(table, kind, "It broke.", run_id=RUN, attempt=1, halt=halt)


def age(session: LedgerConnection, row: LedgerRow, by: timedelta) -> None:
    """Make a row older than it is."""
    session.execute(
        "UPDATE offload_watermarks SET created_at = created_at - %(by)s, "
        "last_successful_run = last_successful_run - %(by)s WHERE id = %(id)s",
        {"by": by, "id": row.id},
    )


class TestTables:
    def test_the_metrics_that_users_depend_on_have_their_names(self, exporter: Exporter, ledger: Ledger):
        offload(ledger)

        scrape = exporter.scrape()

        assert scrape.samples.keys() >= _STABLE_METRICS
        assert scrape.value("offload_info", version=__version__, pipeline=scrape_pipeline(ledger)) == 1

    def test_the_lag_is_the_time_since_the_last_success_in_the_line_format_that_scripts_parse(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection
    ):
        age(session, offload(ledger), 25.3 * MINUTE)

        line = next(line for line in exporter.scrape().text.splitlines() if line.startswith("offload_lag_minutes{"))

        name, value = line.split()
        assert name == f'offload_lag_minutes{{table="{TRADES}"}}'
        assert float(value) == pytest.approx(25.3, abs=0.2)

    def test_an_empty_run_restarts_the_lag_and_leaves_the_watermark(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection
    ):
        midnight = datetime(2026, 11, 20, tzinfo=timezone.utc)
        age(session, offload(ledger, CANDLES, upto=midnight), 300 * MINUTE)
        offload(ledger, CANDLES, rows=0)

        scrape = exporter.scrape()

        assert scrape.value("offload_lag_minutes", table=CANDLES) < 1
        assert scrape.value("watermark_timestamp_seconds", table=CANDLES) == midnight.timestamp()
        assert scrape.value("offload_data_lag_minutes", table=CANDLES) > 20
        assert scrape.value("offload_read_until_timestamp_seconds", table=CANDLES) == pytest.approx(
            (NOW - 6 * MINUTE).timestamp()
        )

    def test_a_table_that_was_never_offloaded_lags_since_the_ledger_knows_it(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection
    ):
        ledger.initialize(TRADES)
        age(session, ledger.watermark(TRADES), 40 * MINUTE)
        fail(ledger)

        scrape = exporter.scrape()

        assert scrape.value("offload_lag_minutes", table=TRADES) == pytest.approx(40, abs=0.5)
        assert TRADES not in scrape.by_table("offload_last_success_timestamp")
        assert TRADES not in scrape.by_table("offload_read_until_timestamp_seconds")
        assert TRADES not in scrape.by_table("watermark_timestamp_seconds")
        assert TRADES not in scrape.by_table("offload_data_lag_minutes")

    def test_a_plain_insert_by_hand_does_not_make_a_table_look_late(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection, pipeline: str
    ):
        age(session, offload(ledger), 60 * MINUTE)
        offload(ledger)
        session.execute(
            "UPDATE offload_watermarks SET created_at = created_at - interval '1 hour' WHERE pipeline_id = %s",
            (pipeline,),
        )
        session.execute(
            "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp) VALUES (%s, %s, now())",
            (pipeline, TRADES),
        )

        assert exporter.scrape().value("offload_lag_minutes", table=TRADES) < 1

    def test_failures_count_up_to_the_next_success(self, exporter: Exporter, ledger: Ledger):
        offload(ledger)
        for _ in range(3):
            fail(ledger)

        assert exporter.scrape().value("offload_consecutive_failures", table=TRADES) == 3

        offload(ledger)

        assert exporter.scrape().value("offload_consecutive_failures", table=TRADES) == 0

    def test_a_halted_table_says_so_and_why_until_it_is_resumed(self, exporter: Exporter, ledger: Ledger):
        offload(ledger)
        offload(ledger, CANDLES)
        fail(ledger, kind="cold_rows_lost", halt=True)
        fail(ledger, kind="clickhouse_connection")

        scrape = exporter.scrape()

        assert scrape.by_table("offload_table_halted") == {TRADES: 1, CANDLES: 0}
        assert scrape.value("offload_table_halted_info", table=TRADES, type="cold_rows_lost") == 1
        assert scrape.by_table("offload_data_loss") == {TRADES: 1, CANDLES: 0}

        ledger.resume(TRADES)

        assert exporter.scrape().by_table("offload_table_halted") == {TRADES: 0, CANDLES: 0}
        assert "offload_table_halted_info" not in exporter.scrape()
        assert exporter.scrape().by_table("offload_data_loss") == {TRADES: 0, CANDLES: 0}

    def test_a_table_that_was_halted_for_another_reason_has_lost_nothing(self, exporter: Exporter, ledger: Ledger):
        offload(ledger)
        fail(ledger, kind="source_replaced", halt=True)

        assert exporter.scrape().value("offload_data_loss", table=TRADES) == 0

    def test_an_audit_that_finds_lost_rows_is_a_loss(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection, pipeline: str
    ):
        offload(ledger)
        AuditStore(session, pipeline).append(_audit(_window(0, Finding.LOST, missing=3)), "run-1")

        assert exporter.scrape().value("offload_data_loss", table=TRADES) == 1

    def test_a_reset_makes_the_runs_start_reading_anew(self, exporter: Exporter, ledger: Ledger):
        offload(ledger)
        ledger.reset(TRADES, Cursor(NOW - 600 * MINUTE))

        scrape = exporter.scrape()

        assert TRADES not in scrape.by_table("offload_read_until_timestamp_seconds")
        assert scrape.value("offload_data_lag_minutes", table=TRADES) > 590

    def test_only_the_configured_tables_are_reported_if_the_configuration_is_given(
        self, ledger_database: PostgresConnection, pipeline: str, ledger: Ledger
    ):
        offload(ledger)
        offload(ledger, CANDLES)
        entry = DEFAULT_TABLES[0].model_dump(mode="json")
        off = {**DEFAULT_TABLES[8].model_dump(mode="json"), "enabled": False}

        with running_exporter(ledger_database, pipeline, OFFLOAD_TABLES=json.dumps([entry, off])) as exporter:
            scrape = exporter.scrape()

        assert list(scrape.by_table("offload_lag_minutes")) == [TRADES]

    def test_a_table_that_is_switched_off_or_removed_from_the_configuration_is_not_reported_until_it_is_back(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection, pipeline: str
    ):
        register = TableRegister(session, pipeline)
        trades, silver, candles = DEFAULT_TABLES[0], DEFAULT_TABLES[2], DEFAULT_TABLES[8]
        for table in (trades, silver, candles):
            offload(ledger, table.name)
        wrong = InvalidTable(name=trades.name, layer=trades.layer, problem="It is wrong.")

        register.record([wrong, silver.model_copy(update={"enabled": False})])

        assert list(exporter.scrape().by_table("offload_lag_minutes")) == [trades.name]
        assert list(exporter.scrape().by_table("offload_rows_total")) == [trades.name]
        register.record([trades, silver, candles])
        assert len(exporter.scrape().by_table("offload_lag_minutes")) == 3

    def test_a_catch_up_shows_its_chunks_and_how_far_it_has_read(self, exporter: Exporter, ledger: Ledger):
        for hours in (3, 2, 1):
            offload(ledger, rows=100, upto=NOW - hours * 60 * MINUTE)

        scrape = exporter.scrape()

        assert scrape.value("offload_run_chunks", table=TRADES) == 3
        assert scrape.value("offload_run_rows", table=TRADES) == 300
        assert scrape.value("offload_cold_rows", table=TRADES) == 1000
        assert scrape.value("offload_read_until_timestamp_seconds", table=TRADES) == pytest.approx(
            (NOW - 60 * MINUTE).timestamp()
        )


class TestCycles:
    def test_a_cycle_lasts_from_its_first_tables_start_to_its_last_tables_end(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection
    ):
        age(session, offload(ledger, TRADES, seconds=30), 4 * MINUTE)
        age(session, offload(ledger, CANDLES, seconds=20), MINUTE)

        scrape = exporter.scrape()

        assert scrape.value("offload_cycle_duration_seconds") == pytest.approx(210, abs=1)
        assert scrape.value("offload_cycle_running") == 0
        assert scrape.value("offload_cycle_timestamp_seconds") == pytest.approx(
            (datetime.now(timezone.utc) - MINUTE).timestamp(), abs=30
        )

    def test_an_older_execution_of_a_cleared_run_does_not_count(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection
    ):
        age(session, offload(ledger, TRADES, seconds=5), 40 * MINUTE)
        offload(ledger, TRADES, seconds=5)

        assert exporter.scrape().value("offload_cycle_duration_seconds") == pytest.approx(5, abs=1)

    def test_work_by_hand_and_repairs_are_no_cycles(self, exporter: Exporter, ledger: Ledger):
        offload(ledger, TRADES, seconds=5)
        offload(ledger, TRADES, seconds=900, run="by_hand")
        offload(ledger, TRADES, seconds=900, kind="repair", run="scheduled__2026-11-21T12:35:00+00:00")

        assert exporter.scrape().value("offload_cycle_duration_seconds") == pytest.approx(5, abs=1)

    def test_a_running_job_is_seen_before_it_has_ended(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection, ledger_database: PostgresConnection
    ):
        age(session, offload(ledger, CANDLES, seconds=10), 5 * MINUTE)

        with connect(ledger_database, f"offload {TRADES} {RUN} try 1"):
            scrape = exporter.scrape()

        assert scrape.value("offload_cycle_running") == 1
        assert scrape.value("offload_cycle_duration_seconds") == pytest.approx(310, abs=5)
        assert scrape.value("offload_job_running_seconds", table=TRADES) < 5
        assert "offload_job_running_seconds" not in exporter.scrape()

    def test_without_any_cycle_there_is_no_duration(self, exporter: Exporter, ledger: Ledger):
        ledger.initialize(TRADES)

        assert "offload_cycle_duration_seconds" not in exporter.scrape()


class TestCounters:
    def test_every_row_counts_once_from_the_first_reading_on(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection, pipeline: str
    ):
        offload(ledger, rows=1_000_000)
        assert exporter.scrape().value("offload_rows_total", table=TRADES) == 0

        offload(ledger, rows=40)
        offload(ledger, rows=2)
        offload(ledger, rows=0)
        offload(ledger, rows=5, kind="repair")
        for _ in range(2):
            scrape = exporter.scrape()

        assert scrape.value("offload_rows_total", table=TRADES) == 42
        assert scrape.value("offload_late_rows_total", table=TRADES) == 5
        assert scrape.value("offload_steps_total", table=TRADES, kind="empty") == 1

        delete_old_rows(session, pipeline, datetime.now(timezone.utc) + MINUTE)

        assert exporter.scrape().value("offload_rows_total", table=TRADES) == 42

    def test_errors_count_by_type_and_every_type_is_there_from_the_start(self, exporter: Exporter, ledger: Ledger):
        offload(ledger)
        before = exporter.scrape()
        fail(ledger, kind="clickhouse_connection")
        fail(ledger, kind="clickhouse_connection")
        fail(ledger, kind="source_replaced", halt=True)

        after = exporter.scrape()

        assert before.value("offload_errors_total", type="spark_out_of_memory") == 0
        assert after.value("offload_errors_total", type="clickhouse_connection") == 2
        assert after.value("offload_errors_total", type="source_replaced") == 1

    def test_what_happened_while_the_ledger_could_not_be_read_is_counted_afterwards(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection
    ):
        offload(ledger)
        exporter.scrape()
        with _unreadable(session):
            assert exporter.scrape().value("offload_ledger_up") == 0
        fail(ledger)

        assert exporter.scrape().value("offload_errors_total", type="clickhouse_connection") == 1

    def test_after_an_outage_of_hours_a_reading_goes_back_to_the_previous_one(
        self, ledger_database: PostgresConnection, ledger: Ledger, session: LedgerConnection, pipeline: str
    ):
        reader = SnapshotReader(ledger_database, pipeline, None, timeout_seconds=5)
        age(session, offload(ledger), 120 * MINUTE)
        assert [step.kind for step in reader.read().steps] == ["init"]

        assert reader._steps_from is not None
        reader._steps_from -= 180 * MINUTE

        assert [step.kind for step in reader.read().steps] == ["init", "increment"]


class TestAuditsAndMaintenance:
    def test_the_newest_audit_of_each_window_counts(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection, pipeline: str
    ):
        offload(ledger)
        store = AuditStore(session, pipeline)
        store.append(_audit(_window(0), _window(1, Finding.LATE, missing=3)), "run-1")
        store.append(_audit(_window(1), _window(2, Finding.SURPLUS, surplus=2, duplicates=1)), "run-2")

        scrape = exporter.scrape()

        assert scrape.value("offload_audit_windows", table=TRADES, finding="equal") == 2
        assert scrape.value("offload_audit_windows", table=TRADES, finding="surplus") == 1
        assert frozenset({("table", TRADES), ("finding", "late")}) not in scrape.samples["offload_audit_windows"]
        assert scrape.value("offload_audit_rows", table=TRADES, difference="surplus") == 2
        assert scrape.value("offload_audit_rows", table=TRADES, difference="missing") == 0
        assert scrape.value("offload_audit_timestamp_seconds", table=TRADES) == pytest.approx(NOW.timestamp())

    def test_files_and_snapshots_are_those_of_the_newest_maintenance(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection, pipeline: str
    ):
        offload(ledger)
        stats = TableStats(9, 4096, 8, 0, 30, 3, 12, 50.0, 2)
        for after in (stats, TableStats(2, 4000, 1, 0, 20, 1, 10, 25.0, 1)):
            MaintenanceLog(session, pipeline).append(
                TRADES, run_id="m", attempt=1, seconds=2, before=stats, after=after, steps=[]
            )

        scrape = exporter.scrape()

        assert scrape.value("offload_table_files", table=TRADES) == 2
        assert scrape.value("offload_table_snapshots", table=TRADES) == 20
        assert scrape.value("offload_table_planning_seconds", table=TRADES) == 0.025

    def test_a_ledger_of_an_older_version_lacks_only_what_is_newer(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection
    ):
        offload(ledger)
        with session.transaction(force_rollback=False):
            session.execute("ALTER TABLE offload_audits RENAME TO offload_audits_renamed")
        try:
            scrape = exporter.scrape()
        finally:
            session.execute("ALTER TABLE offload_audits_renamed RENAME TO offload_audits")

        assert scrape.value("offload_ledger_up") == 1
        assert scrape.value("offload_lag_minutes", table=TRADES) < 1


class TestScheduler:
    def test_the_page_for_prometheus_up_answers_while_the_scheduler_lives(self, exporter: Exporter, health: HealthPage):
        health.stop_the_heart(timedelta(seconds=95))
        status, text = exporter.get("/scheduler")

        assert status == 503
        assert "95 seconds old" in text or "96 seconds old" in text
        health.beat_again()
        assert exporter.get("/scheduler")[0] == 200

    def test_a_dead_scheduler_takes_nothing_from_the_other_metrics(
        self, exporter: Exporter, ledger: Ledger, health: HealthPage
    ):
        offload(ledger)
        health.stop_the_heart(timedelta(minutes=5))

        scrape = exporter.scrape()

        assert scrape.value("offload_scheduler_up") == 0
        assert scrape.value("offload_airflow_up") == 1
        assert scrape.value("offload_scheduler_heartbeat_age_seconds") == pytest.approx(300, abs=10)
        assert scrape.samples.keys() >= _STABLE_METRICS

    def test_a_silent_airflow_is_not_a_dead_scheduler_and_its_last_heartbeat_ages(
        self, ledger_database: PostgresConnection, pipeline: str
    ):
        page = HealthPage()
        with running_exporter(ledger_database, pipeline, OFFLOAD_AIRFLOW_URL=page.url) as exporter:
            page.stop_the_heart(timedelta(seconds=10))
            exporter.scrape()
            page.close()

            scrape = exporter.scrape()

        assert scrape.value("offload_airflow_up") == 0
        assert scrape.value("offload_scheduler_up") == 1
        assert scrape.value("offload_scheduler_heartbeat_age_seconds") > 10

    def test_without_any_scheduler_there_is_no_heartbeat(self, exporter: Exporter, health: HealthPage):
        health.has_scheduler = False

        assert exporter.get("/scheduler")[0] == 503
        assert "offload_scheduler_heartbeat_age_seconds" not in exporter.scrape()

    def test_the_page_is_found_on_either_version_of_airflow_and_again_after_an_upgrade(
        self, exporter: Exporter, health: HealthPage
    ):
        health.stop_the_heart(timedelta(seconds=95))
        assert exporter.scrape().value("offload_airflow_up") == 1

        health.path = "/api/v2/monitor/health"
        health.beat_again()

        scrape = exporter.scrape()
        assert scrape.value("offload_airflow_up") == 1
        assert scrape.value("offload_scheduler_up") == 1


class TestWhenThingsBreak:
    def test_without_postgresql_it_says_so_and_serves_no_figure_of_the_past(
        self, exporter: Exporter, ledger: Ledger, session: LedgerConnection
    ):
        offload(ledger)
        assert exporter.scrape().value("offload_ledger_up") == 1

        with _unreadable(session):
            scrape = exporter.scrape()

        assert scrape.value("offload_ledger_up") == 0
        assert "offload_lag_minutes" not in scrape
        assert "offload_errors_total" not in scrape
        assert scrape.value("offload_scheduler_up") == 1
        assert exporter.scrape().value("offload_ledger_up") == 1

    def test_a_postgresql_that_accepts_and_says_nothing_delays_a_scrape_no_longer_than_set(
        self, ledger_database: PostgresConnection, pipeline: str
    ):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            unresponsive = ledger_database.model_copy(update={"port": silent.getsockname()[1]})
            with running_exporter(unresponsive, pipeline, OFFLOAD_EXPORTER_TIMEOUT_SECONDS="0.3") as exporter:
                for _ in range(3):
                    assert exporter.scrape().value("offload_ledger_up") == 0

            silent.setblocking(False)
            silent.accept()[0].close()
            with pytest.raises(BlockingIOError):  # one reading at a time, however many scrapes
                silent.accept()

    def test_a_ledger_that_is_not_set_up_is_no_ledger(self, ledger_database: PostgresConnection, pipeline: str):
        empty = ledger_database.model_copy(update={"database": "postgres"})

        with running_exporter(empty, pipeline) as exporter:
            assert exporter.scrape().value("offload_ledger_up") == 0

    def test_it_never_writes(self, exporter: Exporter, ledger: Ledger, session: LedgerConnection, pipeline: str):
        offload(ledger)
        exporter.scrape()
        count = "SELECT count(*) AS n, max(xmin::text::bigint) AS x FROM offload_watermarks WHERE pipeline_id = %s"
        before = session.execute(count, (pipeline,)).fetchone()

        exporter.scrape()

        assert session.execute(count, (pipeline,)).fetchone() == before

    def test_it_ends_on_sigterm(self, ledger_database: PostgresConnection, pipeline: str):
        with exporter_process(ledger_database, pipeline) as process:
            process.send_signal(signal.SIGTERM)

            assert process.wait(timeout=20) == 0

    def test_a_taken_port_is_an_error_that_names_the_setting(self, ledger_database: PostgresConnection):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            result = _start(environment(ledger_database, taken.getsockname()[1]))

        assert result.returncode == 2
        assert "Set OFFLOAD_PORT_EXPORTER to a free port" in result.stderr

    @pytest.mark.parametrize(
        ("variable", "value", "message"),
        [
            ("OFFLOAD_PORT_EXPORTER", "eight", "Correct OFFLOAD_PORT_EXPORTER"),
            ("OFFLOAD_EXPORTER_TIMEOUT_SECONDS", "0", "Correct OFFLOAD_EXPORTER_TIMEOUT_SECONDS"),
            ("OFFLOAD_CONNECTIONS", "", "OFFLOAD_CONNECTIONS_FILE"),
            ("OFFLOAD_CONNECTIONS", '{"postgres": {"password": "hidden one"}}', "postgres.host"),
        ],
    )
    def test_a_wrong_setting_is_named_and_no_password_shown(
        self, ledger_database: PostgresConnection, variable: str, value: str, message: str
    ):
        result = _start({**environment(ledger_database, free_port()), variable: value})

        assert result.returncode == 2
        assert message in result.stderr
        assert "hidden one" not in result.stderr


def scrape_pipeline(ledger: Ledger) -> str:
    return ledger._pipeline


def _start(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitoring.exporter"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def _unreadable(session: LedgerConnection) -> Iterator[None]:
    """The ledger's table has another name."""
    session.execute("ALTER TABLE offload_watermarks RENAME TO offload_watermarks_renamed")
    try:
        yield
    finally:
        session.execute("ALTER TABLE offload_watermarks_renamed RENAME TO offload_watermarks")


def _window(hour: int, finding: Finding = Finding.EQUAL, **differences: int) -> WindowAudit:
    start = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=6 - hour)
    interval = Interval(start, start + timedelta(hours=1))
    same = RowHash(10, 2**64 - 1)
    return WindowAudit(
        interval, interval, same, same, finding, Differences(**differences), (), "", "print", ColdSource.DATA
    )


def _audit(*windows: WindowAudit) -> TableAudit:
    return TableAudit(DEFAULT_TABLES[0], Cursor(NOW), None, 5, str(uuid.UUID(int=1)), NOW, 0.5, windows)
