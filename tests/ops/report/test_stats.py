"""The figures and the issues of the weekly report."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from offload_core.config.tables import InvalidTable, Layer
from offload_core.ledger.session import LedgerConnection, connect
from offload_core.protocol.window import Interval
from offload_ops.report.airflow_history import AirflowHistory
from offload_ops.report.issues import find_issues
from offload_ops.report.maintenance import MaintenanceSummary, read_maintenance
from offload_ops.report.model import Report
from offload_ops.report.pages import as_file, as_json_text, as_text
from offload_ops.report.plots import plots
from tests.support.ledger.week_of_ledger import (
    BINANCE,
    CANDLES,
    DAY,
    HOUR,
    MINUTE,
    MONDAY,
    PERIOD,
    SILVER,
    TABLES,
    W08,
    airflow_week,
    eventful,
)
from tests.support.stack.servers import postgres_database

pytestmark = pytest.mark.integration

QUARTERS = 7 * 96


def findings(report: Report) -> list[str]:
    return [issue.finding for issue in find_issues(report)]


class TestTheFigures:
    def test_rows_are_summed_by_table_and_by_day_and_compared_with_the_week_before(self, written_ledger, make_report):
        report = make_report(eventful(written_ledger))

        binance, silver, candles = report.tables
        assert (binance.rows, binance.rows_before) == ((QUARTERS - 4) * 100, QUARTERS * 50)
        assert binance.rows_by_day == (9600, 9600, 9200, 9600, 9600, 9600, 9600)
        assert (silver.rows, silver.increments, silver.empty) == ((QUARTERS - 4) * 200 + 3, QUARTERS - 3, 1)
        assert candles.rows == QUARTERS * 10
        assert report.rows == binance.rows + silver.rows + candles.rows
        assert report.rows_before == QUARTERS * (50 + 100 + 5)
        assert [day.rows for day in report.days] == [29760, 29760, 28560, 29760, 29763, 29760, 29760]

    def test_repairs_are_late_rows_and_restated_rows_are_neither_new_nor_late(self, written_ledger, make_report):
        _, silver, candles = (report := make_report(eventful(written_ledger))).tables

        assert (silver.late_rows, silver.restated_rows) == (1207, 5000)
        assert silver.late_by_day == (0, 0, 0, 7, 1200, 0, 0)
        assert candles.late_rows == 0
        assert report.late_rows == 1214

    def test_failures_are_counted_by_kind_most_frequent_first_and_halts_apart(self, written_ledger, make_report):
        binance, silver, candles = (report := make_report(eventful(written_ledger))).tables

        assert list(binance.failures.items()) == [("clickhouse_connection", 3), ("spark_out_of_memory", 1)]
        assert (silver.failures, candles.failures) == ({}, {})
        assert (candles.halts, binance.halts) == (1, 0)
        assert candles.halt is not None
        assert candles.halt.since == W08.end - MINUTE
        assert [day.failures for day in report.days] == [0, 4, 0, 0, 0, 0, 0]

    def test_the_iceberg_tables_size_is_the_last_one_recorded(self, written_ledger, make_report):
        _, _, candles = make_report(eventful(written_ledger)).tables

        assert candles.cold_rows == 1000 + QUARTERS * 10

    def test_the_objective_is_missed_for_as_long_as_the_lag_was_over_thirty_minutes(self, written_ledger, make_report):
        binance, _, candles = (report := make_report(eventful(written_ledger))).tables

        # The last cycle before the outage was a quarter of an hour before it.
        assert binance.freshness is not None
        assert binance.freshness.longest == 75 * MINUTE
        assert (binance.freshness.late, binance.freshness.too_late) == (55 * MINUTE, 45 * MINUTE)
        assert candles.freshness is not None
        assert candles.freshness.too_late == timedelta()
        # An empty success starts the lag again as well; silver's is none.
        assert report.in_time == pytest.approx(1 - 90 * MINUTE / (3 * 7 * DAY))

    def test_cycles_are_counted_as_due_started_succeeded_and_failed(self, written_ledger, make_report):
        cycles = make_report(eventful(written_ledger)).cycles

        assert (cycles.due, cycles.started, cycles.succeeded, cycles.failed) == (672, 668, 667, 1)
        assert (cycles.uptime, cycles.success_rate) == (668 / 672, 667 / 668)
        (outage,) = cycles.outages
        assert (outage.first, outage.last, outage.cycles) == (
            MONDAY + 2 * DAY,
            MONDAY + 2 * DAY + 45 * MINUTE,
            4,
        )

    def test_each_day_has_its_success_rate(self, written_ledger, make_report):
        days = make_report(eventful(written_ledger)).days

        assert [day.cycles.success_rate for day in days] == [1, 95 / 96, 1, 1, 1, 1, 1]
        assert [day.cycles.due - day.cycles.started for day in days] == [0, 0, 4, 0, 0, 0, 0]

    def test_cycles_before_the_installation_and_those_of_this_minute_are_not_due(self, written_ledger, make_report):
        written_ledger.add(BINANCE, MONDAY + DAY, "init")
        airflow = replace(airflow_week(), first_due=MONDAY + DAY + PERIOD)

        cycles = make_report(airflow, now=MONDAY + DAY + HOUR + timedelta(seconds=30)).cycles

        assert cycles.due == 4

    def test_a_table_without_a_row_in_the_period_was_late_all_the_time(self, written_ledger, make_report):
        written_ledger.add(BINANCE, MONDAY - 70 * DAY, "init")
        written_ledger.add(BINANCE, MONDAY - DAY, rows=5, total=5)

        (binance, *_) = make_report().tables

        assert (binance.rows, binance.cold_rows) == (0, 5)
        assert binance.freshness is not None
        assert (binance.freshness.too_late, binance.freshness.longest) == (7 * DAY, 8 * DAY)

    def test_a_row_typed_by_hand_does_not_hide_the_last_success_before_the_period(self, written_ledger, make_report):
        written_ledger.add(BINANCE, MONDAY - 70 * DAY, "init")
        written_ledger.add(BINANCE, MONDAY - 10 * MINUTE, rows=5)
        written_ledger.write(
            "VALUES (%(pipeline)s, %(table)s, %(at)s, 'reset', 'initialized', 0, %(at)s, NULL, NULL, NULL, NULL, NULL, "
            "0)",
            {"table": BINANCE, "at": MONDAY - 5 * MINUTE},
        )

        (binance, *_) = make_report(now=MONDAY + HOUR).tables

        assert binance.freshness is not None
        assert binance.freshness.longest == 70 * MINUTE

    def test_tables_switched_off_or_no_longer_configured_are_reported_without_freshness(
        self, written_ledger, make_report
    ):
        written_ledger.ordinary_week(BINANCE, SILVER)
        off = [table.model_copy(update={"enabled": False}) for table in TABLES if table.name == BINANCE]

        binance, silver = (report := make_report(tables=off)).tables

        assert (binance.is_offloaded, binance.freshness, binance.rows) == (False, None, QUARTERS * 100)
        assert (silver.table, silver.layer, silver.freshness) == (SILVER, None, None)
        assert "switched off" in as_text(report)
        assert "not configured" in as_text(report)

    def test_a_period_of_any_length_is_cut_at_midnight(self, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE)
        period = Interval(MONDAY + 20 * HOUR, MONDAY + 2 * DAY + 4 * HOUR)

        report = make_report(airflow_week(week=period), period=period)

        assert [day.rows for day in report.days] == [1600, 9600, 1600]
        assert [day.cycles.due for day in report.days] == [16, 96, 16]
        assert report.name == "2026-02-16 20:00 to 2026-02-18 04:00"


class TestAuditsAndMaintenance:
    def audit(
        self, session: LedgerConnection, pipeline: str, hour: int, finding: str, at: datetime, rows: int = 0
    ) -> None:
        start = MONDAY + hour * HOUR
        session.execute(
            "INSERT INTO offload_audits (pipeline_id, table_name, window_start, window_end, compared_from, "
            "compared_to, hot_rows, hot_hash, cold_rows, cold_hash, finding, missing_rows, fingerprint, cold_source, "
            "source_uuid, audited_at, run_id) "
            "VALUES (%s, %s, %s, %s, %s, %s, 0, 0, 0, 0, %s, %s, '', 'data', gen_random_uuid(), %s, 'run')",
            (pipeline, SILVER, start, start + HOUR, start, start + HOUR, finding, rows, at),
        )

    def test_windows_are_counted_once_and_open_if_their_newest_audit_found_a_difference(
        self, session, pipeline, make_report
    ):
        self.audit(session, pipeline, 1, "late", MONDAY + 3 * HOUR, rows=4)
        self.audit(session, pipeline, 1, "late", MONDAY + 4 * HOUR, rows=4)
        self.audit(session, pipeline, 1, "equal", MONDAY + 5 * HOUR)
        self.audit(session, pipeline, 2, "equal", MONDAY + 5 * HOUR)
        self.audit(session, pipeline, 3, "equal", MONDAY + 5 * HOUR)
        self.audit(session, pipeline, 3, "lost", MONDAY + 6 * HOUR, rows=1_500)
        self.audit(session, pipeline, 4, "lost", MONDAY - HOUR, rows=9)

        report = make_report()

        audit = report.maintenance.audits[SILVER]
        assert (audit.windows, audit.late, audit.lost, audit.surplus) == (3, 1, 1, 0)
        assert (audit.open_windows, audit.open_rows) == (1, 1500)
        assert any("silver_trades: 1 window still differed" in finding for finding in findings(report))

    def test_tables_that_were_not_audited_are_named(self, session, pipeline, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE, SILVER, CANDLES)
        self.audit(session, pipeline, 1, "equal", MONDAY + 3 * HOUR)

        assert findings(make_report()) == [f"{BINANCE}, {CANDLES}: not audited in this period."]

    def test_maintenance_is_reported_from_before_its_first_run_to_after_its_last(
        self, session, pipeline, written_ledger, make_report
    ):
        written_ledger.ordinary_week(BINANCE)
        for number, (before, after) in enumerate(((900, 30), (40, 10))):
            stats = [
                {"data_files": files, "bytes": files << 20, "snapshots": 5, "planning_milliseconds": 12.4}
                for files in (before, after)
            ]
            session.execute(
                "INSERT INTO offload_maintenance (pipeline_id, table_name, run_id, attempt, created_at, seconds, "
                "figures_before, figures_after, steps) VALUES (%s, %s, 'run', 1, %s, 1, %s, %s, '[]')",
                (pipeline, BINANCE, MONDAY + number * DAY, *map(json.dumps, stats)),
            )

        report = make_report()

        runs = report.maintenance.runs[BINANCE]
        assert (runs.runs, runs.files_before, runs.files, runs.size) == (2, 900, 10, 10 << 20)
        assert "900 → 10" in as_text(report)

    def test_a_database_without_their_tables_has_neither(self, servers):
        with postgres_database(servers.postgres, "report") as database, connect(database) as empty:
            assert read_maintenance(empty, "any", W08) == MaintenanceSummary(None, None)


class TestWhatNeedsAttention:
    def test_an_ordinary_week_has_no_issue(self, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE, SILVER, CANDLES)

        report = make_report(airflow_week(), maintenance=MaintenanceSummary())

        assert findings(report) == []
        assert (report.in_time, report.cycles.uptime, report.cycles.success_rate) == (1, 1, 1)
        assert "All is well." in as_text(report)

    def test_an_eventful_week_names_each_thing_the_worst_first(self, written_ledger, make_report):
        halted, failed, missed, late, restarted = findings(
            make_report(eventful(written_ledger), maintenance=MaintenanceSummary())
        )

        assert halted == f"{CANDLES} has been halted since 2026-02-22 23:59: It lacks <b>10</b> rows."
        assert failed == "1 of 668 cycles failed after all retries: success rate 99.85 %."
        assert missed == (
            "4 of 672 cycles never started, at worst 4 in a row from 2026-02-18 00:00 to 2026-02-18 00:45."
        )
        assert late == (
            f"{BINANCE}, {SILVER}: more than 30 minutes late, for 1 h 30 min in total; worst: {BINANCE}, 1 h 15 min."
        )
        assert restarted == "Airflow's scheduler was restarted 6 times, more than 5."

    def test_each_says_what_to_do(self, written_ledger, make_report):
        assert all(len(issue.remedy) > 20 for issue in find_issues(make_report(eventful(written_ledger))))

    def test_five_restarts_are_no_issue_yet(self, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE, SILVER, CANDLES)

        assert findings(make_report(airflow_week(restarts=5), maintenance=MaintenanceSummary())) == []

    def test_a_success_rate_below_the_alarm_level_says_so(self, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE, SILVER, CANDLES)
        failed = tuple(MONDAY + number * PERIOD for number in range(34))

        (finding,) = findings(make_report(airflow_week(failed=failed), maintenance=MaintenanceSummary()))

        assert finding.endswith("success rate 94.94 %, which is below 95 %.")

    def test_a_scheduler_that_is_down_is_an_issue(self, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE, SILVER, CANDLES)

        assert findings(make_report(airflow_week(up_since=None), maintenance=MaintenanceSummary())) == [
            "No scheduler is alive."
        ]

    def test_a_table_that_had_rows_in_the_week_before_and_has_none_now_is_an_issue(self, written_ledger, make_report):
        written_ledger.ordinary_week(SILVER, CANDLES)
        written_ledger.ordinary_week(BINANCE, week=Interval(MONDAY - 7 * DAY, MONDAY))
        written_ledger.write(
            "SELECT %(pipeline)s, %(table)s, moment, 'empty', 'success', 0, moment, moment, NULL, NULL, NULL, NULL, 0 "
            "FROM generate_series(%(start)s, %(end)s, interval '15 minutes') AS moment",
            {"table": BINANCE, "start": MONDAY, "end": W08.end},
        )

        (finding,) = findings(make_report(airflow_week(), maintenance=MaintenanceSummary()))

        assert finding.startswith(f"{BINANCE}: no new rows")

    def test_a_wrong_entry_and_a_table_without_a_watermark_are_issues(self, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE)
        wrong = InvalidTable(name="broken", layer=Layer.GOLD, problem="Entry 2 is wrong.")

        issues = findings(make_report(tables=[TABLES[0], wrong, TABLES[1]], maintenance=MaintenanceSummary()))

        assert issues == ["Entry 2 is wrong.", f"{SILVER}: never offloaded before the end of this period."]

    def test_rows_that_the_maintenance_has_deleted_are_never_missing_in_silence(self, written_ledger, make_report):
        start = MONDAY + 3 * HOUR
        written_ledger.add(BINANCE, start, rows=1, started_from=1)
        written_ledger.every_quarter(BINANCE, start + PERIOD, W08.end, 100)

        report = make_report(tables=[TABLES[0]], maintenance=MaintenanceSummary())

        assert report.known_since == start
        (finding,) = find_issues(report)
        assert "figures begin only at 2026-02-16 03:00" in finding.finding
        assert "ledger_retention_days" in finding.remedy


class TestAnEmptyWeek:
    def test_of_an_installation_that_stood_still_has_no_uptime(self, written_ledger, make_report):
        written_ledger.ordinary_week(BINANCE, week=Interval(MONDAY - 7 * DAY, MONDAY))
        nothing = replace(airflow_week(), cycles=[])

        report = make_report(nothing, tables=[TABLES[0]])

        assert (report.cycles.uptime, report.cycles.success_rate, report.rows) == (0, None, 0)
        assert report.cycles.outages[0].cycles == QUARTERS

    def test_before_any_installation_has_no_figures_and_can_be_shown(self, make_report):
        report = make_report(AirflowHistory([MONDAY], None, [], [], None))

        assert (report.cycles.due, report.cycles.uptime, report.in_time, report.rows) == (0, None, None, 0)
        assert "n/a" in as_text(report)
        assert json.loads(as_json_text(report))["uptime"] is None
        assert plots(report) == {}
        assert "<img" not in as_file(report, {})

    def test_without_any_table_can_be_shown(self, make_report):
        assert "No table is configured." in as_text(make_report(tables=[]))
