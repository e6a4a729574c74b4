"""The job's command line, both ways: Airflow's operator writes it, and `offload_generic.py` reads it.

Five arguments name the table and suffice for a run by hand. The others default to the shipped table of that name and to
the default settings. Secrets are never arguments.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from pydantic import ValidationError

from offload_core.config.json_text import explain
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES, TableConfig
from offload_core.errors import FixConfiguration
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import require_utc

_NO_SEQUENCE = "-"
"""Written for `--sequence-col` where a table has none, so that all five arguments are always given."""


@dataclass(frozen=True)
class JobArguments:
    """One run of one table.

    Attributes:
        table: the table.
        settings: the settings of the run.
        interval_start, interval_end: `start` and `end` of `plan_run`; with both None, the run goes up to ClickHouse's
            now.
        mode: what the run is for; the job does not know `verify`.
        run_id: Airflow's run id, or a name for a run by hand.
        attempt: number of the try, from 1.
    """

    table: TableConfig
    settings: Settings
    interval_end: datetime | None = None
    run_id: str = "by_hand"
    attempt: int = 1
    interval_start: datetime | None = None
    mode: RunMode = RunMode.OFFLOAD

    def to_argv(self) -> list[str]:
        """The arguments as `parse` reads them: the five, and what differs from the defaults."""
        table = self.table
        argv = ["--source-table", table.source, "--target-table", table.target, "--timestamp-col", table.timestamp_col]
        argv += ["--sequence-col", table.sequence_col or _NO_SEQUENCE, "--layer", table.layer.value]
        argv += ["--table-options", _compact(table.model_dump(mode="json", exclude=set(_FIVE)))]
        options = self.settings.model_dump(mode="json", exclude_defaults=True)
        if options:
            argv += ["--settings", _compact(options)]
        if self.mode is not RunMode.OFFLOAD:
            argv += ["--mode", self.mode.value]
        if self.interval_start is not None:
            argv += ["--interval-start", self.interval_start.isoformat()]
        if self.interval_end is not None:
            argv += ["--interval-end", self.interval_end.isoformat()]
        # With an equals sign, so that a run id may begin with a dash.
        return [*argv, f"--run-id={self.run_id}", "--attempt", str(self.attempt)]


_FIVE = ("source", "target", "timestamp_col", "sequence_col", "layer")


def parse(argv: Sequence[str]) -> JobArguments:
    """Read the job's command line.

    Raises:
        FixConfiguration: an argument is missing, unknown or wrong; the message names it.
    """
    given = _parser().parse_args(argv)
    five = {
        "source": given.source_table,
        "target": given.target_table,
        "timestamp_col": given.timestamp_col,
        "sequence_col": None if given.sequence_col in ("", _NO_SEQUENCE) else given.sequence_col,
        "layer": given.layer,
    }
    try:
        options = json.loads(given.table_options) if given.table_options else _shipped_options(given.target_table)
        if not isinstance(options, dict):
            raise ValueError("--table-options is not a JSON object")
        table = TableConfig.model_validate({**options, **five})
        settings = Settings.model_validate_json(given.settings)
        start = _moment(given.interval_start, "--interval-start")
        end = _moment(given.interval_end, "--interval-end")
    except ValidationError as error:
        raise FixConfiguration(
            f"The job's arguments are wrong: {explain(error)}.", "Correct the command line."
        ) from error
    except ValueError as error:
        raise FixConfiguration(f"The job's arguments are wrong: {error}.", "Correct the command line.") from error
    return JobArguments(table, settings, end, given.run_id, given.attempt, start, RunMode(given.mode))


def _moment(text: str, what: str) -> datetime | None:
    return require_utc(datetime.fromisoformat(text), what) if text else None


def _shipped_options(target: str) -> dict[str, object]:
    """The shipped configuration of a table without the five arguments; empty for a table that is not shipped."""
    known = next((table for table in DEFAULT_TABLES if table.target == target), None)
    return known.model_dump(mode="json", exclude=set(_FIVE)) if known else {}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FixConfiguration(f"The job's arguments are wrong: {message}.", "See `offload_generic.py --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="offload_generic.py", description="Offload one ClickHouse table's new rows to its Iceberg table."
    )
    parser.add_argument("--source-table", required=True, help="ClickHouse table, for example bronze_trades_binance")
    parser.add_argument("--target-table", required=True, help="Iceberg table, for example cold.bronze_trades_binance")
    parser.add_argument("--timestamp-col", required=True, help="column that orders the rows in time")
    parser.add_argument(
        "--sequence-col", required=True, help=f"column that orders rows of one timestamp, {_NO_SEQUENCE} for none"
    )
    parser.add_argument("--layer", required=True, choices=("bronze", "silver", "gold"))
    parser.add_argument(
        "--table-options", default="", help="JSON: the table's other fields (keys, write_mode, partition, ...)"
    )
    parser.add_argument("--settings", default="{}", help="JSON: settings that differ from the defaults")
    parser.add_argument(
        "--mode", default="offload", choices=[mode.value for mode in RunMode if mode is not RunMode.VERIFY]
    )
    parser.add_argument("--interval-start", default="", help="ISO 8601 with zone; default: the watermark")
    parser.add_argument("--interval-end", default="", help="ISO 8601 with zone; default: ClickHouse's now")
    parser.add_argument("--run-id", default=f"by_hand_{os.getpid()}", help="name of the run in marker, ledger and lock")
    parser.add_argument("--attempt", type=int, default=1, help="number of the try, from 1")
    return parser


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
