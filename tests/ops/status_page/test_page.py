"""What the page says of real ledgers."""

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
from offload_ops.status_page.model import Addresses, StatusPage, TableLine, Tone
from offload_ops.status_page.render import content
from offload_ops.table_state import read_states
from tests.support.documents.shown_html import Shown
from tests.support.ledger.alert_tables import CANDLES, HOUR, KRAKEN, MINUTE, SILVER, TRADES, ToldTables, job_name

pytestmark = pytest.mark.integration

VIEWER = Addresses(dag="/dag", run=lambda run: f"/run/{run}", log=lambda _run, table, kind: f"/log/{table}/{kind}")


Make = Callable[..., StatusPage]


def only(made: StatusPage) -> TableLine:
    (line,) = made.tables
    return line


class TestTables:
    def test_tables_that_are_on_time_need_nobody(self, told: ToldTables, make: Make):
        for table in DEFAULT_TABLES:
            told.day(table.name, 4 * MINUTE)
            told.audit(table.name, [Finding.EQUAL] * 6)

        made = make(tables=DEFAULT_TABLES)

        assert (made.headline, made.tone) == ("All 9 tables are on time.", Tone.GOOD)
        assert [layer for layer, _ in made.layers] == ["bronze", "silver", "gold"]
        assert {line.mark.word for line in made.tables} == {"Good"}
        assert {line.audit.word for line in made.tables} == {"equal"}
        assert "What to do" not in Shown(content(made)).text

    @pytest.mark.parametrize(
        ("minutes", "level", "word", "tone"),
        [
            (10, "Normal", "Good", Tone.GOOD),
            (17, "Elevated", "Good", Tone.GOOD),
            (25, "Warning", "Late", Tone.WATCH),
            (35, "Critical", "Late", Tone.BAD),
            (50, "Severe", "Late", Tone.BAD),
            (70, "Emergency", "Late", Tone.BAD),
        ],
    )
    def test_each_level_of_lag_has_its_word(
        self, told: ToldTables, make: Make, minutes: int, level: str, word: str, tone: Tone
    ):
        told.day(TRADES, minutes * MINUTE)

        made = make(TRADES)
        line = only(made)

        assert (line.level.word if line.level else None, line.mark.word, line.mark.tone) == (level, word, tone)
        assert line.lag_minutes == pytest.approx(minutes, abs=0.2)
        assert (line.trouble is not None) == (word == "Late")
        assert made.tone is tone
        assert level in Shown(content(made)).text
        if word == "Late":
            assert made.headline == f"1 of 1 table needs you: {TRADES} is late ({level})."

    def test_the_levels_bounds_are_those_of_the_settings(self, told: ToldTables, make: Make):
        told.day(TRADES, 25 * MINUTE)
        wide = LagMinutes(elevated=30, warning=40, critical=60, severe=90, emergency=120).model_dump()

        assert only(make(TRADES, lag_minutes=wide)).mark.word == "Good"

    def test_a_late_table_is_told_its_likely_cause(self, told: ToldTables, make: Make):
        told.day(TRADES, 35 * MINUTE)
        since = datetime.now(timezone.utc) - 12 * MINUTE

        trouble = only(make(TRADES, cycles=Cycles("iceberg_offload", running_since=since, last_started=since))).trouble

        assert trouble is not None
        assert "is still at work, after 12 minutes" in trouble.finding
        assert str(trouble.runbook) == "docs/runbooks/iceberg-offload-performance.md"

    def test_a_table_that_catches_up_shows_how_far_it_is(
        self, told: ToldTables, make: Make, open_session: Callable[..., LedgerConnection]
    ):
        run = told.catching_up(SILVER)
        open_session(job_name(SILVER, run))

        made = make(SILVER)
        line = only(made)

        assert line.mark.word == "Catching up"
        assert line.progress is not None
        assert (line.progress.chunks, line.progress.rows, line.progress.share) == (3, 15_000_000, 60)
        assert re.search(r"3 chunks committed, 15,000,000 rows; read up to \S+( \S+)?, 2 h to go", line.progress.text)
        assert made.headline == "The only table is on time; 1 catching up."
        shown = Shown(content(made))
        assert (
            "progress",
            {"max": "100", "value": "60", "aria-label": f"{SILVER} has caught up 60 %"},
        ) in shown.elements

    def test_a_job_that_has_just_begun_is_at_work_and_no_more(
        self, told: ToldTables, make: Make, open_session: Callable[..., LedgerConnection]
    ):
        told.day(SILVER, 12 * MINUTE)
        open_session(job_name(SILVER, told.run_id(-HOUR)))

        line = only(make(SILVER))

        assert line.mark.word == "Running"
        assert line.progress is not None
        assert (line.progress.chunks, line.progress.share) == (0, None)

    def test_a_halted_table_says_why_and_offers_the_way_out_to_those_who_may(self, told: ToldTables, make: Make):
        told.halted(KRAKEN)

        made = make(KRAKEN, runbook_url="https://example.com/books")
        trouble = only(made).trouble

        assert made.headline == f"1 of 1 table needs you: {KRAKEN} is halted."
        assert trouble is not None
        assert "lacks snapshot 8231550" in trouble.finding
        assert trouble.remedy == f"When the cause is dealt with, run `offload resume {KRAKEN}`."
        assert [action.href for action in trouble.actions] == [f"/act/resume/{KRAKEN}"]
        assert trouble.runbook is not None
        assert trouble.runbook.address == "https://example.com/books/iceberg-offload-watermark-recovery.md"
        seen = Shown(content(make(KRAKEN, addresses=VIEWER)))
        assert f"offload resume {KRAKEN}" in seen.text
        assert not any(address.startswith("/act/") for address in seen.all("href"))

    def test_a_failing_table_shows_its_last_error_its_log_and_what_to_do(self, told: ToldTables, make: Make):
        told.failing(CANDLES)

        line = only(make(CANDLES))

        assert (line.mark.word, line.failures) == ("Failing", 3)
        assert line.trouble is not None
        assert (line.trouble.title, line.trouble.tone) == ("Failed 3 times in a row", Tone.BAD)
        assert line.trouble.finding.endswith("can't be reached: connection refused.")
        assert f"offload history {CANDLES}" in line.trouble.remedy
        assert line.trouble.log is not None
        assert line.trouble.log.href == f"/log/{CANDLES}/failure"
        assert line.last_run is not None
        assert (line.last_run.what, line.last_run.tone) == ("failed", Tone.BAD)

    def test_a_failure_that_may_pass_by_itself_is_not_final_before_the_third(self, told: ToldTables, make: Make):
        told.failing(CANDLES, attempts=1)

        made = make(CANDLES)

        assert (only(made).mark.word, made.tone) == ("Trying again", Tone.WATCH)

    def test_a_table_without_a_success_is_never_offloaded_and_one_without_a_row_not_set_up(
        self, told: ToldTables, make: Make
    ):
        told.never(TRADES, 8 * MINUTE)

        made = make(TRADES, KRAKEN)
        never, missing = made.tables

        assert (never.mark.word, never.lag, never.lag_minutes, never.watermark) == (
            "Never offloaded",
            "set up 8 min ago",
            None,
            None,
        )
        assert (missing.mark.word, missing.lag, missing.actions) == ("Not set up", "", ())
        assert missing.trouble is not None
        assert missing.trouble.remedy == "Run `offload init`."
        assert "data-lag-minutes" not in Shown(content(made)).row(TRADES)

    def test_when_nothing_has_run_yet_the_page_says_so(self, told: ToldTables, make: Make):
        told.never(TRADES)
        told.never(KRAKEN)

        assert make(TRADES, KRAKEN).headline == "No table has been offloaded yet."

    def test_a_wrong_entry_is_named_and_a_disabled_table_is_left_in_peace(self, told: ToldTables, make: Make):
        told.day(TRADES, 300 * MINUTE)
        told.day(KRAKEN, 4 * MINUTE)
        off = DEFAULT_TABLES[0].model_dump(mode="json") | {"enabled": False}
        wrong = {"source": "x", "target": "cold.gold_wrong", "layer": "gold", "timestamp_col": "t", "colour": "red"}
        tables = parse_tables(json.dumps([off, DEFAULT_TABLES[1].model_dump(mode="json"), wrong]))

        made = make(tables=tables)
        disabled, _, broken = made.tables

        assert (disabled.mark.word, disabled.mark.tone, disabled.trouble, disabled.actions) == (
            "Switched off",
            Tone.OFF,
            None,
            (),
        )
        assert broken.mark.word == "Wrong entry"
        assert broken.trouble is not None
        assert "colour" in broken.trouble.finding
        assert made.headline == "1 of 2 tables needs you: gold_wrong is wrong in the configuration."

    def test_many_tables_in_trouble_are_counted_the_worst_first(self, told: ToldTables, make: Make):
        told.day(TRADES, 25 * MINUTE)
        told.halted(KRAKEN)
        told.day(CANDLES, 70 * MINUTE)

        assert make(TRADES, KRAKEN, CANDLES).headline == "3 of 3 tables need you: 1 halted, 2 late."


