"""The page of real ledgers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from offload_core.config.lag import LagMinutes
from offload_core.config.tables import DEFAULT_TABLES, parse_tables
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection
from offload_ops.alerts.model import Cycles
from offload_ops.audit.model import Finding
from offload_ops.cli.output import status_fields
from offload_ops.status_page.model import Addresses, Severity, StatusPage, TableRow
from offload_ops.status_page.render import content
from offload_ops.table_state import read_states
from tests.support.documents.shown_html import ShownHtml
from tests.support.ledger.alert_tables import CANDLES, HOUR, KRAKEN, MINUTE, SILVER, TRADES, AlertTables, job_name

pytestmark = pytest.mark.integration

VIEWER = Addresses(dag="/dag", run=lambda run: f"/run/{run}", log=lambda _run, table, kind: f"/log/{table}/{kind}")


MakePage = Callable[..., StatusPage]


def only(page: StatusPage) -> TableRow:
    (row,) = page.tables
    return row


class TestTables:
    def test_tables_that_are_on_time_need_nobody(self, alert_tables: AlertTables, make_page: MakePage):
        for table in DEFAULT_TABLES:
            alert_tables.day(table.name, 4 * MINUTE)
            alert_tables.audit(table.name, [Finding.EQUAL] * 6)

        page = make_page(tables=DEFAULT_TABLES)

        assert (page.headline, page.severity) == ("All 9 tables are on time.", Severity.GOOD)
        assert [layer for layer, _ in page.layers] == ["bronze", "silver", "gold"]
        assert {row.badge.word for row in page.tables} == {"Good"}
        assert {row.audit.verdict for row in page.tables} == {"equal"}
        assert "What to do" not in ShownHtml(content(page)).text

    @pytest.mark.parametrize(
        ("minutes", "level", "word", "severity"),
        [
            (10, "Normal", "Good", Severity.GOOD),
            (17, "Elevated", "Good", Severity.GOOD),
            (25, "Warning", "Late", Severity.WATCH),
            (35, "Critical", "Late", Severity.BAD),
            (50, "Severe", "Late", Severity.BAD),
            (70, "Emergency", "Late", Severity.BAD),
        ],
    )
    def test_each_level_of_lag_has_its_word(
        self, alert_tables: AlertTables, make_page: MakePage, minutes: int, level: str, word: str, severity: Severity
    ):
        alert_tables.day(TRADES, minutes * MINUTE)

        page = make_page(TRADES)
        row = only(page)

        assert (row.level.word if row.level else None, row.badge.word, row.badge.severity) == (level, word, severity)
        assert row.lag_minutes == pytest.approx(minutes, abs=0.2)
        assert (row.issue is not None) == (word == "Late")
        assert page.severity is severity
        assert level in ShownHtml(content(page)).text
        if word == "Late":
            assert page.headline == f"1 of 1 table needs you: {TRADES} is late ({level})."

    def test_the_levels_bounds_are_those_of_the_settings(self, alert_tables: AlertTables, make_page: MakePage):
        alert_tables.day(TRADES, 25 * MINUTE)
        wide = LagMinutes(elevated=30, warning=40, critical=60, severe=90, emergency=120).model_dump()

        assert only(make_page(TRADES, lag_minutes=wide)).badge.word == "Good"

    def test_a_late_table_shows_its_likely_cause(self, alert_tables: AlertTables, make_page: MakePage):
        alert_tables.day(TRADES, 35 * MINUTE)
        since = datetime.now(timezone.utc) - 12 * MINUTE

        issue = only(make_page(TRADES, cycles=Cycles("iceberg_offload", running_since=since, last_started=since))).issue

        assert issue is not None
        assert "is still running, after 12 minutes" in issue.finding
        assert str(issue.runbook) == "docs/runbooks/iceberg-offload-performance.md"

    def test_a_table_that_catches_up_shows_how_far_it_is(
        self, alert_tables: AlertTables, make_page: MakePage, open_session: Callable[..., LedgerConnection]
    ):
        run = alert_tables.catching_up(SILVER)
        open_session(job_name(SILVER, run))

        page = make_page(SILVER)
        row = only(page)

        assert row.badge.word == "Catching up"
        assert row.progress is not None
        assert (row.progress.chunks, row.progress.rows, row.progress.percent) == (3, 15_000_000, 60)
        assert re.search(r"3 chunks committed, 15,000,000 rows; read up to \S+( \S+)?, 2 h to go", row.progress.text)
        assert page.headline == "The only table is on time; 1 catching up."
        shown = ShownHtml(content(page))
        assert (
            "progress",
            {"max": "100", "value": "60", "aria-label": f"{SILVER} has caught up 60 %"},
        ) in shown.elements

    def test_a_job_that_has_just_begun_is_running_and_shows_no_progress(
        self, alert_tables: AlertTables, make_page: MakePage, open_session: Callable[..., LedgerConnection]
    ):
        alert_tables.day(SILVER, 12 * MINUTE)
        open_session(job_name(SILVER, alert_tables.run_id(-HOUR)))

        row = only(make_page(SILVER))

        assert row.badge.word == "Running"
        assert row.progress is not None
        assert (row.progress.chunks, row.progress.percent) == (0, None)

    def test_a_halted_table_says_why_and_offers_the_way_out_to_those_who_may(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.halted(KRAKEN)

        page = make_page(KRAKEN, runbook_url="https://example.com/books")
        issue = only(page).issue

        assert page.headline == f"1 of 1 table needs you: {KRAKEN} is halted."
        assert issue is not None
        assert "lacks snapshot 8231550" in issue.finding
        assert issue.remedy == f"When the cause is dealt with, run `offload resume {KRAKEN}`."
        assert [action.href for action in issue.actions] == [f"/act/resume/{KRAKEN}"]
        assert issue.runbook is not None
        assert issue.runbook.address == "https://example.com/books/iceberg-offload-watermark-recovery.md"
        seen = ShownHtml(content(make_page(KRAKEN, addresses=VIEWER)))
        assert f"offload resume {KRAKEN}" in seen.text
        assert not any(address.startswith("/act/") for address in seen.all("href"))

    def test_a_failing_table_shows_its_last_error_its_log_and_what_to_do(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.failing(CANDLES)

        row = only(make_page(CANDLES))

        assert (row.badge.word, row.failures) == ("Failing", 3)
        assert row.issue is not None
        assert (row.issue.title, row.issue.severity) == ("Failed 3 times in a row", Severity.BAD)
        assert row.issue.finding.endswith("can't be reached: connection refused.")
        assert f"offload history {CANDLES}" in row.issue.remedy
        assert row.issue.log is not None
        assert row.issue.log.href == f"/log/{CANDLES}/failure"
        assert row.last_run is not None
        assert (row.last_run.outcome, row.last_run.severity) == ("failed", Severity.BAD)

    def test_a_failure_that_may_pass_by_itself_is_not_final_before_the_third(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.failing(CANDLES, attempts=1)

        page = make_page(CANDLES)

        assert (only(page).badge.word, page.severity) == ("Trying again", Severity.WATCH)

    def test_a_table_without_a_success_is_never_offloaded_and_one_without_a_row_not_set_up(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.never(TRADES, 8 * MINUTE)

        page = make_page(TRADES, KRAKEN)
        never, missing = page.tables

        assert (never.badge.word, never.lag, never.lag_minutes, never.watermark) == (
            "Never offloaded",
            "set up 8 min ago",
            None,
            None,
        )
        assert (missing.badge.word, missing.lag, missing.actions) == ("Not set up", "", ())
        assert missing.issue is not None
        assert missing.issue.remedy == "Run `offload init`."
        assert "data-lag-minutes" not in ShownHtml(content(page)).table(TRADES)

    def test_when_nothing_has_run_yet_the_page_says_so(self, alert_tables: AlertTables, make_page: MakePage):
        alert_tables.never(TRADES)
        alert_tables.never(KRAKEN)

        assert make_page(TRADES, KRAKEN).headline == "No table has been offloaded yet."

    def test_a_wrong_entry_is_named_and_a_disabled_table_is_left_in_peace(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.day(TRADES, 300 * MINUTE)
        alert_tables.day(KRAKEN, 4 * MINUTE)
        off = DEFAULT_TABLES[0].model_dump(mode="json") | {"enabled": False}
        wrong = {"source": "x", "target": "cold.gold_wrong", "layer": "gold", "timestamp_col": "t", "colour": "red"}
        tables = parse_tables(json.dumps([off, DEFAULT_TABLES[1].model_dump(mode="json"), wrong]))

        page = make_page(tables=tables)
        disabled, _, broken = page.tables

        assert (disabled.badge.word, disabled.badge.severity, disabled.issue, disabled.actions) == (
            "Switched off",
            Severity.OFF,
            None,
            (),
        )
        assert broken.badge.word == "Wrong entry"
        assert broken.issue is not None
        assert "colour" in broken.issue.finding
        assert page.headline == "1 of 2 tables needs you: gold_wrong is wrong in the configuration."

    def test_many_tables_with_issues_are_counted_the_worst_first(self, alert_tables: AlertTables, make_page: MakePage):
        alert_tables.day(TRADES, 25 * MINUTE)
        alert_tables.halted(KRAKEN)
        alert_tables.day(CANDLES, 70 * MINUTE)

        assert make_page(TRADES, KRAKEN, CANDLES).headline == "3 of 3 tables need you: 1 halted, 2 late."


class TestWhatHappened:
    def test_the_last_run_has_its_rows_and_leads_to_the_run_and_its_log(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.day(TRADES, 4 * MINUTE)
        run = alert_tables.run_id(-HOUR)
        alert_tables.row(TRADES, 2 * MINUTE, rows=1234, seconds=12, run=run)

        last = only(make_page(TRADES)).last_run

        assert last is not None
        assert (last.outcome, last.duration, last.at.ago) == ("1,234 rows", "12 s", "2 min ago")
        assert last.run is not None
        assert last.run.href == f"/run/{run}"
        assert last.log is not None
        assert last.log.href == f"/log/{TRADES}/increment"

    def test_a_run_that_airflow_does_not_know_has_no_link(self, alert_tables: AlertTables, make_page: MakePage):
        alert_tables.row(TRADES, 2 * MINUTE, rows=5, run="by hand")

        last = only(make_page(TRADES, addresses=Addresses())).last_run

        assert last is not None
        assert (last.outcome, last.run, last.log) == ("5 rows", None, None)

    @pytest.mark.parametrize(
        ("kind", "rows", "words"),
        [
            ("empty", 0, "nothing new"),
            ("recovered", 7, "7 rows recovered from Iceberg"),
            ("repair", 1, "1 row inserted by a repair"),
            ("restate", 3, "3 rows restated"),
            ("resume", 0, "resumed by an operator"),
            ("reset", 0, "watermark set by an operator"),
        ],
    )
    def test_every_kind_of_ledger_row_has_its_words(
        self, alert_tables: AlertTables, make_page: MakePage, kind: str, rows: int, words: str
    ):
        alert_tables.never(TRADES, HOUR)
        alert_tables.row(TRADES, MINUTE, kind, rows)

        last = only(make_page(TRADES)).last_run

        assert last is not None
        assert last.outcome == words

    def test_the_day_is_drawn_with_its_rows_its_lag_and_its_failures(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.never(TRADES, 30 * HOUR)
        alert_tables.row(TRADES, 25 * HOUR, rows=999)
        alert_tables.row(TRADES, 10 * HOUR, rows=100)
        alert_tables.row(TRADES, 9 * HOUR, "failure", error=("other", "It broke."))
        alert_tables.row(TRADES, 1 * MINUTE, rows=50)

        sparkline = only(make_page(TRADES)).sparkline

        assert sparkline is not None
        assert (sparkline.rows, len(sparkline.bars), len(sparkline.crosses)) == (150, 2, 1)
        assert [bar.title.partition(": ")[2] for bar in sparkline.bars] == ["100 rows", "50 rows"]
        assert sparkline.bars[0].height == pytest.approx(2 * sparkline.bars[1].height)
        assert sparkline.crosses[0].title.endswith(": 1 failed attempt")
        assert sparkline.summary == "150 rows in 24 hours, longest lag 15 h, 1 failed attempt"
        assert any(lag.title.endswith("(Emergency)") for lag in sparkline.lags)
        assert all(0 <= bar.x <= sparkline.width - bar.width for bar in sparkline.bars)

    def test_rows_that_an_operator_had_repaired_are_not_counted_as_offloaded(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.day(TRADES, 4 * MINUTE)
        before = only(make_page(TRADES)).sparkline
        alert_tables.row(TRADES, MINUTE, "repair", 500)

        after = only(make_page(TRADES)).sparkline

        assert before is not None
        assert after is not None
        assert after.rows == before.rows

    def test_the_newest_audit_of_each_window_is_the_verdict(self, alert_tables: AlertTables, make_page: MakePage):
        alert_tables.day(TRADES, 4 * MINUTE)
        alert_tables.audit(TRADES, [Finding.LATE] * 3, ago=70 * MINUTE)
        alert_tables.audit(TRADES, [Finding.EQUAL, Finding.LATE, Finding.CHANGED], ago=10 * MINUTE)

        page = make_page(TRADES)
        row = only(page)

        assert (row.audit.verdict, row.audit.differing) == ("changed rows", 2)
        assert row.audit.detail == "2 of 3 windows, 24 missing rows"
        assert row.issue is not None
        assert row.issue.remedy.startswith(f"`offload audit {TRADES}`")
        assert page.headline == f"1 of 1 table needs you: {TRADES} differs from ClickHouse."

    def test_what_command_and_page_say_of_a_table_is_the_same(
        self, alert_tables: AlertTables, make_page: MakePage, session: LedgerConnection, pipeline: str
    ):
        alert_tables.day(TRADES, 25 * MINUTE)
        alert_tables.halted(KRAKEN)
        alert_tables.failing(CANDLES)
        alert_tables.never(SILVER)
        tables = DEFAULT_TABLES

        shown = ShownHtml(content(make_page(tables=tables)))
        states = read_states(Ledger(session, pipeline), tables, LagMinutes(), datetime.now(timezone.utc))

        for fields in map(status_fields, states):
            row = shown.table(str(fields["table"]))
            assert row["data-state"] == fields["state"]
            assert row["data-failures"] == str(fields["failures"] or 0)
            if fields["lag_minutes"] is None:
                assert "data-lag-minutes" not in row
            else:
                assert float(row["data-lag-minutes"] or 0) == pytest.approx(fields["lag_minutes"], abs=0.2)
                assert row["data-lag-level"] == fields["lag_level"]


class TestAirflow:
    @pytest.mark.parametrize(
        ("cycles", "title"),
        [
            (Cycles("iceberg_offload", scheduler_alive=False), "Nothing is offloaded: no scheduler is running"),
            (Cycles("iceberg_offload", is_paused=True), "Nothing is offloaded: the DAG is paused"),
            (Cycles("iceberg_offload", is_known=False), "Airflow doesn't know the DAG"),
            (Cycles("iceberg_offload", import_errors=["dags/x.py: KeyError: 'a'"]), "The DAG can't be imported"),
        ],
    )
    def test_what_stops_every_table_is_said_once_at_the_top(
        self, alert_tables: AlertTables, make_page: MakePage, cycles: Cycles, title: str
    ):
        alert_tables.day(TRADES, 35 * MINUTE)
        alert_tables.day(KRAKEN, 35 * MINUTE)

        page = make_page(TRADES, KRAKEN, cycles=cycles)

        assert [notice.title for notice in page.notices] == [title]
        assert page.notices[0].remedy
        assert page.notices[0].runbook is not None
        assert page.headline.startswith(title)
        assert page.severity is Severity.BAD
        assert [row.issue for row in page.tables] == [None, None]
        assert {row.badge.word for row in page.tables} == {"Late"}

    def test_a_dead_scheduler_does_not_hide_that_the_dag_is_paused(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.day(TRADES, MINUTE)

        page = make_page(TRADES, cycles=Cycles("iceberg_offload", scheduler_alive=False, is_paused=True))

        assert [notice.title.partition(": ")[2] for notice in page.notices] == [
            "no scheduler is running",
            "the DAG is paused",
        ]

    def test_the_tables_are_shown_even_if_airflow_cannot_be_queried(
        self, alert_tables: AlertTables, make_page: MakePage
    ):
        alert_tables.day(TRADES, MINUTE)

        page = make_page(TRADES, cycles=None)

        assert page.notices[0].title == "Airflow's database can't be read"
        assert (page.headline, page.severity) == ("The only table is on time.", Severity.WATCH)

    def test_the_facts_name_heartbeat_cycle_and_rows(self, alert_tables: AlertTables, make_page: MakePage):
        alert_tables.day(TRADES, MINUTE)

        facts = {fact.label: fact for fact in make_page(TRADES).facts}

        assert facts["Scheduler"].value == "alive"
        assert facts["Scheduler"].detail.startswith("heartbeat ")
        assert facts["Newest cycle"].detail == "ended 1 min ago"
        assert facts["DAG"].href == "/dag"
        assert facts["Longest lag"].value == "1 min"
