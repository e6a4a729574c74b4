"""The report: its figures from the ledger's rows, what it says needs attention, and that HTML, text and JSON say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from offload_core.cli import Context
from offload_core.errors import FixConfiguration
from offload_core.lag import LagMinutes
from offload_core.ledger_session import LedgerConnection, connect
from offload_core.report.attention import attention
from offload_core.report.compute import compute
from offload_core.report.format import change, duration, in_words, listed, share, size
from offload_core.report.history import AirflowHistory, read_ledger
from offload_core.report.model import Report, last_week, week_name
from offload_core.report.pages import as_file, as_html, as_json_text, as_text, file_name, subject, write
from offload_core.report.plots import plots
from offload_core.report.sections import figures, sections
from offload_core.report.upkeep import Upkeep, read_upkeep
from offload_core.table_config import DEFAULT_TABLES, InvalidTable, Layer, TableConfig
from offload_core.window import Interval
from tests.support.offload_command import Offload
from tests.support.reported_week import (
    BINANCE,
    CANDLES,
    DAY,
    HOUR,
    MINUTE,
    MONDAY,
    PERIOD,
    SILVER,
    W08,
    WrittenLedger,
    airflow_week,
)
from tests.support.servers import postgres_database

pytestmark = pytest.mark.integration

NOW = W08.end + 9 * HOUR
TABLES = [table for table in DEFAULT_TABLES if table.name in (BINANCE, SILVER, CANDLES)]
QUARTERS = 7 * 96

Make = Callable[..., Report]


@pytest.fixture
def written(session: LedgerConnection, pipeline: str) -> WrittenLedger:
    return WrittenLedger(session, pipeline)


@pytest.fixture
def make(session: LedgerConnection, pipeline: str) -> Make:
    """Makes the report on what is in the ledger."""

    def make(
        airflow: AirflowHistory | None = None,
        tables: list[TableConfig | InvalidTable] | None = None,
        now: datetime = NOW,
        period: Interval = W08,
        upkeep: Upkeep | None = None,
    ) -> Report:
        history = read_ledger(session, pipeline, period)
        found = read_upkeep(session, pipeline, period) if upkeep is None else upkeep
        return compute(
            pipeline, period, TABLES if tables is None else tables, history, airflow, found, LagMinutes(), now
        )

    return make


def findings(report: Report) -> list[str]:
    return [one.finding for one in attention(report)]


def eventful(written: WrittenLedger) -> AirflowHistory:
    """A week with an outage of four cycles, a failed cycle, retries, late rows, a restated interval and a halt."""
    outage = MONDAY + 2 * DAY
    for table, rows in ((BINANCE, 100), (SILVER, 200)):
        written.add(table, MONDAY - 70 * DAY, "init")
        written.every_quarter(table, MONDAY - 7 * DAY, MONDAY, rows // 2)
        written.every_quarter(table, MONDAY, outage, rows)
        written.every_quarter(table, outage + HOUR, W08.end, rows)
    written.ordinary_week(CANDLES, rows=10)
    written.add(BINANCE, MONDAY + 3 * DAY + 1 * MINUTE, "repair", rows=7)
    written.add(SILVER, MONDAY + 3 * DAY + 1 * MINUTE, "repair", rows=7)
    written.add(SILVER, MONDAY + 4 * DAY + 1 * MINUTE, "repair", rows=1_200)
    written.add(SILVER, MONDAY + 4 * DAY + 2 * MINUTE, "restate", rows=5_000)
    written.add(SILVER, MONDAY + 4 * DAY + 3 * MINUTE, "recovered", rows=3)
    written.add(SILVER, MONDAY + 4 * DAY + 4 * MINUTE, "empty")
    for minute in range(3):
        written.add(BINANCE, MONDAY + DAY + minute * MINUTE, "failure", error_kind="clickhouse_connection")
    written.add(BINANCE, MONDAY + DAY + 4 * MINUTE, "failure", error_kind="spark_out_of_memory")
    written.add(CANDLES, W08.end - 1 * MINUTE, "halt", error_kind="cold_rows_lost", message="It lacks <b>10</b> rows.")
    return airflow_week(
        missing=tuple(outage + number * PERIOD for number in range(4)), failed=(MONDAY + DAY,), restarts=6
    )


class TestTheFigures:
    def test_rows_are_summed_by_table_and_by_day_and_compared_with_the_week_before(self, written, make):
        report = make(eventful(written))

        binance, silver, candles = report.tables
        assert (binance.rows, binance.rows_before) == ((QUARTERS - 4) * 100, QUARTERS * 50)
        assert binance.rows_by_day == (9600, 9600, 9200, 9600, 9600, 9600, 9600)
        assert (silver.rows, silver.increments, silver.empty) == ((QUARTERS - 4) * 200 + 3, QUARTERS - 3, 1)
        assert candles.rows == QUARTERS * 10
        assert report.rows == binance.rows + silver.rows + candles.rows
        assert report.rows_before == QUARTERS * (50 + 100 + 5)
        assert [day.rows for day in report.days] == [29760, 29760, 28560, 29760, 29763, 29760, 29760]

    def test_repairs_are_late_rows_and_restated_rows_are_neither_new_nor_late(self, written, make):
        _, silver, candles = (report := make(eventful(written))).tables

        assert (silver.late_rows, silver.restated_rows) == (1207, 5000)
        assert silver.late_by_day == (0, 0, 0, 7, 1200, 0, 0)
        assert candles.late_rows == 0
        assert report.late_rows == 1214

    def test_failures_are_told_by_kind_most_frequent_first_and_halts_apart(self, written, make):
        binance, silver, candles = (report := make(eventful(written))).tables

        assert list(binance.failures.items()) == [("clickhouse_connection", 3), ("spark_out_of_memory", 1)]
        assert (silver.failures, candles.failures) == ({}, {})
        assert (candles.halts, binance.halts) == (1, 0)
        assert candles.halt is not None
        assert candles.halt.since == W08.end - MINUTE
        assert [day.failures for day in report.days] == [0, 4, 0, 0, 0, 0, 0]

    def test_the_iceberg_tables_size_is_the_last_one_recorded(self, written, make):
        _, _, candles = make(eventful(written)).tables

        assert candles.cold_rows == 1000 + QUARTERS * 10

    def test_the_objective_is_missed_for_as_long_as_the_lag_was_over_thirty_minutes(self, written, make):
        binance, _, candles = (report := make(eventful(written))).tables

        # The last cycle before the outage was a quarter of an hour before it.
        assert binance.freshness is not None
        assert binance.freshness.longest == 75 * MINUTE
        assert (binance.freshness.late, binance.freshness.too_late) == (55 * MINUTE, 45 * MINUTE)
        assert candles.freshness is not None
        assert candles.freshness.too_late == timedelta()
        # An empty success starts the lag again as well; silver's is none.
        assert report.in_time == pytest.approx(1 - 90 * MINUTE / (3 * 7 * DAY))

    def test_cycles_are_counted_as_due_started_succeeded_and_failed(self, written, make):
        cycles = make(eventful(written)).cycles

        assert (cycles.due, cycles.started, cycles.succeeded, cycles.failed) == (672, 668, 667, 1)
        assert (cycles.uptime, cycles.success_rate) == (668 / 672, 667 / 668)
        (outage,) = cycles.outages
        assert (outage.first, outage.last, outage.cycles) == (
            MONDAY + 2 * DAY,
            MONDAY + 2 * DAY + 45 * MINUTE,
            4,
        )

    def test_the_success_rate_of_each_day_is_told_as_well(self, written, make):
        days = make(eventful(written)).days

        assert [day.cycles.success_rate for day in days] == [1, 95 / 96, 1, 1, 1, 1, 1]
        assert [day.cycles.due - day.cycles.started for day in days] == [0, 0, 4, 0, 0, 0, 0]

    def test_cycles_before_the_installation_and_those_of_this_minute_are_not_due(self, written, make):
        written.add(BINANCE, MONDAY + DAY, "init")
        airflow = replace(airflow_week(), first_due=MONDAY + DAY + PERIOD)

        cycles = make(airflow, now=MONDAY + DAY + HOUR + timedelta(seconds=30)).cycles

        assert cycles.due == 4

    def test_a_table_without_a_row_in_the_period_was_late_all_the_time(self, written, make):
        written.add(BINANCE, MONDAY - 70 * DAY, "init")
        written.add(BINANCE, MONDAY - DAY, rows=5, total=5)

        (binance, *_) = make().tables

        assert (binance.rows, binance.cold_rows) == (0, 5)
        assert binance.freshness is not None
        assert (binance.freshness.too_late, binance.freshness.longest) == (7 * DAY, 8 * DAY)

    def test_a_row_typed_by_hand_does_not_hide_the_last_success_before_the_period(self, written, make):
        written.add(BINANCE, MONDAY - 70 * DAY, "init")
        written.add(BINANCE, MONDAY - 10 * MINUTE, rows=5)
        written.write(
            "VALUES (%(pipeline)s, %(table)s, %(at)s, 'reset', 'initialized', 0, %(at)s, NULL, NULL, NULL, NULL, NULL, 0)",
            {"table": BINANCE, "at": MONDAY - 5 * MINUTE},
        )

        (binance, *_) = make(now=MONDAY + HOUR).tables

        assert binance.freshness is not None
        assert binance.freshness.longest == 70 * MINUTE

    def test_a_switched_off_table_is_reported_and_not_judged_and_one_no_longer_configured_as_well(self, written, make):
        written.ordinary_week(BINANCE, SILVER)
        off = [table.model_copy(update={"enabled": False}) for table in TABLES if table.name == BINANCE]

        binance, silver = (report := make(tables=off)).tables

        assert (binance.is_offloaded, binance.freshness, binance.rows) == (False, None, QUARTERS * 100)
        assert (silver.table, silver.layer, silver.freshness) == (SILVER, None, None)
        assert "switched off" in as_text(report)
        assert "not configured" in as_text(report)

    def test_a_period_of_any_length_is_cut_at_midnight(self, written, make):
        written.ordinary_week(BINANCE)
        period = Interval(MONDAY + 20 * HOUR, MONDAY + 2 * DAY + 4 * HOUR)

        report = make(airflow_week(week=period), period=period)

        assert [day.rows for day in report.days] == [1600, 9600, 1600]
        assert [day.cycles.due for day in report.days] == [16, 96, 16]
        assert report.name == "2026-02-16 20:00 to 2026-02-18 04:00"


class TestAuditsAndMaintenance:
    def audit(
        self, session: LedgerConnection, pipeline: str, hour: int, finding: str, at: datetime, rows: int = 0
    ) -> None:
        start = MONDAY + hour * HOUR
        session.execute(
            "INSERT INTO offload_audits (pipeline_id, table_name, window_start, window_end, compared_from, compared_to, hot_rows, "
            "hot_hash, cold_rows, cold_hash, finding, missing_rows, fingerprint, cold_source, source_uuid, audited_at, run_id) "
            "VALUES (%s, %s, %s, %s, %s, %s, 0, 0, 0, 0, %s, %s, '', 'data', gen_random_uuid(), %s, 'run')",
            (pipeline, SILVER, start, start + HOUR, start, start + HOUR, finding, rows, at),
        )

    def test_windows_are_counted_once_and_open_if_their_newest_audit_found_a_difference(self, session, pipeline, make):
        self.audit(session, pipeline, 1, "late", MONDAY + 3 * HOUR, rows=4)
        self.audit(session, pipeline, 1, "late", MONDAY + 4 * HOUR, rows=4)
        self.audit(session, pipeline, 1, "equal", MONDAY + 5 * HOUR)
        self.audit(session, pipeline, 2, "equal", MONDAY + 5 * HOUR)
        self.audit(session, pipeline, 3, "equal", MONDAY + 5 * HOUR)
        self.audit(session, pipeline, 3, "lost", MONDAY + 6 * HOUR, rows=1_500)
        self.audit(session, pipeline, 4, "lost", MONDAY - HOUR, rows=9)

        report = make()

        found = report.upkeep.audits[SILVER]
        assert (found.windows, found.late, found.lost, found.surplus) == (3, 1, 1, 0)
        assert (found.open_windows, found.open_rows) == (1, 1500)
        assert any("silver_trades: 1 windows still differed" in finding for finding in findings(report))

    def test_tables_that_were_not_audited_are_named(self, session, pipeline, written, make):
        written.ordinary_week(BINANCE, SILVER, CANDLES)
        self.audit(session, pipeline, 1, "equal", MONDAY + 3 * HOUR)

        assert findings(make()) == [f"{BINANCE}, {CANDLES}: not audited in this period."]

    def test_maintenance_is_told_from_before_its_first_run_to_after_its_last(self, session, pipeline, written, make):
        written.ordinary_week(BINANCE)
        for number, (before, after) in enumerate(((900, 30), (40, 10))):
            figures = [
                {"data_files": files, "bytes": files << 20, "snapshots": 5, "planning_milliseconds": 12.4}
                for files in (before, after)
            ]
            session.execute(
                "INSERT INTO offload_maintenance (pipeline_id, table_name, run_id, attempt, created_at, seconds, figures_before, "
                "figures_after, steps) VALUES (%s, %s, 'run', 1, %s, 1, %s, %s, '[]')",
                (pipeline, BINANCE, MONDAY + number * DAY, *map(json.dumps, figures)),
            )

        report = make()

        done = report.upkeep.maintenance[BINANCE]
        assert (done.runs, done.files_before, done.files, done.size) == (2, 900, 10, 10 << 20)
        assert "900 → 10" in as_text(report)

    def test_a_database_without_their_tables_has_neither(self, servers):
        with postgres_database(servers.postgres, "report") as database, connect(database) as empty:
            assert read_upkeep(empty, "any", W08) == Upkeep(None, None)


class TestWhatNeedsAttention:
    def test_an_ordinary_week_needs_none(self, written, make):
        written.ordinary_week(BINANCE, SILVER, CANDLES)

        report = make(airflow_week(), upkeep=Upkeep())

        assert findings(report) == []
        assert (report.in_time, report.cycles.uptime, report.cycles.success_rate) == (1, 1, 1)
        assert "All is well." in as_text(report)

    def test_an_eventful_week_names_each_thing_the_worst_first(self, written, make):
        halted, failed, missed, late, restarted = findings(make(eventful(written), upkeep=Upkeep()))

        assert halted == f"{CANDLES} is halted since 2026-02-22 23:59: It lacks <b>10</b> rows."
        assert failed == "1 of 668 cycles ended failed after their retries: success rate 99.85 %."
        assert missed == (
            "4 of 672 cycles never started, at worst 4 in a row from 2026-02-18 00:00 to 2026-02-18 00:45."
        )
        assert late == (
            f"{BINANCE}, {SILVER}: more than 30 minutes late, together for 1 h 30 min; at worst {BINANCE}, 1 h 15 min."
        )
        assert restarted == "Airflow's scheduler was restarted 6 times, more than 5."

    def test_each_says_what_to_do(self, written, make):
        assert all(len(one.remedy) > 20 for one in attention(make(eventful(written))))

    def test_five_restarts_are_not_yet_worth_a_word(self, written, make):
        written.ordinary_week(BINANCE, SILVER, CANDLES)

        assert findings(make(airflow_week(restarts=5), upkeep=Upkeep())) == []

    def test_a_success_rate_below_the_alarm_level_says_so(self, written, make):
        written.ordinary_week(BINANCE, SILVER, CANDLES)
        failed = tuple(MONDAY + number * PERIOD for number in range(34))

        (finding,) = findings(make(airflow_week(failed=failed), upkeep=Upkeep()))

        assert finding.endswith("success rate 94.94 %, which is below 95 %.")

    def test_a_scheduler_that_is_down_is_told(self, written, make):
        written.ordinary_week(BINANCE, SILVER, CANDLES)

        assert findings(make(airflow_week(up_since=None), upkeep=Upkeep())) == ["No scheduler is alive."]

    def test_a_table_that_had_rows_in_the_week_before_and_has_none_now_is_told(self, written, make):
        written.ordinary_week(SILVER, CANDLES)
        written.ordinary_week(BINANCE, week=Interval(MONDAY - 7 * DAY, MONDAY))
        written.write(
            "SELECT %(pipeline)s, %(table)s, moment, 'empty', 'success', 0, moment, moment, NULL, NULL, NULL, NULL, 0 "
            "FROM generate_series(%(start)s, %(end)s, interval '15 minutes') AS moment",
            {"table": BINANCE, "start": MONDAY, "end": W08.end},
        )

        (finding,) = findings(make(airflow_week(), upkeep=Upkeep()))

        assert finding.startswith(f"{BINANCE}: no new rows")

    def test_a_wrong_entry_and_a_table_without_a_watermark_are_told(self, written, make):
        written.ordinary_week(BINANCE)
        wrong = InvalidTable(name="broken", layer=Layer.GOLD, problem="Entry 2 is wrong.")

        found = findings(make(tables=[TABLES[0], wrong, TABLES[1]], upkeep=Upkeep()))

        assert found == ["Entry 2 is wrong.", f"{SILVER}: never offloaded up to the end of this period."]

    def test_rows_that_the_maintenance_has_deleted_are_never_missing_in_silence(self, written, make):
        start = MONDAY + 3 * HOUR
        written.add(BINANCE, start, rows=1, started_from=1)
        written.every_quarter(BINANCE, start + PERIOD, W08.end, 100)

        report = make(tables=[TABLES[0]], upkeep=Upkeep())

        assert report.known_since == start
        (finding,) = attention(report)
        assert "figures begin as late as 2026-02-16 03:00" in finding.finding
        assert "ledger_retention_days" in finding.remedy


class TestAnEmptyWeek:
    def test_of_an_installation_that_stood_still_has_no_uptime(self, written, make):
        written.ordinary_week(BINANCE, week=Interval(MONDAY - 7 * DAY, MONDAY))
        nothing = replace(airflow_week(), cycles=[])

        report = make(nothing, tables=[TABLES[0]])

        assert (report.cycles.uptime, report.cycles.success_rate, report.rows) == (0, None, 0)
        assert report.cycles.outages[0].cycles == QUARTERS

    def test_before_any_installation_has_no_figures_and_can_be_told(self, make):
        report = make(AirflowHistory([MONDAY], None, [], [], None))

        assert (report.cycles.due, report.cycles.uptime, report.in_time, report.rows) == (0, None, None, 0)
        assert "n/a" in as_text(report)
        assert json.loads(as_json_text(report))["uptime"] is None
        assert plots(report) == {}
        assert "<img" not in as_file(report, {})

    def test_without_any_table_can_be_told(self, make):
        assert "No table is configured." in as_text(make(tables=[]))


class _Page(HTMLParser):
    """The visible text, the cells of tables and the pictures of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(" ".join(data.split()))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))


