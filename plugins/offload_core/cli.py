"""The operator's command, `offload`: set up, look at and correct the watermarks.

It talks to the servers directly and needs no running Airflow. Where the connections and tables come from is up to the caller of `build`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from offload_core import spark_submit
from offload_core.clickhouse import ClickHouse
from offload_core.connections import CONNECTIONS_ENV, Connections
from offload_core.errors import FixConfiguration, OffloadError
from offload_core.ledger import Ledger, LedgerRow, connect
from offload_core.sql_files import statements
from offload_core.table_config import InvalidTable, Settings, TableConfig
from offload_core.verify import Verdict, verify
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


def build(load: Callable[[], Context]) -> typer.Typer:
    """The command's app; `load` is called once a command needs its context."""
    app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def init(
        hot_tier: Annotated[bool, typer.Option(help="Also create the example hot tier in ClickHouse.")] = False,
    ) -> None:
        """Create what is missing: ledger, Iceberg tables, first watermarks. May be run again at any time."""
        context = load()
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
                print(f"{table.name}: {'watermark starts in 1970' if ledger.initialize(table.name) else 'keeps its watermark'}")

    @app.command()
    def status(as_json: Json = False) -> None:
        """Each table's watermark, last success and state."""
        context = load()
        with context.ledger() as ledger:
            newest = ledger.newest_rows()
        rows = [_status(table.name, newest.get(table.name)) for table in context.tables]
        _print(rows, as_json, "Iceberg offload", ("table", "state", "watermark", "last_success", "lag_minutes", "error"))

    @app.command()
    def history(table: str, limit: int = 20, as_json: Json = False) -> None:
        """The newest ledger rows of a table."""
        context = load()
        (config,) = context.chosen([table])
        with context.ledger() as ledger:
            rows = [_history(row) for row in ledger.history(config.name, limit)]
        _print(rows, as_json, config.name, ("created_at", "status", "kind", "watermark", "rows", "run", "error"))

    @app.command()
    def reset(
        table: str,
        to: Annotated[str, typer.Option(help="Watermark to go back to, ISO 8601 with zone, or `epoch`.")],
        yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    ) -> None:
        """Set a table's watermark back: the next run reads again from there and inserts only what Iceberg lacks."""
        context = load()
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
                typer.confirm(f"Set the watermark of {config.name} from {current.cursor if current else 'nothing'} to {moment.isoformat()}?", abort=True)
            row = ledger.reset(config.name, Cursor(moment))
        print(f"{config.name}: watermark is {row.cursor}")

    @app.command()
    def resume(table: str, yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False) -> None:
        """Let a halted table go on, with source and target as they are now."""
        context = load()
        (config,) = context.chosen([table])
        with context.ledger() as ledger:
            newest = ledger.newest(config.name)
            if not yes:
                typer.confirm(f"{config.name} was stopped because: {newest.last_error_message if newest else 'unknown'}\nGo on?", abort=True)
            row = ledger.resume(config.name)
        print(f"{config.name}: goes on from {row.cursor}")

    @app.command("verify")
    def verify_command(tables: Names = None, as_json: Json = False) -> None:
        """Compare hot and cold tier up to the watermark, by count and hash. Exit status 1 if a table differs."""
        context = load()
        verdicts = []
        with context.ledger() as ledger, closing(ClickHouse(context.connections.clickhouse)) as client:
            for table in context.chosen(tables):
                verdicts.append(verify(client, context.connections, table, ledger.cursor(table.name)))
        rows = [_verdict(verdict) for verdict in verdicts]
        _print(rows, as_json, "Hot and cold tier", ("table", "watermark", "hot_rows", "cold_rows", "verdict"))
        if not all(verdict.equal for verdict in verdicts):
            raise typer.Exit(EXIT_DIFFERENT)

    return app


def run(app: typer.Typer) -> int:
    """Run the app with this process's arguments; an `OffloadError` ends in its message and exit status 2."""
    try:
        app()
    except OffloadError as error:
        print(f"offload: {error}", file=sys.stderr)
        return EXIT_ERROR
    return 0


