"""The operator's command, `offload`: set up, look at and correct the watermarks.

It talks to the servers directly and needs no running Airflow. Where the connections and tables come from is up to the caller of `run`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from offload_core import spark_submit
from offload_core.cli_output import history_fields, print_rows, status_fields, verdict_fields
from offload_core.clickhouse import ClickHouse
from offload_core.connections import CONNECTIONS_ENV, Connections
from offload_core.errors import FixConfiguration, OffloadError
from offload_core.ledger import Ledger, LedgerRow
from offload_core.ledger_session import connect
from offload_core.sql_files import statements
from offload_core.table_config import InvalidTable, Settings, TableConfig
from offload_core.verify import verify
from offload_core.window import EPOCH, Cursor, require_utc

EXIT_DIFFERENT = 1
EXIT_ERROR = 2

Names = Annotated[list[str] | None, typer.Argument(help="Tables by their short names; default: all.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True)
class Context:
    """What the commands work on."""

    connections: Connections
    tables: Sequence[TableConfig | InvalidTable]
    settings: Settings

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

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger over a session of its own."""
        with closing(connect(self.connections.postgres, "offload command")) as session:
            yield Ledger(session, self.settings.pipeline_id)


app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def init(
    ctx: typer.Context,
    hot_tier: Annotated[bool, typer.Option(help="Also create the example hot tier in ClickHouse.")] = False,
) -> None:
    """Create what is missing: ledger, Iceberg tables, first watermarks. May be run again at any time."""
    context = _context(ctx)
    tables = context.chosen(None)
    sql = _project_folder() / "include" / "sql"
    if hot_tier:
        with closing(ClickHouse(context.connections.clickhouse)) as client:
            for statement in statements(sql / "clickhouse"):
                client.command(statement)
        print("ClickHouse: hot tier is there")
    with context.ledger() as ledger:
        ledger.create(sql / "postgres")
        print("PostgreSQL: ledger is there")
        _create_iceberg_tables(context, tables)
        for table in tables:
            print(
                f"{table.name}: {'watermark starts in 1970' if ledger.initialize(table.name) else 'keeps its watermark'}"
            )


@app.command()
def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Each table's watermark, last success and state."""
    context = _context(ctx)
    with context.ledger() as ledger:
        newest = ledger.newest_rows()
    rows = [status_fields(table.name, newest.get(table.name)) for table in context.tables]
    print_rows(
        rows, as_json, "Iceberg offload", ("table", "state", "watermark", "last_success", "lag_minutes", "failures")
    )


