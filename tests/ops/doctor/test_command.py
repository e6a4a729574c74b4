"""`offload doctor` against servers that are healthy, down or silent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.types import LongType, NestedField
from typer.testing import CliRunner

from offload_core.errors import FixConfiguration
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import Step, StepKind
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Cursor
from offload_ops.cli.app import Context, app
from offload_ops.doctor.checks import all_checks
from offload_ops.doctor.context import CheckContext
from offload_ops.doctor.model import Check, CheckResult, Health
from tests.support.ledger.offload_command import Offload

NOW = datetime.now(timezone.utc)
TRADES = "bronze_trades_binance"
STEP = Step(StepKind.INCREMENT, Cursor(NOW, 7), 0, None, "run", 1, rows=3, snapshot_id=9, total_records=9)


@pytest.mark.integration
class TestTheCommand:
    @pytest.fixture
    def healthy(
        self, context: Context, ledger: Ledger, session: LedgerConnection, tmp_path: Path, monkeypatch, pipeline: str
    ) -> Iterator[Context]:
        """One table, offloaded just now; an Iceberg table without rows; a Spark that is there."""
        ledger.initialize(TRADES)
        ledger.append(ledger.watermark(TRADES), STEP)
        warehouse = tmp_path / "warehouse"
        warehouse.mkdir()
        schema = Schema(NestedField(1, "number", LongType()))
        metadata = new_table_metadata(schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, f"file://{warehouse}")
        (warehouse / "0.metadata.json").write_text(metadata.model_dump_json())
        session.execute(
            "CREATE TABLE IF NOT EXISTS iceberg_tables "
            "(catalog_name text, table_namespace text, table_name text, metadata_location text)"
        )
        session.execute(
            "INSERT INTO iceberg_tables VALUES (%s, 'cold', %s, %s)",
            (pipeline, TRADES, f"file://{warehouse}/0.metadata.json"),
        )
        for name in ("spark-submit", "java"):
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text("#!/bin/sh\necho 'openjdk version \"17.0.9\"'\n")
            program.chmod(0o755)
        monkeypatch.setenv("OFFLOAD_SPARK_HOME", str(tmp_path))
        monkeypatch.setenv("OFFLOAD_JAVA_HOME", str(tmp_path))
        iceberg = context.connections.iceberg.model_copy(update={"name": pipeline, "warehouse": f"file://{warehouse}"})
        connections = context.connections.model_copy(update={"iceberg": iceberg})
        yield replace(context, connections=connections, tables=context.tables[:1])
        session.execute("DROP TABLE iceberg_tables")

    def findings(self, offload: Offload, context: Context, status: int) -> dict[str, dict[str, str]]:
        ended = offload("doctor", "--json", context=context)
        assert ended.status == status, ended.out + ended.err
        return {row["check"]: row for row in json.loads(ended.out)}

    def red(self, found: dict[str, dict[str, str]]) -> list[str]:
        assert all(row["what_to_do"] for row in found.values() if row["state"] == "RED")
        return [name for name, row in found.items() if row["state"] == "RED"]

    def test_a_healthy_stack_is_green_and_what_needs_airflow_is_not_checked(self, offload: Offload, healthy: Context):
        found = self.findings(offload, healthy, 0)

        assert {name: row["state"] for name, row in found.items()} == {
            "1 scheduler": "not checked",
            "2 metrics": "not checked",
            f"3 lag: {TRADES}": "ok",
            "4 last cycles": "not checked",
            "5 failures": "ok",
            "6 servers: ClickHouse": "ok",
            "6 servers: PostgreSQL": "ok",
            "6 servers: Iceberg": "ok",
            "6 servers: Spark": "ok",
        }

    def test_people_read_states_in_words_and_what_to_do(self, offload: Offload, healthy: Context, closed_port: int):
        clickhouse = healthy.connections.clickhouse.model_copy(update={"http_port": closed_port})
        broken = replace(healthy, connections=healthy.connections.model_copy(update={"clickhouse": clickhouse}))

        ended = offload("doctor", context=broken)

        assert ended.status == 1
        assert "RED" in ended.out
        assert "→ Start it or correct its Connection" in ended.out

    def test_clickhouse_down_is_red(self, offload: Offload, healthy: Context, closed_port: int):
        clickhouse = healthy.connections.clickhouse.model_copy(update={"http_port": closed_port})
        broken = replace(healthy, connections=healthy.connections.model_copy(update={"clickhouse": clickhouse}))

        assert self.red(self.findings(offload, broken, 1)) == ["6 servers: ClickHouse"]

    def test_postgresql_down_is_red_wherever_the_ledger_is_needed(
        self, offload: Offload, healthy: Context, closed_port
    ):
        postgres = healthy.connections.postgres.model_copy(update={"port": closed_port})
        broken = replace(healthy, connections=healthy.connections.model_copy(update={"postgres": postgres}))

        assert self.red(self.findings(offload, broken, 1)) == ["3 lag", "5 failures", "6 servers: PostgreSQL"]

    def test_a_warehouse_that_is_gone_is_red(self, offload: Offload, healthy: Context, tmp_path: Path):
        (tmp_path / "warehouse").rename(tmp_path / "elsewhere")

        found = self.findings(offload, healthy, 1)

        assert self.red(found) == ["6 servers: Iceberg"]
        assert "See that the warehouse" in found["6 servers: Iceberg"]["what_to_do"]

    def test_a_halted_table_is_red(self, offload: Offload, healthy: Context, ledger: Ledger):
        ledger.record_failure(TRADES, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)

        assert f"3 lag: {TRADES}" in self.red(self.findings(offload, healthy, 1))

    def test_servers_that_accept_and_never_answer_are_red_in_time(
        self, offload: Offload, healthy: Context, silent_port: int, monkeypatch
    ):
        monkeypatch.setattr("offload_ops.doctor.model.CHECK_SECONDS", 1)
        old = healthy.connections
        silent = old.model_copy(
            update={
                "clickhouse": old.clickhouse.model_copy(update={"http_port": silent_port}),
                "postgres": old.postgres.model_copy(update={"port": silent_port}),
                "iceberg": old.iceberg.model_copy(update={"uri": f"jdbc:postgresql://127.0.0.1:{silent_port}/x"}),
            }
        )
        settings = healthy.settings.model_copy(update={"metrics_url": f"http://127.0.0.1:{silent_port}/metrics"})

        found = self.findings(offload, replace(healthy, connections=silent, settings=settings), 1)

        assert self.red(found) == [
            "2 metrics",
            "3 lag",
            "5 failures",
            "6 servers: ClickHouse",
            "6 servers: PostgreSQL",
            "6 servers: Iceberg",
        ]
        # Not the message of the check's own timeout, which is longer and would come too late.
        assert {found[name]["finding"] for name in self.red(found)} == {"No answer within 1 seconds."}

    def test_a_configuration_that_cannot_be_read_is_red(self):
        def unreadable() -> Context:
            raise FixConfiguration("Airflow's Variable is wrong.", "Correct it.")

        result = CliRunner().invoke(app, ["doctor", "--json"], obj=unreadable)

        assert result.exit_code == 1
        (found,) = json.loads(result.output)
        assert (found["check"], found["what_to_do"]) == ("configuration", "Correct it.")

    def test_airflows_checks_take_their_places_in_the_order(self, healthy: Context):
        check_context = CheckContext(healthy.connections, healthy.tables, healthy.settings, {}, NOW)
        own = Check("4 last cycles", lambda: [CheckResult("4 last cycles", Health.GREEN, "three")], "")

        checks = all_checks(check_context, [own])

        assert [check.name for check in checks][:5] == [
            "1 scheduler",
            "2 metrics",
            "3 lag",
            "4 last cycles",
            "5 failures",
        ]
        assert checks[3] is own
