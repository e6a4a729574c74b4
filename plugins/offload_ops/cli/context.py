"""What all commands of `offload` share: their context, their options, their exit codes, and how they ask."""

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
from offload_core.ledger.history import AirflowHistory
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import connect
from offload_core.protocol.window import Interval, from_iso, require_utc
from offload_core.source.clickhouse import ClickHouse
from offload_ops.cli.output import Fields, print_json
from offload_ops.doctor.model import Check

EXIT_DIFFERENT = 1
"""Both tiers differ, a check is red, or the answer to a question was no."""
EXIT_ERROR = 2
"""Wrong arguments or configuration, a server that can't be reached, a job that failed; the message says what to do."""

Table = Annotated[str, typer.Argument(help="The table, by its short name (`offload status` lists them).")]
Names = Annotated[list[str] | None, typer.Argument(help="Tables by their short names; default: all.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs; everything else goes to stderr.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done; change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
_A_TIME = "ISO 8601 with zone, for example 2026-11-20T10:00:00+00:00"
From = Annotated[str, typer.Option("--from", help=f"First moment of the interval, in the rows' own time: {_A_TIME}.")]
To = Annotated[str, typer.Option("--to", help="End of the interval, itself not part of it.")]
OptionalFrom = Annotated[str | None, typer.Option("--from", help=f"Only rows from this time on: {_A_TIME}.")]
OptionalTo = Annotated[str | None, typer.Option("--to", help="Only rows before this time.")]


@dataclass(frozen=True)
class Context:
    """What the commands work on.

    Attributes:
        connections: the servers.
        tables: what is configured, wrong entries included.
        settings: the pipeline's settings.
        airflow_checks: what `doctor` asks Airflow; empty where the command runs without one.
        airflow_history: what `report` asks Airflow about a period; None where the command runs without one.
    """

    connections: Connections
    tables: Sequence[TableConfig | InvalidTable]
    settings: Settings
    airflow_checks: Sequence[Check] = ()
    airflow_history: Callable[[Interval], AirflowHistory] | None = None

    def chosen(self, names: Sequence[str] | None) -> list[TableConfig]:
        """The valid tables of these names, or all.

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
        """The valid table of this name. Raises as `chosen`."""
        return self.chosen([name])[0]

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger over a session of its own."""
        with closing(connect(self.connections.postgres, "offload command")) as session:
            yield Ledger(session, self.settings.pipeline_id)

    @contextmanager
    def clickhouse(self) -> Iterator[ClickHouse]:
        """A client of the hot tier."""
        client = ClickHouse(
            self.connections.clickhouse,
            timeout_seconds=self.settings.clickhouse_timeout_seconds,
            settings=self.settings.clickhouse_settings,
        )
        with closing(client):
            yield client


def context_of(ctx: typer.Context) -> Context:
    """The context of this command line, loaded now: `--help` needs no server."""
    load: Callable[[], Context] = ctx.obj
    return load()


def parse_moment(text: str, option: str) -> datetime:
    """The moment (UTC) that an option names.

    Raises:
        FixConfiguration: it is none, or has no time zone.
    """
    try:
        return require_utc(from_iso(text), option)
    except (ValueError, OverflowError) as error:
        raise FixConfiguration(f"{option} {text} is no time.", "Write it like 2026-11-20T10:00:00+00:00.") from error


def parse_interval(start: str, end: str) -> Interval:
    """The interval between `--from` and `--to`. Raises FixConfiguration."""
    return Interval(parse_moment(start, "--from"), parse_moment(end, "--to"))


@dataclass(frozen=True)
class Speaker:
    """Where a command's words go: to stdout for people; where programs read stdout as JSON, to stderr."""

    as_json: bool

    def say(self, line: str) -> None:
        """One line for the operator."""
        print(line, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def log(self, line: str) -> None:
        """One line of what a job tells while it runs."""
        print(line, file=sys.stderr, flush=True)

    def result(self, fields: Fields) -> None:
        """What became of the command, for programs; people have been told."""
        if self.as_json:
            print_json(fields)


def ask(question: str, *, yes: bool) -> None:
    """Go on only with the operator's consent: `yes`, or a `y` typed now; anything else ends the command with status 1."""
    if not yes:
        typer.confirm(question, abort=True, err=True)