class TestThePages:
    def test_html_text_and_json_say_the_same(self, written, make):
        report = make(eventful(written))
        text, page, fields = as_text(report), _Page(as_html(report, {})), json.loads(as_json_text(report))

        told = [figure.value for figure in figures(report)]
        told += [cell for section in sections(report) for row in section.rows for cell in row if cell]
        assert len(told) > 80
        for figure in told:
            assert figure in page.texts
            assert figure in text
        assert f"{fields['rows']:,}" in text
        assert fields["rows"] == sum(table["rows"] for table in fields["tables"]) == report.rows
        assert share(fields["success_rate"]) in text
        assert share(fields["uptime"]) in text
        assert share(fields["in_time"]) in text
        assert len(fields["attention"]) == len(attention(report))
        assert fields["tables"][0]["freshness"]["too_late"] == 45 * 60
        assert fields["period"]["start"] == "2026-02-16T00:00:00+00:00"

    def test_every_finding_is_in_the_text_with_its_remedy(self, written, make):
        report = make(eventful(written))
        text = " ".join(as_text(report).split())

        for one in attention(report):
            assert one.finding in text
            assert one.remedy in text

    def test_what_an_error_says_is_text_and_never_markup(self, written, make):
        page = as_html(make(eventful(written)), {})

        assert "It lacks &lt;b&gt;10&lt;/b&gt; rows." in page
        assert "<b>10" not in page

    def test_the_file_carries_its_pictures_and_asks_nobody_for_anything(self, written, make):
        report = make(eventful(written))

        page = as_file(report, plots(report))

        images = _Page(page).images
        assert [str(image["src"])[:22] for image in images] == ["data:image/png;base64,"] * 3
        assert all(image["alt"] for image in images)
        assert not re.search(r"""(src|href|url\()\s*=?\s*["']?(https?:)?//""", page)
        assert "<script" not in page

    def test_pictures_without_anything_to_show_are_left_out(self, written, make):
        written.ordinary_week(BINANCE)

        assert set(plots(make())) == {"lag", "rows"}

    def test_pictures_of_many_tables_and_of_a_long_outage_can_be_drawn(self, written, make):
        tables = [TABLES[0].model_copy(update={"target": f"cold.trades_{number}"}) for number in range(14)]
        for table in tables:
            written.add(table.name, MONDAY - 70 * DAY, "init")
            written.add(table.name, W08.end - HOUR, rows=2_000_000_000)

        drawn = plots(make(tables=tables))

        assert all(png.startswith(b"\x89PNG") for png in drawn.values())
        assert all(len(png) < 400_000 for png in drawn.values())

    def test_no_secret_gets_in(self, written, make, ledger_database):
        report = make(eventful(written))

        for page in (as_file(report, plots(report)), as_text(report), as_json_text(report)):
            assert ledger_database.password.get_secret_value() not in page

    def test_a_week_is_named_by_its_iso_number(self, make):
        report = replace(make(), pipeline="iceberg_offload")

        assert report.name == "2026-W08"
        assert file_name(report) == "iceberg-offload-2026-W08.html"
        assert subject(report).startswith("Iceberg offload, 2026-W08: ")

    def test_a_file_is_written_as_a_whole_and_again(self, tmp_path):
        path = tmp_path / "new" / "report.html"

        write(path, "first")
        write(path, "second")

        assert path.read_text() == "second"
        assert [file.name for file in path.parent.iterdir()] == ["report.html"]

    def test_a_file_that_cannot_be_written_says_where_to_choose_another(self, tmp_path):
        (tmp_path / "file").write_text("")

        with pytest.raises(FixConfiguration, match="report_folder"):
            write(tmp_path / "file" / "report.html", "page")


