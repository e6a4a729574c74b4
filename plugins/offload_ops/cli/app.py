"""The operator's command: set up, inspect, compare and repair tables, and correct their watermarks.

It connects to the servers directly and needs no running Airflow. Beside a running Airflow, each table's lock keeps the
two apart. Tables are named by their short names, which `offload status` lists. Commands that change something support
--dry-run, say how many rows they affect, and ask for confirmation (--yes confirms). Times are ISO 8601 with a zone;
output is in UTC.

Exit status: 0 done, or everything is in order; 1 both tiers differ, a check is red, or the operator answered no;
2 an error, whose message says what to do.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import typer

from offload_core.errors import OffloadError
from offload_ops.cli.audit import audit
from offload_ops.cli.config import config
from offload_ops.cli.context import EXIT_DIFFERENT, EXIT_ERROR, Context
from offload_ops.cli.inspect import doctor, history, status, verify_tables
from offload_ops.cli.maintain import maintain
from offload_ops.cli.report import report
from offload_ops.cli.reprocess import repair, restate
from offload_ops.cli.setup import init
from offload_ops.cli.view import view
from offload_ops.cli.watermarks import reset, resume

__all__ = ["EXIT_DIFFERENT", "EXIT_ERROR", "Context", "add_command", "app", "run"]


def paragraphs(docstring: str | None) -> str:
    """A docstring whose paragraphs are one line each, so that help fits every width of the terminal."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(docstring or "").split("\n\n"))


app = typer.Typer(help=paragraphs(__doc__), no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def add_command(command: Callable[..., None], name: str | None = None) -> None:
    """Add a command to `app`, by default under the function's name; its docstring is its help."""
    app.command(name, help=paragraphs(command.__doc__))(command)


add_command(init)
add_command(status)
add_command(doctor)
add_command(history)
add_command(verify_tables, "verify")
add_command(audit)
add_command(report)
add_command(repair)
add_command(restate)
add_command(maintain)
add_command(reset)
add_command(resume)
add_command(view)
add_command(config)


def run(load: Callable[[], Context]) -> int:
    """Run this process's command line.

    Args:
        load: returns the context. It is called when a command needs it.

    Returns:
        0, or 2 after an `OffloadError`, whose message was printed.
    """
    try:
        app(obj=load, prog_name="offload")
    except OffloadError as error:
        print(f"offload: {error}", file=sys.stderr)
        return EXIT_ERROR
    return 0
