"""`offload reset` and `offload resume`: what they say, what they refuse, and what they write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from typer.testing import CliRunner

from offload_core.config.tables import TableConfig
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import Step, StepKind
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import ORIGIN, Cursor
from offload_ops.cli.app import Context, app
from tests.support.checkout import CHECKOUT
from tests.support.ledger.offload_command import Offload
from tests.support.stack.servers import HotTier, unique_name

pytestmark = pytest.mark.integration

NOON = datetime(2026, 11, 19, 12, 0, 0, 5, tzinfo=timezone.utc)
TRADES = "trades"
SECOND = timedelta(seconds=1)
UP_TO_NOON = Step(StepKind.INCREMENT, Cursor(NOON, 7), 0, None, "run", 1, rows=3, snapshot_id=9, total_records=9)
ROLLED_BACK = "Iceberg's trades lacks snapshot 9 (3 rows up to noon)."


@pytest.fixture
def source(clickhouse: HotTier) -> Iterator[str]:
    """A ClickHouse table with trades around noon: three up to noon, five after it, two of them at the same time."""
    name = unique_name("trades")
    clickhouse.client.command(
        f"CREATE TABLE {name} (id UInt64, happened DateTime64(6, 'UTC'), number UInt64) "
        "ENGINE = MergeTree ORDER BY happened"
    )
    moments = [
        NOON - 2 * SECOND,
        NOON - SECOND,
        NOON,
        NOON + SECOND,
        NOON + SECOND,
        *(NOON + n * SECOND for n in (2, 3, 4)),
    ]
    values = ", ".join(f"({number}, '{moment:%F %T.%f}', {number + 5})" for number, moment in enumerate(moments))
    clickhouse.client.command(f"INSERT INTO {name} VALUES {values}")
    yield name
    clickhouse.client.command(f"DROP TABLE {name} SYNC")


@pytest.fixture
def context(context: Context, source: str, ledger: Ledger) -> Context:
    """One table, offloaded up to noon."""
    ledger.initialize(TRADES)
    ledger.append(ledger.watermark(TRADES), UP_TO_NOON)
    table = TableConfig.model_validate(
        {
            "source": source,
            "target": f"cold.{TRADES}",
            "layer": "bronze",
            "timestamp_col": "happened",
            "sequence_col": "number",
            "keys": ["id"],
        }
    )
    return replace(context, tables=[table])


class TestResetBackwards:
    def test_a_watermark_goes_back_to_the_given_moment(self, offload: Offload, ledger: Ledger):
        ended = offload("reset", TRADES, "--to", "2026-11-19T20:00:00+09:00", "--yes")

        assert (ended.status, ended.err) == (0, "")
        assert ledger.watermark(TRADES).cursor == Cursor(NOON.replace(hour=11, microsecond=0))
        assert "3 rows that ClickHouse still holds would be read again" in ended.out
        assert "trades: watermark is 2026-11-19 11:00:00+00:00 #0" in ended.out

    def test_epoch_is_the_very_beginning(self, offload: Offload, ledger: Ledger):
        assert offload("reset", TRADES, "--to", "epoch", "--yes").status == 0
        assert ledger.watermark(TRADES).cursor == ORIGIN

    def test_json_counts_what_is_read_again_exactly(self, offload: Offload, ledger: Ledger):
        ended = offload("reset", TRADES, "--to", (NOON - SECOND).isoformat(), "--yes", "--json")

        # The trade on the new watermark's own timestamp has a sequence number past the reset's 0: it is read again too.
        assert json.loads(ended.out)["rows_read_again"] == 2
        assert json.loads(ended.out)["rows_skipped"] == 0
        assert ledger.watermark(TRADES).cursor == Cursor(NOON - SECOND)

    def test_a_dry_run_only_counts(self, offload: Offload, ledger: Ledger):
        ended = offload("reset", TRADES, "--to", "epoch", "--dry-run", "--json")

        assert ended.status == 0
        assert json.loads(ended.out)["rows_read_again"] == 3
        assert "unchanged (dry run)" in ended.err
        assert ledger.watermark(TRADES).cursor == UP_TO_NOON.cursor

    @pytest.mark.parametrize("answer", ["n\n", "\n", ""])
    def test_without_a_yes_nothing_happens(self, context: Context, ledger: Ledger, answer):
        result = CliRunner().invoke(app, ["reset", TRADES, "--to", "epoch"], input=answer, obj=lambda: context)

        assert result.exit_code == 1
        assert "the watermark is 2026-11-19 12:00:00.000005+00:00 #7 and would be 1970-01-01" in result.output
        assert ledger.watermark(TRADES).cursor == UP_TO_NOON.cursor

    def test_with_a_yes_it_does(self, context: Context, ledger: Ledger):
        result = CliRunner().invoke(app, ["reset", TRADES, "--to", "epoch"], input="y\n", obj=lambda: context)

        assert result.exit_code == 0
        assert ledger.watermark(TRADES).cursor == ORIGIN

    def test_of_a_halted_table_it_says_that_it_does_not_go_on_by_that(self, offload: Offload, ledger: Ledger):
        ledger.record_failure(TRADES, "ledger_ahead", ROLLED_BACK, run_id="run", attempt=1, halt=True)

        assert f"run `offload resume {TRADES}` afterwards" in offload("reset", TRADES, "--to", "epoch", "--yes").out

    @pytest.mark.parametrize(
        ("to", "reason"),
        [
            ("yesterday", "--to yesterday is not a time. Write it like 2026-11-20T10:00:00+00:00."),
            ("2026-11-19T10:00:00", "--to 2026-11-19T10:00:00 has no time zone."),
        ],
    )
    def test_a_time_that_can_be_misread_is_refused(self, offload: Offload, to, reason):
        ended = offload("reset", TRADES, "--to", to, "--yes")

        assert ended.status == 2
        assert reason in ended.err

    def test_the_moment_must_be_given(self, offload: Offload):
        assert offload("reset", TRADES, "--yes").status == 2

    def test_an_unknown_table_is_an_error_that_lists_the_known_ones(self, offload: Offload):
        ended = offload("reset", "nothing", "--to", "epoch", "--yes")

        assert (ended.status, ended.err) == (2, "offload: There is no table nothing. Choose from trades.\n")


class TestResetForwards:
    LATER = (NOON + SECOND).isoformat()

    def test_it_is_refused_with_the_number_of_rows_that_would_be_skipped(self, offload: Offload, ledger: Ledger):
        ended = offload("reset", TRADES, "--to", (NOON + 2 * SECOND).isoformat(), "--yes")

        assert ended.status == 2
        assert "2 rows in between that have not been offloaded would be skipped" in ended.err
        assert "--accept-gap" in ended.err
        assert ledger.watermark(TRADES).cursor == UP_TO_NOON.cursor

    def test_even_where_no_row_lies_in_between(self, offload: Offload, ledger: Ledger):
        ended = offload("reset", TRADES, "--to", (NOON + timedelta(microseconds=1)).isoformat(), "--yes")

        assert ended.status == 2
        assert "0 rows in between" in ended.err
        assert ledger.watermark(TRADES).cursor == UP_TO_NOON.cursor

    def test_an_accepted_gap_is_counted_before_it_is_asked_for(self, context: Context, ledger: Ledger):
        to = (NOON + 3 * SECOND).isoformat()

        no = CliRunner().invoke(app, ["reset", TRADES, "--to", to, "--accept-gap"], input="n\n", obj=lambda: context)

        assert no.exit_code == 1
        assert no.output.index("3 rows that have not been offloaded would be SKIPPED") < no.output.index("[y/N]")
        assert ledger.watermark(TRADES).cursor == UP_TO_NOON.cursor

    def test_an_accepted_gap_moves_the_watermark(self, offload: Offload, ledger: Ledger):
        to = NOON + 3 * SECOND

        ended = offload("reset", TRADES, "--to", to.isoformat(), "--accept-gap", "--yes", "--json")

        assert json.loads(ended.out)["rows_skipped"] == 3
        assert ledger.watermark(TRADES).cursor == Cursor(to)

    @pytest.mark.parametrize("minutes", [-4, 60])
    def test_never_past_clickhouses_clock_minus_the_buffer(self, offload: Offload, ledger: Ledger, minutes):
        moment = datetime.now(timezone.utc) + timedelta(minutes=minutes)

        ended = offload("reset", TRADES, "--to", moment.isoformat(), "--accept-gap", "--yes")

        assert ended.status == 2
        assert "rows that have not arrived yet would never be offloaded" in ended.err
        assert ledger.watermark(TRADES).cursor == UP_TO_NOON.cursor


class TestResetOfAWatermarkThatCantBeTrue:
    @pytest.fixture
    def type_in(self, session: LedgerConnection, pipeline: str, context: Context) -> Callable[[str, str], None]:
        """Puts a watermark into the ledger as an older version's ledger, which refused none, may hold it."""
        assert context
        constraint = (CHECKOUT / "include" / "sql" / "postgres" / "003_true_watermarks.sql").read_text()

        def type_in(moment: str, sequence: str = "0") -> None:
            with session.transaction():
                session.execute("ALTER TABLE offload_watermarks DROP CONSTRAINT offload_watermarks_true_watermark")
                session.execute(
                    "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp, max_sequence_number) "
                    "VALUES (%s, %s, %s, %s)",
                    (pipeline, TRADES, moment, sequence),
                )
                session.execute(constraint)

        return type_in

    @pytest.fixture(params=["2100-01-01 00:00:00+00", "infinity", "-infinity"])
    def false_watermark(self, request: pytest.FixtureRequest, type_in: Callable[[str], None]) -> None:
        type_in(request.param)

    def test_a_sequence_that_is_no_number_does_not_keep_from_it(self, type_in, offload: Offload, ledger: Ledger):
        type_in(NOON.isoformat(), "NaN")

        assert offload("status").status == offload("history", TRADES).status == 0
        assert offload("reset", TRADES, "--to", (NOON - SECOND).isoformat(), "--yes").status == 0
        assert ledger.watermark(TRADES).cursor == Cursor(NOON - SECOND)

    @pytest.mark.usefixtures("false_watermark")
    def test_it_says_nothing_about_what_was_offloaded_so_rows_may_be_skipped(self, offload: Offload):
        ended = offload("reset", TRADES, "--to", NOON.isoformat(), "--yes")

        assert ended.status == 2
        assert "2 rows in between that have not been offloaded would be skipped" in ended.err

    @pytest.mark.usefixtures("false_watermark")
    def test_epoch_always_works(self, offload: Offload, ledger: Ledger):
        ended = offload("reset", TRADES, "--to", "epoch", "--yes")

        assert (ended.status, ended.err) == (0, "")
        assert "which is impossible" in ended.out
        assert ledger.watermark(TRADES).cursor == ORIGIN

    @pytest.mark.usefixtures("false_watermark")
    def test_looking_at_it_works_too(self, offload: Offload):
        assert offload("status").status == offload("history", TRADES).status == 0

    def test_iceberg_has_none_to_offer_while_the_table_is_missing(self, offload: Offload):
        ended = offload("reset", TRADES, "--to", "iceberg", "--yes")

        assert ended.status == 2
        assert "holds no commit of this pipeline" in ended.err


