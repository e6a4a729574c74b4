"""`offload init`: what it makes, and how it says what it would make."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.ledger import Ledger
from offload_ops.cli.app import Context
from tests.support.ledger.offload_command import Offload

SPARK_SUBMIT = """#!{python}
import json, os, sys
with open({record!r}, "w") as file:
    json.dump({{"argv": sys.argv[1:], "connections": os.environ.get("OFFLOAD_CONNECTIONS", "")}}, file)
print("WARN something of Spark's own")
for table in json.loads(sys.argv[-1]):
    print(json.dumps({{"table": table["target"], "created": True, "changes": ["Column fee added as long"]}}))
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
        assert "Iceberg: cold.silver_trades created; Column fee added as long" in first.out

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
        assert "The Iceberg tables could not be created:\nWARN something of Spark's own" in ended.err
        assert ledger.newest_rows() == {}

    def test_a_missing_spark_is_told_with_what_to_set(self, offload: Offload, tmp_path, monkeypatch):
        monkeypatch.setenv("OFFLOAD_SPARK_HOME", str(tmp_path / "nowhere"))

        ended = offload("init")

        assert ended.status == 2
        assert "spark-submit was not found. Set OFFLOAD_SPARK_HOME" in ended.err

    def test_a_dry_run_says_what_would_be_made_and_makes_nothing(self, offload: Offload, ledger: Ledger):
        ledger.initialize("silver_trades")

        ended = offload("init", "--hot-tier", "--dry-run")

        assert ended.status == 0
        assert "ClickHouse: the hot tier exists" in ended.out
        assert "PostgreSQL: the ledger exists" in ended.out
        assert ended.out.count("would be created") == 9
        assert "silver_trades: keeps its watermark" in ended.out
        assert ended.out.count("its watermark would start in 1970") == 8
        assert set(ledger.newest_rows()) == {"silver_trades"}