class TestWeeks:
    @pytest.mark.parametrize("moment", [W08.end, W08.end + 9 * HOUR, W08.end + 7 * DAY - timedelta(microseconds=1)])
    def test_the_last_one_is_the_one_that_is_over(self, moment):
        assert last_week(moment) == W08

    def test_the_year_is_that_of_the_iso_week(self):
        assert week_name(datetime.fromisoformat("2027-01-03T00:00:00+00:00")) == "2026-W53"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100 %", share(1.0)),
        ("99.99 %", share(0.99999999)),
        ("99.85 %", share(667 / 668)),
        ("95 %", share(0.95)),
        ("0 %", share(0.0)),
        ("n/a", share(None)),
        ("+5 %", change(105, 100)),
        ("-100 %", change(0, 100)),
        ("n/a", change(5, 0)),
        ("0 s", duration(timedelta())),
        ("under 1 s", duration(timedelta(milliseconds=5))),
        ("59 s", duration(timedelta(seconds=59.9))),
        ("1 min", duration(timedelta(seconds=60))),
        ("2 h 10 min", duration(timedelta(minutes=130, seconds=5))),
        ("8 d 1 h", duration(timedelta(days=8, hours=1))),
        ("1.5 minutes", in_words(timedelta(seconds=90))),
        ("an hour", in_words(timedelta(hours=1))),
        ("90 minutes", in_words(timedelta(minutes=90))),
        ("2 hours", in_words(timedelta(hours=2))),
        ("1 KiB", size(1024)),
        ("1.5 GiB", size(3 << 29)),
        ("0 B", size(0)),
        ("a, b, c, d", listed(["a", "b", "c", "d"])),
        ("a, b, c and 2 others", listed(["a", "b", "c", "d", "e"])),
    ],
)
def test_figures_are_written_as_people_read_them_and_never_better_than_they_are(text, value):
    assert value == text