class TestResume:
    def halt(self, ledger: Ledger) -> None:
        ledger.record_failure(TRADES, "ledger_ahead", ROLLED_BACK, run_id="run", attempt=1, halt=True)

    def test_a_halted_table_goes_on(self, offload: Offload, ledger: Ledger):
        self.halt(ledger)

        ended = offload("resume", TRADES, "--yes")

        assert ended.status == 0
        assert f"{TRADES}: resumes from 2026-11-19 12:00:00.000005+00:00 #7" in ended.out
        assert ledger.watermark(TRADES).kind == "resume"

    def test_cause_counts_and_what_is_accepted_are_told_before_the_question(self, context: Context, ledger: Ledger):
        self.halt(ledger)
        ledger.record_failure(TRADES, "halted", "It is halted.", run_id="run", attempt=2)
        ledger.reset(TRADES, ORIGIN)

        result = CliRunner().invoke(app, ["resume", TRADES], input="n\n", obj=lambda: context)

        assert result.exit_code == 1
        output = result.output[: result.output.index("[y/N]")]
        assert ROLLED_BACK in output
        assert "Resuming accepts: Iceberg's table as it is" in output
        assert "ClickHouse holds 8 rows past the watermark 1970-01-01" in output
        assert (
            "Iceberg's rows cannot be counted (Iceberg has no table cold.trades.); it held 9 after our last commit"
            in output
        )
        assert ledger.watermark(TRADES).kind == "reset"

    def test_a_dry_run_tells_the_same_and_changes_nothing(self, offload: Offload, ledger: Ledger):
        self.halt(ledger)

        ended = offload("resume", TRADES, "--dry-run", "--json")

        result = json.loads(ended.out)
        assert (result["cause"], result["error"], result["resumed"]) == ("ledger_ahead", ROLLED_BACK, False)
        assert "would resume from" in ended.err
        assert TRADES in ledger.halts()

    def test_a_table_that_is_not_stopped_is_left_alone(self, offload: Offload, ledger: Ledger):
        self.halt(ledger)
        ledger.resume(TRADES)
        ledger.record_failure(TRADES, "clickhouse_connection", "It is down.", run_id="run", attempt=1)

        ended = offload("resume", TRADES, "--yes", "--json")

        assert ended.status == 0
        assert f"{TRADES} is not halted" in ended.err
        assert json.loads(ended.out)["resumed"] is False
        assert ledger.newest(TRADES).status == "failed"

    def test_a_marker_that_nobody_can_read_is_accepted_by_it_too(self, offload: Offload, ledger: Ledger):
        ledger.record_failure(TRADES, "watermark_corrupt", "An unreadable marker.", run_id="run", attempt=1)
        ledger.reset(TRADES, ORIGIN)

        assert "Iceberg's newest commit as it is" in offload("resume", TRADES, "--yes").out
        assert ledger.watermark(TRADES).kind == "resume"

    def test_a_table_without_watermark_can_not_go_on(self, offload: Offload, context: Context):
        other = context.tables[0].model_copy(update={"target": "cold.other"})

        ended = offload("resume", "other", "--yes", context=replace(context, tables=[other]))

        assert ended.status == 2
        assert ended.err.startswith("offload: Watermark not found for table: other")
