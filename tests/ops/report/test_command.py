"""`offload report`."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from offload_ops.cli.app import Context
from tests.support.ledger.offload_command import Offload
from tests.support.ledger.week_of_ledger import BINANCE, DAY, WrittenLedger, airflow_week
from tests.support.stack.servers import postgres_database

pytestmark = pytest.mark.integration


class TestTheCommand:
    @pytest.fixture
    def week(self, written_ledger: WrittenLedger) -> list[str]:
        written_ledger.ordinary_week(BINANCE)
        return ["--from", "2026-02-16T00:00:00Z", "--to", "2026-02-23T00:00:00Z"]

    def test_it_prints_the_report_of_a_period_as_text(self, offload: Offload, week):
        ended = offload("report", *week)

        assert ended.status == 0
        assert ended.out.startswith("Iceberg offload, 2026-W08\n")
        assert "67,200" in ended.out
        assert "Airflow was not queried" in ended.out

    def test_it_queries_airflow_if_there_is_one(self, offload: Offload, week, context: Context):
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
