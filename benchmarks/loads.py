"""A load: the rows of one table that every route brings into an Iceberg table of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from datetime import datetime

from benchmarks.bench_stack import BenchStack
from benchmarks.measure import CommandFailed
from benchmarks.results import Verdict
from offload_core.config.tables import TableConfig
from offload_core.source.clickhouse import quote_table
from offload_core.source.projection import Column, project
from offload_core.source.queries import format_time, source_column
from offload_core.source.table import describe


@dataclass(frozen=True)
class Load:
    """Rows with a timestamp after `start` and up to `end` (UTC).

    Attributes:
        table: the entry of the ClickHouse table; routes write to targets of their own.
        start, end: the window: exclusive, inclusive.
        rows: how many there are.
        number: which load of the case it is; makes names unique.
    """

    table: TableConfig
    start: datetime
    end: datetime
    rows: int
    number: int

    @property
    def label(self) -> str:
        """A name that no other load of the case has."""
        return f"{self.table.name}_{self.number}"

    @property
    def condition(self) -> str:
        """The WHERE condition of its rows, in ClickHouse's SQL."""
        timestamp = source_column(self.table, self.table.timestamp_col)
        low, high = (f"toDateTime64('{format_time(moment)}', 6, 'UTC')" for moment in (self.start, self.end))
        return f"{timestamp} > {low} AND {timestamp} <= {high}"

    def columns(self, bench: BenchStack) -> list[Column]:
        """The table's columns with the expressions that carry them exactly."""
        with bench.clickhouse() as client:
            described = describe(client, self.table, bench.connections.clickhouse.database)
        return project(self.table, described.columns)

    def exact_query(self, bench: BenchStack) -> str:
        """The SELECT that a careful user would write, each column cast to what Iceberg can hold exactly."""
        items = ", ".join(column.select_item for column in self.columns(bench))
        return f"SELECT {items} FROM {quote_table(self.table.source)} WHERE {self.condition}"  # noqa: S608 - quoted

    @property
    def plain_query(self) -> str:
        """The SELECT that a user writes first."""
        return f"SELECT * FROM {quote_table(self.table.source)} WHERE {self.condition}"  # noqa: S608 - quoted

    def verdict(self, bench: BenchStack, metadata: str) -> Verdict:
        """Whether the table whose metadata lies there holds exactly these rows.

        Raises:
            CommandFailed: it can't be read.
        """
        request = {
            "metadata": metadata,
            "table": self.table.model_dump(mode="json"),
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
        }
        argv = [str(bench.layout.airflow_python), "-m", "benchmarks.parity"]
        result = subprocess.run(
            argv, env=bench.environ, input=json.dumps(request), capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise CommandFailed(f"the table can't be read: {result.stderr[-2000:]}")
        answer = json.loads(result.stdout)
        if answer["rows"] != self.rows:
            raise CommandFailed(f"ClickHouse has {answer['rows']} rows of the window, not {self.rows}")
        return Verdict(answer["parity"], answer["note"])