@app.command()
def history(
    ctx: typer.Context,
    table: str,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """The newest ledger rows of a table."""
    context = _context(ctx)
    (config,) = context.chosen([table])
    with context.ledger() as ledger:
        rows = [history_fields(row) for row in ledger.history(config.name, limit)]
    print_rows(rows, as_json, config.name, ("created_at", "status", "kind", "watermark", "rows", "run", "attempt"))


@app.command()
def reset(
    ctx: typer.Context,
    table: str,
    to: Annotated[str, typer.Option(help="Watermark to go back to, ISO 8601 with zone, or `epoch`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Set a table's watermark back: the next run reads again from there and inserts only what Iceberg lacks."""
    context = _context(ctx)
    (config,) = context.chosen([table])
    moment = EPOCH if to == "epoch" else _moment(to)
    with context.ledger() as ledger:
        current = ledger.newest(config.name)
        if current is not None and moment > current.cursor.timestamp:
            raise FixConfiguration(
                f"{moment.isoformat()} lies after the watermark {current.cursor}: rows in between would never be offloaded.",
                "Choose an earlier time.",
            )
        if not yes:
            typer.confirm(
                f"Set the watermark of {config.name} from {current.cursor if current else 'nothing'} to {moment.isoformat()}?",
                abort=True,
            )
        row = ledger.reset(config.name, Cursor(moment))
    print(f"{config.name}: watermark is {row.cursor}")


@app.command()
def resume(
    ctx: typer.Context, table: str, yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False
) -> None:
    """Let a halted table go on, with source and target as they are now."""
    context = _context(ctx)
    (config,) = context.chosen([table])
    with context.ledger() as ledger:
        if not yes:
            typer.confirm(f"{config.name} {_why_halted(ledger.history(config.name, 1000))}\nGo on?", abort=True)
        row = ledger.resume(config.name)
    print(f"{config.name}: goes on from {row.cursor}")


@app.command("verify")
def verify_tables(ctx: typer.Context, tables: Names = None, as_json: Json = False) -> None:
    """Compare hot and cold tier up to the watermark, by count and hash. Exit status 1 if a table differs."""
    context = _context(ctx)
    verdicts = []
    with context.ledger() as ledger, closing(ClickHouse(context.connections.clickhouse)) as client:
        for table in context.chosen(tables):
            verdicts.append(verify(client, context.connections, table, ledger.cursor(table.name)))
    rows = [verdict_fields(verdict) for verdict in verdicts]
    print_rows(rows, as_json, "Hot and cold tier", ("table", "watermark", "hot_rows", "cold_rows", "verdict"))
    if not all(verdict.equal for verdict in verdicts):
        raise typer.Exit(EXIT_DIFFERENT)


def run(load: Callable[[], Context]) -> int:
    """Run this process's command line; `load` is called once a command needs its context.

    Returns:
        0; an `OffloadError` ends in its message and 2.
    """
    try:
        app(obj=load)
    except OffloadError as error:
        print(f"offload: {error}", file=sys.stderr)
        return EXIT_ERROR
    return 0


def _context(ctx: typer.Context) -> Context:
    load: Callable[[], Context] = ctx.obj
    return load()


def _create_iceberg_tables(context: Context, tables: Sequence[TableConfig]) -> None:
    """Run the Spark job `offload_init.py`; passwords go through its environment."""
    home = os.environ.get("OFFLOAD_SPARK_HOME")
    command = [str(Path(home, "bin", "spark-submit")) if home else "spark-submit", "--master", "local[1]"]
    for key, value in spark_submit.configuration(os.environ).items():
        command += ["--conf", f"{key}={value}"]
    command += [str(spark_submit.application(os.environ).with_name("offload_init.py"))]
    command += [json.dumps([table.model_dump(mode="json") for table in tables])]
    environment = {
        **os.environ,
        **spark_submit.environment(os.environ),
        CONNECTIONS_ENV: context.connections.with_secrets_json(),
    }
    try:
        result = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except FileNotFoundError as error:
        raise FixConfiguration(
            "spark-submit was not found.",
            "Set OFFLOAD_SPARK_HOME to Spark's folder, or put its bin folder on the PATH.",
        ) from error
    if result.returncode:
        raise FixConfiguration(
            f"The Iceberg tables could not be made:\n{result.stdout.strip()}", "Mend that and run `offload init` again."
        )
    for line in result.stdout.splitlines():
        if line.startswith("{"):
            report = json.loads(line)
            added = f", columns added: {', '.join(report['columns_added'])}" if report["columns_added"] else ""
            print(f"Iceberg: {report['table']} {'created' if report['created'] else 'is there'}{added}")


def _project_folder() -> Path:
    return spark_submit.application(os.environ).parent.parent.parent


def _why_halted(history: Sequence[LedgerRow]) -> str:
    for row in history:
        if row.kind == "resume":
            break
        if row.status == "halted":
            return f"was stopped because: {row.last_error_message}"
    return "is not stopped; going on would accept source and target as they are now."


def _moment(text: str) -> datetime:
    try:
        return require_utc(datetime.fromisoformat(text), "--to")
    except ValueError as error:
        raise FixConfiguration(
            f"--to {text} is no time.", "Write it like 2026-11-20T10:00:00+00:00, or `epoch`."
        ) from error