class TestTheCommand:
    @pytest.fixture
    def week(self, written: WrittenLedger) -> list[str]:
        written.ordinary_week(BINANCE)
        return ["--from", "2026-02-16T00:00:00Z", "--to", "2026-02-23T00:00:00Z"]

    def test_it_prints_the_report_of_a_period_as_text(self, offload: Offload, week):
        ended = offload("report", *week)

        assert ended.status == 0
        assert ended.out.startswith("Iceberg offload, 2026-W08\n")
        assert "67,200" in ended.out
        assert "Airflow was not asked" in ended.out

    def test_it_asks_airflow_where_there_is_one(self, offload: Offload, week, context: Context):
        ended = offload(
            "report", *week, context=replace(context, airflow_history=lambda period: airflow_week(week=period))
        )

        assert "672 of 672 due cycles started" in ended.out

    def test_json_goes_to_stdout_and_the_page_to_a_file(self, offload: Offload, week, tmp_path: Path):
        ended = offload("report", *week, "--json", "--out", str(tmp_path / "report.html"))

        assert json.loads(ended.out)["rows"] == 67_200
        assert "report.html" in ended.err
        assert "67,200" in (tmp_path / "report.html").read_text()

    def test_without_a_period_it_is_about_the_last_seven_days(self, offload: Offload, ledger):
        ledger.initialize(BINANCE)

        fields = json.loads(offload("report", "--json").out)

        start, end = (datetime.fromisoformat(fields["period"][name]) for name in ("start", "end"))
        assert end - start == 7 * DAY
        assert fields["made_at"] == fields["period"]["end"]

    def test_half_a_period_is_refused(self, offload: Offload):
        ended = offload("report", "--from", "2026-02-16T00:00:00Z")

        assert ended.status == 2
        assert "--to" in ended.err

    def test_a_database_without_a_ledger_says_what_to_run(self, offload: Offload, context: Context, servers):
        with postgres_database(servers.postgres, "report") as database:
            connections = context.connections.model_copy(update={"postgres": database})
            ended = offload("report", context=replace(context, connections=connections))

        assert ended.status == 2
        assert "offload init" in ended.err
