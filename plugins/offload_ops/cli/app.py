"""The operator's command, `offload`: set up, look at, compare, repair, and correct the watermarks.

It talks to the servers directly and needs no running Airflow; beside a running one, each table's lock keeps the two apart. Tables are
named by their short names, which `offload status` lists. Whatever changes something can be tried with --dry-run, says how many rows it is
about, and asks first (--yes answers). Times are ISO 8601 with zone; everything shown is UTC.

Exit status: 0 done, or all is well; 1 both tiers differ, a check is red, or the answer to a question was no; 2 an error, whose message
says what to do.
"""

from __future__ import annotations

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

__all__ = ["EXIT_DIFFERENT", "EXIT_ERROR", "Context", "app", "run"]

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

app.command()(init)
app.command()(status)
app.command()(doctor)
app.command()(history)
app.command("verify")(verify_tables)
app.command()(audit)
app.command()(report)
app.command()(repair)
app.command()(restate)
app.command()(maintain)
app.command()(reset)
app.command()(resume)
app.command()(view)
app.command()(config)


def run(load: Callable[[], Context]) -> int:
    """Run this process's command line; `load` is called once a command needs its context.

    Returns:
        0; an `OffloadError` ends in its message and 2.
    """
    try:
        app(obj=load, prog_name="offload")
    except OffloadError as error:
        print(f"offload: {error}", file=sys.stderr)
        return EXIT_ERROR
    return 0