def _create_iceberg_tables(context: Context, tables: Sequence[TableConfig]) -> None:
    """Run the Spark job `offload_init.py`; passwords go through its environment."""
    home = os.environ.get("OFFLOAD_SPARK_HOME")
    command = [str(Path(home, "bin", "spark-submit")) if home else "spark-submit", "--master", "local[1]"]
    for key, value in spark_submit.configuration(os.environ).items():
        command += ["--conf", f"{key}={value}"]
    command += [str(spark_submit.application(os.environ).with_name("offload_init.py"))]
    command += [json.dumps([table.model_dump(mode="json") for table in tables])]
    environment = {**os.environ, **spark_submit.environment(os.environ), CONNECTIONS_ENV: context.connections.with_secrets_json()}
    try:
        result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603 - no shell
    except FileNotFoundError as error:
        raise FixConfiguration(
            "spark-submit was not found.", "Set OFFLOAD_SPARK_HOME to Spark's folder, or put its bin folder on the PATH."
        ) from error
    if result.returncode:
        raise FixConfiguration(f"The Iceberg tables could not be made:\n{result.stdout.strip()}", "Mend that and run `offload init` again.")
    for line in result.stdout.splitlines():
        if line.startswith("{"):
            report = json.loads(line)
            added = f", columns added: {', '.join(report['columns_added'])}" if report["columns_added"] else ""
            print(f"Iceberg: {report['table']} {'created' if report['created'] else 'is there'}{added}")


def _project_folder() -> Path:
    return spark_submit.application(os.environ).parent.parent.parent


def _moment(text: str) -> datetime:
    try:
        return require_utc(datetime.fromisoformat(text), "--to")
    except ValueError as error:
        raise FixConfiguration(f"--to {text} is no time.", "Write it like 2026-11-20T10:00:00+00:00, or `epoch`.") from error


def _status(name: str, row: LedgerRow | None) -> dict[str, Any]:
    success = row.last_successful_run if row else None
    return {
        "table": name,
        "state": row.status if row else "no watermark",
        "watermark": row.cursor.timestamp if row else None,
        "last_success": success,
        "lag_minutes": round((datetime.now(timezone.utc) - success).total_seconds() / 60, 1) if success else None,
        "failures": row.failure_count if row else None,
        "error": row.last_error_message if row else None,
    }


def _history(row: LedgerRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "created_at": row.created_at,
        "status": row.status,
        "kind": row.kind,
        "watermark": row.cursor.timestamp,
        "sequence": row.cursor.sequence,
        "rows": row.row_count,
        "snapshot": row.snapshot_id,
        "run": row.run_id,
        "attempt": row.attempt,
        "error": row.last_error_message,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "table": verdict.table,
        "from": verdict.start,
        "watermark": verdict.watermark.timestamp,
        "hot_rows": verdict.hot.rows,
        "cold_rows": verdict.cold.rows,
        "hot_hash": f"{verdict.hot.hash:016x}",
        "cold_hash": f"{verdict.cold.hash:016x}",
        "verdict": "equal" if verdict.equal else "DIFFERENT",
    }


def _print(rows: list[dict[str, Any]], as_json: bool, title: str, columns: Sequence[str]) -> None:
    """Print all fields as JSON, or these columns as a table; times are UTC."""
    if as_json:
        print(json.dumps(rows, indent=2, default=lambda moment: moment.isoformat()))
        return
    table = Table(title=f"{title} (times in UTC)", box=box.SIMPLE_HEAD, title_justify="left")
    for name in columns:
        table.add_column(name.replace("_", " "), no_wrap=name != "error", justify="right" if isinstance(rows[0][name], int | float) else "left")
    for row in rows:
        table.add_row(*(_text(row[name]) for name in columns))
    console = Console()
    Console(width=max(console.width, 100)).print(table)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:,}" if isinstance(value, int) else str(value)
