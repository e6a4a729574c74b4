"""A load: the rows of one table that every route copies into its own Iceberg table."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from datetime import datetime

from benchmarks.bench_stack import BenchStack
from benchmarks.measure import CommandFailed
from benchmarks.results import ParityVerdict
from offload_core.config.tables import TableConfig
from offload_core.source.projection import Column, project
from offload_core.source.queries import format_time, source_column
from offload_core.source.quoting import quote_table
from offload_core.source.table import describe


@dataclass(frozen=True)
class Load:
    """Rows with a timestamp after `start` and up to `end` (UTC).

    Attributes:
        table: the configuration of the ClickHouse table; each route writes to its own target.
        start, end: the window; `start` is exclusive, `end` inclusive.
        rows: the number of rows.
        number: the number of the load within its case, which makes names unique.
    """

    table: TableConfig
    start: datetime
    end: datetime
    rows: int
    number: int

    @property
    def label(self) -> str:
        """A name that is unique within the case."""
        return f"{self.table.name}_{self.number}"

    @property
    def condition(self) -> str:
        """The WHERE condition of the rows, in ClickHouse's SQL."""
        timestamp = source_column(self.table, self.table.timestamp_col)
        low, high = (f"toDateTime64('{format_time(moment)}', 6, 'UTC')" for moment in (self.start, self.end))
        return f"{timestamp} > {low} AND {timestamp} <= {high}"

    def columns(self, bench: BenchStack) -> list[Column]:
        """Return the table's columns with the expressions that preserve their exact values."""
        with bench.clickhouse() as client:
            described = describe(client, self.table, bench.connections.clickhouse.database)
        return project(self.table, described.columns)

    def exact_query(self, bench: BenchStack) -> str:
        """Return the SELECT of a careful user, which casts each column to a type that Iceberg represents exactly."""
        items = ", ".join(column.select_item for column in self.columns(bench))
        return f"SELECT {items} FROM {quote_table(self.table.source)} WHERE {self.condition}"  # noqa: S608 - quoted

    @property
    def plain_query(self) -> str:
        """The SELECT that a user would write first."""
        return f"SELECT * FROM {quote_table(self.table.source)} WHERE {self.condition}"  # noqa: S608 - quoted

    def verdict(self, bench: BenchStack, metadata: str) -> ParityVerdict:
        """Check whether the table with this metadata contains exactly these rows.

        Raises:
            CommandFailed: the table cannot be read.
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
            raise CommandFailed(f"the table cannot be read: {result.stderr[-2000:]}")
        answer = json.loads(result.stdout)
        if answer["rows"] != self.rows:
            raise CommandFailed(f"ClickHouse has {answer['rows']} rows in the window, not {self.rows}")
        return ParityVerdict(answer["parity"], answer["note"])
