"""Trades tables with an operator beside them: runs, the command `offload`, and what a stopped table looks like."""

from __future__ import annotations

from offload_core.config.tables import TableConfig
from tests.support.spark.fault_tables import Trades
from tests.support.spark.world import JobResult


class OperatedTrades(Trades):
    """Trades tables, and what is done with them again and again."""

    def offload(self, table: TableConfig, rows: int) -> JobResult:
        """Insert further rows and move them with a run of their own."""
        count = self.world.hot.rows(f"SELECT count() AS offload_rows FROM {table.source}")[0]["offload_rows"]
        self.insert(table, int(count), rows)
        return self.world.run_well(table)

    def operate(self, command: str, table: TableConfig, *arguments: str, status: int = 0) -> str:
        """Give one of the operator's commands for a table."""
        environ = {"OFFLOAD_TABLES": f"[{table.model_dump_json()}]"}
        return self.world.offload(command, table.name, *arguments, environ=environ, status=status)

    def require_halted(self, table: TableConfig, kind: str) -> str:
        """Run the job: it stops for good, and stays stopped until somebody resumes it. Returns what it said."""
        ended = self.world.run(table)
        assert (ended.status, ended.error["kind"]) == (20, kind), ended.output
        again = self.world.run(table)
        assert (again.status, again.error["kind"]) == (20, "halted"), again.output
        assert f"offload resume {table.name}" in str(again.error["message"])
        return str(ended.error["message"])

    def require_error(self, table: TableConfig, kind: str) -> str:
        """Run the job: it stops with an error that stays until somebody changes something. Returns what it said."""
        ended = self.world.run(table)
        assert (ended.status, ended.error["kind"]) == (20, kind), ended.output
        assert "Traceback" not in ended.output
        return str(ended.error["message"])
