"""The operator's command: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offload_core.cli import Context, app, run
from offload_core.connections import Connections, PostgresConnection
from offload_core.errors import FixConfiguration
from offload_core.ledger import Ledger, Step
from offload_core.table_config import DEFAULT_TABLES, InvalidTable, Layer, Settings
from offload_core.window import ORIGIN, Cursor

CHECKOUT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 19, 12, 0, 0, 5, tzinfo=timezone.utc)
BINANCE = "bronze_trades_binance"
UP_TO_NOON = Step("increment", Cursor(NOON, 7), 0, None, "run [/bold]", 1, rows=1234567, snapshot_id=9, total_records=9)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


Offload = Callable[..., Ended]


@pytest.fixture
def context(servers: Connections, ledger_database: PostgresConnection, pipeline: str) -> Context:
    """The shipped tables in a pipeline of the test's own."""
    connections = servers.model_copy(update={"postgres": ledger_database})
    return Context(connections, DEFAULT_TABLES, Settings(pipeline_id=pipeline))


@pytest.fixture
def offload(context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offload:
    """Runs one command in this process as `offload` would."""
    monkeypatch.setenv("COLUMNS", "160")

    def offload(*arguments: str, context: Context = context) -> Ended:
        monkeypatch.setattr(sys, "argv", ["offload", *arguments])
        try:
            status = run(lambda: context)
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return offload


@pytest.mark.integration
class TestStatus:
    def test_every_table_is_shown_even_before_its_first_watermark(self, offload: Offload):
        ended = offload("status")

        assert ended.status == 0
        assert [table.name for table in DEFAULT_TABLES if table.name not in ended.out] == []
        assert ended.out.count("no watermark") == 9

    def test_json_tells_each_tables_state(self, offload: Offload, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.append(ledger.watermark(BINANCE), UP_TO_NOON)
        ledger.record_failure(BINANCE, "audit", "The disk is full.", run_id="run", attempt=1)

        rows = {row["table"]: row for row in json.loads(offload("status", "--json").out)}

        assert len(rows) == 9
        row = rows[BINANCE]
        assert (row["state"], row["failures"], row["error"]) == ("failed", 1, "The disk is full.")
        assert row["watermark"] == NOON.isoformat()
        assert 0 <= row["lag_minutes"] < 1
        assert rows["silver_trades"]["watermark"] is None

    def test_the_error_of_a_table_is_told_whatever_characters_it_holds(self, offload: Offload, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.record_failure(BINANCE, "audit", "[/red] is no markup [bold]", run_id="run", attempt=1)

        assert "[/red] is no markup [bold]" in offload("status").out

    def test_a_configuration_without_tables_is_shown_as_nothing(self, offload: Offload, context: Context):
        none = Context(context.connections, [], context.settings)

        assert offload("status", context=none).status == 0
        assert json.loads(offload("status", "--json", context=none).out) == []


@pytest.mark.integration
class TestHistory:
    def test_rows_are_shown_newest_first(self, offload: Offload, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.append(ledger.watermark(BINANCE), UP_TO_NOON)

        ended = offload("history", BINANCE)

        assert ended.status == 0
        assert ended.out.index("increment") < ended.out.index("init")
        assert "1,234,567" in ended.out
        assert "run [/bold]" in ended.out

    def test_json_keeps_microseconds_sequence_and_snapshot(self, offload: Offload, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.append(ledger.watermark(BINANCE), UP_TO_NOON)

        row, first = json.loads(offload("history", BINANCE, "--json").out)

        assert (row["watermark"], row["sequence"], row["snapshot"]) == (NOON.isoformat(), 7, 9)
        assert first["kind"] == "init"

    def test_a_table_without_history_shows_none(self, offload: Offload):
        assert offload("history", BINANCE).status == 0
        assert json.loads(offload("history", BINANCE, "--json").out) == []

    def test_it_is_as_long_as_asked_for(self, offload: Offload, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.record_failure(BINANCE, "audit", "?", run_id="run", attempt=1)

        assert len(json.loads(offload("history", BINANCE, "--limit", "1", "--json").out)) == 1
        assert offload("history", BINANCE, "--limit", "0").status == 2

    def test_an_unknown_table_is_an_error_that_lists_the_known_ones(self, offload: Offload):
        ended = offload("history", "bronze_trades_coinbase")

        assert ended.status == 2
        assert ended.err.startswith(
            "offload: There is no table bronze_trades_coinbase. Choose from bronze_trades_binance,"
        )


@pytest.mark.integration
class TestReset:
    @pytest.fixture(autouse=True)
    def _offloaded_up_to_noon(self, ledger: Ledger) -> None:
        ledger.initialize(BINANCE)
        ledger.append(ledger.watermark(BINANCE), UP_TO_NOON)

    def test_a_watermark_goes_back_to_the_given_moment(self, offload: Offload, ledger: Ledger):
        ended = offload("reset", BINANCE, "--to", "2026-11-19T20:00:00+09:00", "--yes")

        assert (ended.status, ended.err) == (0, "")
        assert ledger.watermark(BINANCE).cursor == Cursor(NOON.replace(hour=11, microsecond=0))
        assert "2026-11-19 11:00:00+00:00 #0" in ended.out

    def test_epoch_is_the_very_beginning(self, offload: Offload, ledger: Ledger):
        assert offload("reset", BINANCE, "--to", "epoch", "--yes").status == 0
        assert ledger.watermark(BINANCE).cursor == ORIGIN

    def test_it_goes_back_to_the_moment_of_the_watermark_itself(self, offload: Offload, ledger: Ledger):
        assert offload("reset", BINANCE, "--to", NOON.isoformat(), "--yes").status == 0
        assert ledger.watermark(BINANCE).cursor == Cursor(NOON, 0)

    def test_it_never_goes_forward(self, offload: Offload, ledger: Ledger):
        later = (NOON + timedelta(microseconds=1)).isoformat()

        ended = offload("reset", BINANCE, "--to", later, "--yes")

        assert ended.status == 2
        assert "rows in between would never be offloaded. Choose an earlier time." in ended.err
        assert ledger.watermark(BINANCE).cursor == UP_TO_NOON.cursor

    @pytest.mark.parametrize("answer", ["n\n", "\n", ""])
    def test_without_a_yes_nothing_happens(self, context: Context, ledger: Ledger, answer):
        result = CliRunner().invoke(app, ["reset", BINANCE, "--to", "epoch"], input=answer, obj=lambda: context)

        assert result.exit_code == 1
        assert f"Set the watermark of {BINANCE} from 2026-11-19 12:00:00.000005+00:00 #7 to 1970-01-01" in result.output
        assert ledger.watermark(BINANCE).cursor == UP_TO_NOON.cursor

    def test_with_a_yes_it_does(self, context: Context, ledger: Ledger):
        result = CliRunner().invoke(app, ["reset", BINANCE, "--to", "epoch"], input="y\n", obj=lambda: context)

        assert result.exit_code == 0
        assert ledger.watermark(BINANCE).cursor == ORIGIN

    @pytest.mark.parametrize(
        ("to", "reason"),
        [
            ("yesterday", "--to yesterday is no time. Write it like 2026-11-20T10:00:00+00:00, or `epoch`."),
            ("2026-11-19T10:00:00", "--to 2026-11-19T10:00:00 has no time zone."),
        ],
    )
    def test_a_time_that_can_be_misread_is_refused(self, offload: Offload, to, reason):
        ended = offload("reset", BINANCE, "--to", to, "--yes")

        assert ended.status == 2
        assert reason in ended.err

    def test_the_moment_must_be_given(self, offload: Offload):
        assert offload("reset", BINANCE, "--yes").status == 2


@pytest.mark.integration
class TestResume:
    def test_a_halted_table_goes_on(self, offload: Offload, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.record_failure(BINANCE, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)

        ended = offload("resume", BINANCE, "--yes")

        assert ended.status == 0
        assert f"{BINANCE}: goes on from 1970-01-01 00:00:00+00:00 #0" in ended.out
        assert ledger.watermark(BINANCE).kind == "resume"

    def test_the_reason_is_shown_before_the_question_even_after_a_reset(self, context: Context, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.record_failure(BINANCE, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)
        ledger.record_failure(BINANCE, "halted", "It is halted.", run_id="run", attempt=2)
        ledger.reset(BINANCE, ORIGIN)

        result = CliRunner().invoke(app, ["resume", BINANCE], input="n\n", obj=lambda: context)

        assert result.exit_code == 1
        assert f"{BINANCE} was stopped because: Rolled back." in result.output
        assert ledger.watermark(BINANCE).kind == "reset"

    def test_of_a_table_that_is_not_stopped_it_says_so(self, context: Context, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.record_failure(BINANCE, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)
        ledger.resume(BINANCE)

        result = CliRunner().invoke(app, ["resume", BINANCE], input="n\n", obj=lambda: context)

        assert f"{BINANCE} is not stopped" in result.output

    def test_a_table_without_watermark_can_not_go_on(self, offload: Offload):
        ended = offload("resume", BINANCE, "--yes")

        assert ended.status == 2
        assert ended.err.startswith(f"offload: Watermark not found for table: {BINANCE}")


@pytest.mark.integration
class TestVerify:
    def test_a_table_without_watermark_can_not_be_compared(self, offload: Offload):
        ended = offload("verify", BINANCE)

        assert ended.status == 2
        assert "Watermark not found" in ended.err

    def test_an_unknown_table_is_an_error(self, offload: Offload):
        assert "There is no table nothing." in offload("verify", "nothing").err


SPARK_SUBMIT = """#!{python}
import json, os, sys
with open({record!r}, "w") as file:
    json.dump({{"argv": sys.argv[1:], "connections": os.environ.get("OFFLOAD_CONNECTIONS", "")}}, file)
print("WARN something of Spark's own")
for table in json.loads(sys.argv[-1]):
    print(json.dumps({{"table": table["target"], "created": True, "columns_added": ["fee"]}}))
sys.exit({status})
"""


@pytest.mark.integration
class TestInit:
    @pytest.fixture
    def spark(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
        """Puts a spark-submit in place that writes down how it was called."""
        record, script = tmp_path / "called.json", tmp_path / "bin" / "spark-submit"
        script.parent.mkdir()
        monkeypatch.setenv("OFFLOAD_SPARK_HOME", str(tmp_path))

        def spark(status: int = 0) -> Path:
            script.write_text(SPARK_SUBMIT.format(python=sys.executable, record=str(record), status=status))
            script.chmod(0o755)
            return record

        return spark

    def test_every_table_gets_its_first_watermark_and_a_second_time_changes_nothing(
        self, offload: Offload, ledger: Ledger, spark
    ):
        spark()

        first, second = offload("init"), offload("init")

        assert (first.status, second.status) == (0, 0)
        assert set(ledger.newest_rows()) == {table.name for table in DEFAULT_TABLES}
        assert first.out.count("watermark starts in 1970") == second.out.count("keeps its watermark") == 9
        assert "Iceberg: cold.silver_trades created, columns added: fee" in first.out

    def test_passwords_travel_in_the_environment_and_never_in_the_arguments(
        self, offload: Offload, context: Context, spark
    ):
        record = spark()

        offload("init")

        called = json.loads(record.read_text())
        secret = context.connections.postgres.password.get_secret_value()
        assert secret in called["connections"]
        assert secret not in json.dumps(called["argv"])

    def test_a_spark_that_fails_is_told_with_its_output_and_no_watermark_is_made(
        self, offload: Offload, ledger: Ledger, spark
    ):
        spark(1)

        ended = offload("init")

        assert ended.status == 2
        assert "The Iceberg tables could not be made:\nWARN something of Spark's own" in ended.err
        assert ledger.newest_rows() == {}

    def test_a_missing_spark_is_told_with_what_to_set(self, offload: Offload, tmp_path, monkeypatch):
        monkeypatch.setenv("OFFLOAD_SPARK_HOME", str(tmp_path / "nowhere"))

        ended = offload("init")

        assert ended.status == 2
        assert "spark-submit was not found. Set OFFLOAD_SPARK_HOME" in ended.err


class TestTheConfiguration:
    BROKEN = InvalidTable(name="candles", layer=Layer.GOLD, problem="Entry 2 is wrong.")

    def context(self) -> Context:
        connections = Connections.model_validate(
            {
                "clickhouse": {"host": "ch"},
                "postgres": {"host": "pg", "user": "u", "database": "d"},
                "iceberg": {"warehouse": "/w"},
            }
        )
        return Context(connections, [DEFAULT_TABLES[0], self.BROKEN], Settings())

    def test_a_broken_entry_does_not_keep_from_working_on_another_table(self):
        assert self.context().chosen([BINANCE]) == [DEFAULT_TABLES[0]]

    @pytest.mark.parametrize("names", [None, [], ["candles"], [BINANCE, "candles"]])
    def test_but_all_tables_and_itself_are_refused(self, names):
        with pytest.raises(FixConfiguration, match=r"Entry 2 is wrong\. Correct the entry"):
            self.context().chosen(names)

    def test_tables_come_in_the_order_they_were_named(self):
        context = Context(self.context().connections, DEFAULT_TABLES, Settings())
        names = ["silver_trades", BINANCE]

        assert [table.name for table in context.chosen(names)] == names


class TestTheProgram:
    """`bin/offload` in a process of its own."""

    def offload(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOAD_")}
        return subprocess.run(
            [str(CHECKOUT / "bin" / "offload"), *arguments],
            env={**kept, "OFFLOAD_PYTHON": sys.executable, **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    @pytest.mark.integration
    def test_connections_tables_and_settings_come_from_the_environment(self, context: Context, ledger: Ledger):
        ledger.initialize(BINANCE)
        tables = [DEFAULT_TABLES[0].model_dump(mode="json")]

        result = self.offload(
            "status",
            "--json",
            OFFLOAD_CONNECTIONS=context.connections.with_secrets_json(),
            OFFLOAD_TABLES=json.dumps(tables),
            OFFLOAD_SETTINGS=json.dumps({"pipeline_id": context.settings.pipeline_id}),
        )

        assert result.returncode == 0, result.stderr
        assert [(row["table"], row["state"]) for row in json.loads(result.stdout)] == [(BINANCE, "initialized")]

    @pytest.mark.parametrize(
        ("environ", "told"),
        [
            ({"OFFLOAD_CONNECTIONS_FILE": "/nowhere.json"}, "offload: Can't read the file /nowhere.json"),
            (
                {"OFFLOAD_CONNECTIONS": '{"password": "hunter2"}'},
                "offload: The connections in the environment variable",
            ),
        ],
    )
    def test_an_error_is_one_line_and_status_2(self, environ, told):
        result = self.offload("status", **environ)

        assert result.returncode == 2
        assert result.stdout == ""
        assert result.stderr.startswith(told)
        assert result.stderr.count("\n") == 1
        assert "hunter2" not in result.stderr

    def test_help_needs_no_server_and_names_every_command(self):
        result = self.offload("--help", OFFLOAD_CONNECTIONS_FILE="/nowhere.json")

        assert result.returncode == 0
        for command in ("init", "status", "history", "reset", "resume", "verify"):
            assert command in result.stdout

    def test_an_unknown_command_is_status_2(self):
        assert self.offload("delete", OFFLOAD_CONNECTIONS_FILE="/nowhere.json").returncode == 2
