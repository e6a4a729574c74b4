"""The operator's command: what it shows, how it ends, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from offload_core.config.connections import Connections
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, InvalidTable, Layer, parse_tables
from offload_core.errors import FixConfiguration
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import Step, StepKind
from offload_core.protocol.window import Cursor
from offload_ops.cli.app import Context
from tests.support.checkout import CHECKOUT
from tests.support.ledger.offload_command import Offload

NOON = datetime(2026, 11, 19, 12, 0, 0, 5, tzinfo=timezone.utc)
BINANCE = "bronze_trades_binance"
UP_TO_NOON = Step(
    StepKind.INCREMENT, Cursor(NOON, 7), 0, None, "run [/bold]", 1, rows=1234567, snapshot_id=9, total_records=9
)
BROKEN = InvalidTable(name="candles", layer=Layer.GOLD, problem="Entry 2 is wrong.")


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

    def test_a_halted_table_says_why_and_what_to_do_even_after_further_attempts(self, offload: Offload, ledger: Ledger):
        ledger.initialize(BINANCE)
        ledger.record_failure(BINANCE, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)
        ledger.record_failure(BINANCE, "halted", "It is halted.", run_id="run", attempt=2)

        row = json.loads(offload("status", "--json").out)[0]
        shown = offload("status").out

        assert (row["state"], row["error"]) == ("halted", "Rolled back.")
        assert f"{BINANCE}: Rolled back." in shown
        assert f"When the cause is dealt with, run `offload resume {BINANCE}`." in shown

    def test_lag_has_its_level_and_disabled_and_wrong_entries_are_named(
        self, offload: Offload, context: Context, ledger
    ):
        ledger.initialize(BINANCE)
        ledger.append(ledger.watermark(BINANCE), UP_TO_NOON)
        ledger.initialize("silver_trades")
        disabled = DEFAULT_TABLES[2].model_copy(update={"enabled": False})
        changed = replace(context, tables=[DEFAULT_TABLES[0], disabled, BROKEN])

        rows = json.loads(offload("status", "--json", context=changed).out)

        assert [row["state"] for row in rows] == ["success", "disabled", "wrong entry"]
        assert rows[0]["lag_level"] == "Normal"
        assert rows[2]["error"] == "Entry 2 is wrong."

    def test_a_configuration_without_tables_is_shown_as_nothing(self, offload: Offload, context: Context):
        none = Context(context.connections, [], context.settings)

        assert offload("status", context=none).status == 0
        assert json.loads(offload("status", "--json", context=none).out) == []


@pytest.mark.integration
class TestConfig:
    def test_what_is_shown_may_be_put_into_the_variable_as_it_is(self, offload: Offload):
        tables = parse_tables(offload("config", "tables").out)
        everything = json.loads(offload("config", "tables", "--all").out)

        assert tables == list(DEFAULT_TABLES)
        assert everything[0]["lookback_minutes"] == 120

    def test_settings_that_are_as_shipped_are_left_out(self, offload: Offload, context: Context):
        changed = replace(context, settings=Settings(buffer_minutes=7))

        assert json.loads(offload("config", "settings", context=changed).out) == {"buffer_minutes": 7}

    def test_a_wrong_entry_is_an_error_not_left_out(self, offload: Offload, context: Context):
        ended = offload("config", "tables", context=replace(context, tables=[BROKEN]))

        assert (ended.status, "Entry 2 is wrong." in ended.err) == (2, True)


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
class TestVerify:
    def test_a_table_without_watermark_can_not_be_compared(self, offload: Offload):
        ended = offload("verify", BINANCE)

        assert ended.status == 2
        assert "Watermark not found" in ended.err

    def test_an_unknown_table_is_an_error(self, offload: Offload):
        assert "There is no table nothing." in offload("verify", "nothing").err

    def test_an_interval_needs_both_ends(self, offload: Offload):
        ended = offload("verify", BINANCE, "--from", "2026-11-19T10:00:00Z")

        assert ended.status == 2
        assert "Give both --from and --to, or neither." in ended.err

    @pytest.mark.parametrize("end", ["2026-11-19T10:00:00Z", "2026-11-19T09:00:00+00:00"])
    def test_an_interval_must_hold_something(self, offload: Offload, end):
        ended = offload("verify", BINANCE, "--from", "2026-11-19T10:00:00Z", "--to", end)

        assert ended.status == 2
        assert "holds nothing" in ended.err


class TestTheConfiguration:
    def context(self) -> Context:
        connections = Connections.model_validate(
            {
                "clickhouse": {"host": "ch"},
                "postgres": {"host": "pg", "user": "u", "database": "d"},
                "iceberg": {"warehouse": "/w"},
            }
        )
        return Context(connections, [DEFAULT_TABLES[0], BROKEN], Settings())

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
        ("environ", "message"),
        [
            ({"OFFLOAD_CONNECTIONS_FILE": "/nowhere.json"}, "offload: Can't read the file /nowhere.json"),
            (
                {"OFFLOAD_CONNECTIONS": '{"password": "hunter2"}'},
                "offload: The connections in the environment variable",
            ),
        ],
    )
    def test_an_error_is_one_line_and_status_2(self, environ, message):
        result = self.offload("status", **environ)

        assert result.returncode == 2
        assert result.stdout == ""
        assert result.stderr.startswith(message)
        assert result.stderr.count("\n") == 1
        assert "hunter2" not in result.stderr

    @pytest.mark.parametrize(
        ("command", "has_airflow", "environ", "module"),
        [
            ("status", False, {}, "offload_airflow.cli"),
            ("status", False, {"OFFLOAD_CONNECTIONS_FILE": "/here.json"}, "offload_ops.cli"),
            ("status", False, {"OFFLOAD_CONNECTIONS": "{}"}, "offload_ops.cli"),
            ("status", True, {"OFFLOAD_CONNECTIONS_FILE": "/here.json"}, "offload_airflow.cli"),
            ("doctor", True, {"OFFLOAD_CONNECTIONS_FILE": "/here.json"}, "offload_airflow.cli"),
            ("status", True, {"OFFLOAD_CONNECTIONS_FILE": "/here.json", "OFFLOAD_TABLES": "[]"}, "offload_ops.cli"),
            ("status", True, {"OFFLOAD_CONNECTIONS_FILE": "/here.json", "OFFLOAD_SETTINGS": "{}"}, "offload_ops.cli"),
            ("status", True, {"OFFLOAD_TABLES": "[]"}, "offload_airflow.cli"),
            ("doctor", True, {"OFFLOAD_CONNECTIONS": "{}", "OFFLOAD_TABLES": "[]"}, "offload_airflow.cli"),
            ("report", True, {"OFFLOAD_CONNECTIONS": "{}", "OFFLOAD_SETTINGS": "{}"}, "offload_airflow.cli"),
            ("doctor", False, {"OFFLOAD_CONNECTIONS": "{}"}, "offload_ops.cli"),
            ("backfill", False, {"OFFLOAD_CONNECTIONS": "{}"}, "offload_airflow.cli"),
        ],
    )
    def test_airflow_is_asked_where_there_is_one(self, command, has_airflow, environ, module, tmp_path: Path):
        python = tmp_path / "python"
        python.write_text('#!/bin/sh\necho "$@"\n')
        python.chmod(0o700)
        if has_airflow:
            (tmp_path / "airflow.cfg").touch()

        result = self.offload(command, **{"OFFLOAD_PYTHON": str(python), "AIRFLOW_HOME": str(tmp_path), **environ})

        assert result.stdout == f"-m {module} {command}\n"

    def test_help_needs_no_server_and_names_every_command(self):
        result = self.offload("--help", OFFLOAD_CONNECTIONS_FILE="/nowhere.json")

        assert result.returncode == 0
        for command in ("init", "status", "doctor", "history", "verify", "repair", "restate", "reset", "resume"):
            assert command in result.stdout
        assert "Usage: offload " in result.stdout
        assert "Exit status: 0 done" in result.stdout

    def test_an_unknown_command_is_status_2(self):
        assert self.offload("delete", OFFLOAD_CONNECTIONS_FILE="/nowhere.json").returncode == 2
