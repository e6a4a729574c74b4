"""Trades tables with an operator: runs, the command `offload`, and checks of halted tables."""

from __future__ import annotations

from offload_core.config.tables import TableConfig
from tests.support.spark.fault_tables import TradeTables
from tests.support.spark.world import FinishedJob


class OperatedTrades(TradeTables):
    """Trades tables with runs, commands and checks."""

    def offload(self, table: TableConfig, rows: int) -> FinishedJob:
        """Insert further rows and move them in one run."""
        count = self.world.hot.rows(f"SELECT count() AS offload_rows FROM {table.source}")[0]["offload_rows"]
        self.insert(table, int(count), rows)
        return self.world.run_well(table)

    def operate(self, command: str, table: TableConfig, *arguments: str, status: int = 0) -> str:
        """Run one of the operator's commands for a table."""
        environ = {"OFFLOAD_TABLES": f"[{table.model_dump_json()}]"}
        return self.world.offload(command, table.name, *arguments, environ=environ, status=status)

    def require_halted(self, table: TableConfig, kind: str) -> str:
        """Check that a run halts the table until an operator resumes it. Returns the message."""
        ended = self.world.run(table)
        assert (ended.status, ended.error["kind"]) == (20, kind), ended.output
        again = self.world.run(table)
        assert (again.status, again.error["kind"]) == (20, "halted"), again.output
        assert f"offload resume {table.name}" in str(again.error["message"])
        return str(ended.error["message"])

    def require_error(self, table: TableConfig, kind: str) -> str:
        """Check that a run ends with an error that only an operator can correct. Returns the message."""
        ended = self.world.run(table)
        assert (ended.status, ended.error["kind"]) == (20, kind), ended.output
        assert "Traceback" not in ended.output
        return str(ended.error["message"])
