"""The commands behind `make up`, `make status` and `make down`: `python -m devstack COMMAND`."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from devstack.stack.airflow_config import ADMIN
from devstack.stack.demo import Demo
from devstack.stack.environment import exports
from devstack.stack.stack import PartStatus, Stack
from install.errors import SetupError
from install.layout import Layout

app = typer.Typer(
    help="Start and stop PostgreSQL, ClickHouse and Airflow of this checkout. OFFLOAD_HOME moves their state folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# A pipe has no width; without this, the table would be cut to 80 columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


@app.command()
def up(
    airflow: Annotated[
        bool, typer.Option("--airflow", help="Also start Airflow's scheduler and web interface.")
    ] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Move a state folder of Airflow 2.11 to Airflow 3.")
    ] = False,
) -> None:
    """Start the parts that are not running; repeat the command to restart parts that died."""
    stack = Stack(Layout.of_checkout())
    airflow = airflow or upgrade
    stack.up(console.print, airflow=airflow, upgrade=upgrade)
    if airflow:
        console.print(f"Airflow: http://127.0.0.1:{stack.airflow.port}, login {ADMIN}, password in")
        console.print(f"  {stack.airflow.password_file}", soft_wrap=True)
        console.print(f"Metrics: {stack.exporter.url or 'none, the exporter is not running'}")


@app.command()
def demo(rows: Annotated[int, typer.Option(min=100, help="Trades per exchange in the history.")] = 100_000) -> None:
    """Run the demonstration; exit status 0 only if every table has arrived, by count and by hash."""
    if not Demo(Stack(Layout.of_checkout()), console, rows).run():
        raise typer.Exit(1)


@app.command()
def down() -> None:
    """Stop every process of the stack; the data stays."""
    Stack(Layout.of_checkout()).down(console.print)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show the parts with state, address and memory. Exit status 0 only if every started part answers."""
    parts = Stack(Layout.of_checkout()).status()
    if as_json:
        sys.stdout.write(json.dumps([asdict(part) for part in parts], indent=1) + "\n")
    else:
        console.print(_table(parts))
    if not all(part.is_up for part in parts):
        raise typer.Exit(1)


@app.command()
def env() -> None:
    """Print shell exports for working with the running stack. They contain no password."""
    for name, value in exports(Layout.of_checkout()).items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


@app.command()
def logs(lines: Annotated[int, typer.Option(min=1, help="Lines per log.")] = 20) -> None:
    """Print the last lines of every part's log."""
    for log in sorted(Layout.of_checkout().logs.glob("*.log")):
        console.rule(str(log))
        for line in log.read_text(errors="replace").splitlines()[-lines:]:
            console.print(line, markup=False, soft_wrap=True)


@app.command()
def sql(statement: Annotated[str, typer.Argument(help="One statement; names without a database refer to k2.")]) -> None:
    """Run a statement in the stack's ClickHouse and print its result."""
    running = Stack(Layout.of_checkout()).gateway
    answer = running.query(statement)
    sys.stdout.write(answer if answer.endswith("\n") or not answer else f"{answer}\n")


@app.command()
def clean() -> None:
    """Stop the stack and delete its state folder: data, logs and passwords."""
    layout = Layout.of_checkout()
    if not layout.home.exists():
        return
    Stack(layout).down(console.print)
    shutil.rmtree(layout.home)
    console.print(f"Deleted {layout.home}", soft_wrap=True)


def _table(parts: list[PartStatus]) -> Table:
    table = Table("part", "state", "pid", "address", "memory", "up for", "data", box=None, pad_edge=False)
    for part in parts:
        uptime = "-" if part.uptime is None else str(timedelta(seconds=int(part.uptime)))
        colour = "green" if part.is_up else "red"
        state = f"[{colour}]{part.state}[/{colour}]"
        table.add_row(part.name, state, str(part.pid or "-"), part.address, decimal(part.memory), uptime, part.data)
    return table


def main() -> int:
    """Run the command; an expected error ends it with one message that includes the remedy, not with a traceback."""
    try:
        app(standalone_mode=True)
    except SetupError as error:
        Console(stderr=True, highlight=False).print(f"Error: {error}", markup=False, soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
