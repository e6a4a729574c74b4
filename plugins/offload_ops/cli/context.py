"""What all commands of `offload` share: context, options, exit codes, output and confirmation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from offload_core.config.connections import Connections
from offload_core.config.settings import Settings
from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.errors import FixConfiguration
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from offload_core.protocol.window import Interval, from_iso, require_utc
from offload_core.source.clickhouse import ClickHouse
from offload_ops.cli.output import Fields, print_json
from offload_ops.doctor.model import Check
from offload_ops.report.airflow_history import AirflowHistory

EXIT_DIFFERENT = 1
"""Both tiers differ, a check is red, or the operator answered no."""
EXIT_ERROR = 2
"""Arguments or configuration are wrong, a server can't be reached, or a job failed. The message says what to do."""

Table = Annotated[str, typer.Argument(help="The table's short name (`offload status` lists them).")]
Names = Annotated[list[str] | None, typer.Argument(help="Short names of tables. Default: all tables.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON. Everything else goes to stderr.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
_TIME_FORMAT = "ISO 8601 with zone, for example 2026-11-20T10:00:00+00:00"
From = Annotated[
    str, typer.Option("--from", help=f"Start of the interval (inclusive), in the rows' own time: {_TIME_FORMAT}.")
]
To = Annotated[str, typer.Option("--to", help="End of the interval (exclusive).")]
OptionalFrom = Annotated[str | None, typer.Option("--from", help=f"Only rows from this time on: {_TIME_FORMAT}.")]
OptionalTo = Annotated[str | None, typer.Option("--to", help="Only rows before this time.")]


@dataclass(frozen=True)
class Context:
    """The servers, tables and settings that the commands work on.

    Attributes:
        connections: the servers.
        tables: all configured tables, including wrong entries.
        settings: the pipeline's settings.
        airflow_checks: the checks of `doctor` that need Airflow; empty if the command runs without Airflow.
        airflow_history: returns what Airflow knows about a period, for `report`; None if the command runs without
            Airflow.
    """

    connections: Connections
    tables: Sequence[TableConfig | InvalidTable]
    settings: Settings
    airflow_checks: Sequence[Check] = ()
    airflow_history: Callable[[Interval], AirflowHistory] | None = None

    def chosen(self, names: Sequence[str] | None) -> list[TableConfig]:
        """The tables of these names, or all tables.

        Raises:
            FixConfiguration: a name is unknown, or its entry is wrong.
        """
        for table in self.tables:
            if isinstance(table, InvalidTable) and (not names or table.name in names):
                raise table.error()
        known = {table.name: table for table in self.tables if isinstance(table, TableConfig)}
        unknown = [name for name in names or () if name not in known]
        if unknown:
            raise FixConfiguration(f"There is no table {', '.join(unknown)}.", f"Choose from {', '.join(known)}.")
        return [known[name] for name in names] if names else list(known.values())

    def one(self, name: str) -> TableConfig:
        """The table of this name.

        Raises:
            FixConfiguration: the name is unknown, or its entry is wrong.
        """
        return self.chosen([name])[0]

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, in a session that is closed after the block."""
        with closing(connect(self.connections.postgres, "offload command")) as session:
            yield Ledger(session, self.settings.pipeline_id)

    @contextmanager
    def clickhouse(self) -> Iterator[ClickHouse]:
        """A client of the hot tier, which is closed after the block."""
        client = ClickHouse.from_settings(self.connections.clickhouse, self.settings)
        with closing(client):
            yield client


def context_of(ctx: typer.Context) -> Context:
    """The context of this command line. It is loaded only now, so that `--help` needs no server."""
    load: Callable[[], Context] = ctx.obj
    return load()


def parse_moment(text: str, option: str) -> datetime:
    """The time in an option (UTC).

    Raises:
        FixConfiguration: it is not a time, or has no time zone.
    """
    try:
        return require_utc(from_iso(text), option)
    except (ValueError, OverflowError) as error:
        raise FixConfiguration(f"{option} {text} is not a time.", "Write it like 2026-11-20T10:00:00+00:00.") from error


def parse_interval(start: str, end: str) -> Interval:
    """The interval between `--from` and `--to`.

    Raises:
        FixConfiguration: an end is not a time or has no time zone, or the interval is empty.
    """
    return Interval(parse_moment(start, "--from"), parse_moment(end, "--to"))


def parse_optional_interval(start: str | None, end: str | None) -> Interval | None:
    """The interval between `--from` and `--to`; None if neither was given.

    Raises:
        FixConfiguration: only one end was given, or the interval is wrong.
    """
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise FixConfiguration("An interval has two ends.", "Give both --from and --to, or neither.")
    return parse_interval(start, end)


@dataclass(frozen=True)
class Console:
    """The output of a command: text for people, or with --json a result on stdout and all text on stderr."""

    as_json: bool

    def echo(self, line: str) -> None:
        """Print one line for the operator."""
        print(line, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def log(self, line: str) -> None:
        """Print one line of a job's log."""
        print(line, file=sys.stderr, flush=True)

    def result(self, fields: Fields) -> None:
        """Print the result of the command with --json. People have read it in other lines."""
        if self.as_json:
            print_json(fields)


def confirm(question: str, *, yes: bool) -> None:
    """Ask the operator for confirmation, unless `yes` is set. Without it, the command ends with status 1."""
    if not yes:
        typer.confirm(question, abort=True, err=True)