class TestWhatHappened:
    def test_the_last_run_has_its_rows_and_leads_to_the_run_and_its_log(self, told: ToldTables, make: Make):
        told.day(TRADES, 4 * MINUTE)
        run = told.run_id(-HOUR)
        told.row(TRADES, 2 * MINUTE, rows=1234, seconds=12, run=run)

        last = only(make(TRADES)).last_run

        assert last is not None
        assert (last.what, last.seconds, last.when.ago) == ("1,234 rows", "12 s", "2 min ago")
        assert last.run is not None
        assert last.run.href == f"/run/{run}"
        assert last.log is not None
        assert last.log.href == f"/log/{TRADES}/increment"

    def test_a_run_that_airflow_does_not_know_has_no_link(self, told: ToldTables, make: Make):
        told.row(TRADES, 2 * MINUTE, rows=5, run="by hand")

        last = only(make(TRADES, addresses=Addresses())).last_run

        assert last is not None
        assert (last.what, last.run, last.log) == ("5 rows", None, None)

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
    def test_every_kind_of_entry_has_its_words(self, told: ToldTables, make: Make, kind: str, rows: int, words: str):
        told.never(TRADES, HOUR)
        told.row(TRADES, MINUTE, kind, rows)

        last = only(make(TRADES)).last_run

        assert last is not None
        assert last.what == words

    def test_the_day_is_drawn_with_its_rows_its_lag_and_its_failures(self, told: ToldTables, make: Make):
        told.never(TRADES, 30 * HOUR)
        told.row(TRADES, 25 * HOUR, rows=999)
        told.row(TRADES, 10 * HOUR, rows=100)
        told.row(TRADES, 9 * HOUR, "failure", error=("other", "It broke."))
        told.row(TRADES, 1 * MINUTE, rows=50)

        spark = only(make(TRADES)).spark

        assert spark is not None
        assert (spark.rows, len(spark.bars), len(spark.crosses)) == (150, 2, 1)
        assert [bar.title.partition(": ")[2] for bar in spark.bars] == ["100 rows", "50 rows"]
        assert spark.bars[0].height == pytest.approx(2 * spark.bars[1].height)
        assert spark.crosses[0].title.endswith(": 1 failed attempt")
        assert spark.summary == "150 rows in 24 hours, longest lag 15 h, 1 failed attempt"
        assert any(lag.title.endswith("(Emergency)") for lag in spark.lags)
        assert all(0 <= bar.x <= spark.width - bar.width for bar in spark.bars)

    def test_rows_that_an_operator_had_repaired_are_not_counted_as_offloaded(self, told: ToldTables, make: Make):
        told.day(TRADES, 4 * MINUTE)
        before = only(make(TRADES)).spark
        told.row(TRADES, MINUTE, "repair", 500)

        after = only(make(TRADES)).spark

        assert before is not None
        assert after is not None
        assert after.rows == before.rows

    def test_the_newest_audit_of_each_window_is_the_verdict(self, told: ToldTables, make: Make):
        told.day(TRADES, 4 * MINUTE)
        told.audit(TRADES, [Finding.LATE] * 3, ago=70 * MINUTE)
        told.audit(TRADES, [Finding.EQUAL, Finding.LATE, Finding.CHANGED], ago=10 * MINUTE)

        made = make(TRADES)
        line = only(made)

        assert (line.audit.word, line.audit.differing) == ("changed rows", 2)
        assert line.audit.detail == "2 of 3 windows, 24 missing rows"
        assert line.trouble is not None
        assert line.trouble.remedy.startswith(f"`offload audit {TRADES}`")
        assert made.headline == f"1 of 1 table needs you: {TRADES} differs from ClickHouse."

    def test_what_command_and_page_say_of_a_table_is_the_same(
        self, told: ToldTables, make: Make, session: LedgerConnection, pipeline: str
    ):
        told.day(TRADES, 25 * MINUTE)
        told.halted(KRAKEN)
        told.failing(CANDLES)
        told.never(SILVER)
        tables = DEFAULT_TABLES

        shown = Shown(content(make(tables=tables)))
        states = read_states(Ledger(session, pipeline), tables, LagMinutes(), datetime.now(timezone.utc))

        for fields in map(status_fields, states):
            row = shown.row(str(fields["table"]))
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
            (Cycles("iceberg_offload", scheduler_alive=False), "Nothing is offloaded: no scheduler"),
            (Cycles("iceberg_offload", is_paused=True), "Nothing is offloaded: the DAG is paused"),
            (Cycles("iceberg_offload", is_known=False), "Airflow doesn't know the DAG"),
            (Cycles("iceberg_offload", import_errors=["dags/x.py: KeyError: 'a'"]), "The DAG can't be imported"),
        ],
    )
    def test_what_stops_every_table_is_said_once_at_the_top(
        self, told: ToldTables, make: Make, cycles: Cycles, title: str
    ):
        told.day(TRADES, 35 * MINUTE)
        told.day(KRAKEN, 35 * MINUTE)

        made = make(TRADES, KRAKEN, cycles=cycles)

        assert [notice.title for notice in made.notices] == [title]
        assert made.notices[0].remedy
        assert made.notices[0].runbook is not None
        assert made.headline.startswith(title)
        assert made.tone is Tone.BAD
        assert [line.trouble for line in made.tables] == [None, None]
        assert {line.mark.word for line in made.tables} == {"Late"}

    def test_a_dead_scheduler_does_not_hide_that_the_dag_is_paused(self, told: ToldTables, make: Make):
        told.day(TRADES, MINUTE)

        made = make(TRADES, cycles=Cycles("iceberg_offload", scheduler_alive=False, is_paused=True))

        assert [notice.title.partition(": ")[2] for notice in made.notices] == ["no scheduler", "the DAG is paused"]

    def test_the_tables_are_shown_even_if_airflow_can_not_be_asked(self, told: ToldTables, make: Make):
        told.day(TRADES, MINUTE)

        made = make(TRADES, cycles=None)

        assert made.notices[0].title == "Airflow's database can't be asked"
        assert (made.headline, made.tone) == ("The only table is on time.", Tone.WATCH)

    def test_the_facts_name_heartbeat_cycle_and_rows(self, told: ToldTables, make: Make):
        told.day(TRADES, MINUTE)

        facts = {fact.label: fact for fact in make(TRADES).facts}

        assert facts["Scheduler"].value == "alive"
        assert facts["Scheduler"].detail.startswith("heartbeat ")
        assert facts["Newest cycle"].detail == "ended 1 min ago"
        assert facts["DAG"].href == "/dag"
        assert facts["Longest lag"].value == "1 min"
