"""`make demo`: generated trades go through a real ClickHouse, Airflow and Spark into Iceberg, and are then compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from rich import box
from rich.console import Console
from rich.table import Table

from devstack.stack.airflow_api import AirflowApi, DagRun
from devstack.stack.airflow_config import ADMIN
from devstack.stack.environment import exports
from devstack.stack.errors import DemoFailedError
from devstack.stack.stack import Stack
from install.airflow_version import AIRFLOW_2

DAG_ID = "iceberg_offload"
HISTORY = timedelta(hours=50)
"""Long enough to include one whole day, so that there are daily candles."""
BUFFER = timedelta(minutes=5)
PERIOD = timedelta(minutes=15)
_RUN_SECONDS = 600.0
_PARSE_SECONDS = 120.0
_SCHEDULER_SECONDS = 10.0


@dataclass(frozen=True)
class TableComparison:
    """One line of the final table; times are UTC, `seconds` is the offload's total duration in both runs."""

    table: str
    hot_rows: int
    cold_rows: int
    watermark: str
    seconds: float
    is_equal: bool


class Demo:
    """One demonstration on a stack, which keeps running afterwards."""

    def __init__(self, stack: Stack, console: Console, rows: int) -> None:
        """Create the object; nothing runs yet. `rows` is the number of trades per exchange in the history."""
        self._stack = stack
        self._console = console
        self._rows = rows
        self._environ = {**os.environ, **exports(stack.layout)}

    def run(self) -> bool:
        """Run the demonstration and print its result; return whether every table equals ClickHouse's."""
        with self._step("Starting PostgreSQL, ClickHouse and Airflow"):
            self._stack.up(lambda line: self._console.print(f"  {line}"), airflow=True)
        with self._step("Creating hot tier, ledger and Iceberg tables"):
            self._offload("init", "--hot-tier")
        api = self._api()
        with self._step("Loading a history of trades"):
            self._load(self._rows, until=_last_quarter(_now()) - BUFFER)
        with self._step("First run of the DAG, by the scheduler"):
            api.wait_for_dag(DAG_ID, _PARSE_SECONDS)
            first = self._scheduled_or_triggered(api)
            self._watch(api, first)
        with self._step("Fresh trades arrive"):
            self._load(max(self._rows // 20, 1), until=_now() - BUFFER)
        with self._step("Second run of the DAG"):
            self._watch(api, api.trigger(DAG_ID))
        with self._step("Comparing both tiers, by count and hash"):
            results = self._results()
        self._show(results)
        return all(result.is_equal and result.cold_rows for result in results)

    def _api(self) -> AirflowApi:
        airflow = self._stack.airflow
        return AirflowApi(
            f"http://127.0.0.1:{airflow.port}", ADMIN, airflow.password_file.read_text().strip(), airflow.version
        )

    def _scheduled_or_triggered(self, api: AirflowApi) -> str:
        """Return the id of the run to watch.

        Unpausing the DAG makes the scheduler run the last interval; if it does not, trigger a manual run.
        """
        before = api.newest_run(DAG_ID)
        if api.unpause(DAG_ID):
            deadline = time.monotonic() + _SCHEDULER_SECONDS
            while time.monotonic() < deadline:
                run_id = api.newest_run(DAG_ID)
                if run_id is not None and run_id != before:
                    return run_id
                time.sleep(0.3)
        return api.trigger(DAG_ID)

    def _watch(self, api: AirflowApi, run_id: str) -> None:
        run = DagRun(run_id, "queued", 0, 0)
        with self._console.status("") as line:
            for run in api.follow(DAG_ID, run_id, _RUN_SECONDS):
                line.update(f"{run.run_id}: {run.state}, {run.done} of {run.tasks} tasks")
        self._console.print(f"  {run.run_id}: {run.state}, {run.done} of {run.tasks} tasks")
        if run.state != "success":
            raise DemoFailedError(f"The run {run_id} ended as {run.state}. Inspect it in Airflow, or see make logs.")

    def _load(self, rows: int, until: datetime) -> None:
        """Insert generated trades that are newer than everything that runs have read, so that none is late."""
        start = max(self._read_until(), until - HISTORY)
        if start >= until:
            until = start + timedelta(seconds=1)
            wait = (until + BUFFER - _now()).total_seconds()
            if wait > 0:
                time.sleep(wait)
        feed = [str(self._stack.layout.python("devstack")), "-m", "devstack.market_feed", "history", "--json"]
        span = ["--from", start.isoformat(), "--to", until.isoformat()]
        summary = self._command([*feed, *span, "--rows", str(rows), "--seed", "7"])
        inserted = json.loads(summary.splitlines()[-1])
        self._console.print(f"  {inserted['rows']:,} trades from {start:%m-%d %H:%M:%S} to {until:%m-%d %H:%M:%S} UTC")

    def _read_until(self) -> datetime:
        """The newest time (UTC) up to which a run has read any table; 1970 before the first run."""
        ends = [
            row["window_upper"]
            for name in self._tables()
            for row in json.loads(self._offload("history", name, "--json"))
            if row["window_upper"]
        ]
        return max(map(datetime.fromisoformat, ends), default=datetime.fromtimestamp(0, timezone.utc))

    def _tables(self) -> list[str]:
        return [row["table"] for row in json.loads(self._offload("status", "--json"))]

    def _results(self) -> list[TableComparison]:
        comparisons = []
        for row in json.loads(self._offload("verify", "--json", may_differ=True)):
            steps = json.loads(self._offload("history", row["table"], "--json"))
            seconds = sum(step["seconds"] or 0 for step in steps)
            is_equal = row["verdict"] == "equal"
            watermark = f"{datetime.fromisoformat(row['watermark']):%Y-%m-%d %H:%M:%S}"
            comparisons.append(
                TableComparison(row["table"], row["hot_rows"], row["cold_rows"], watermark, seconds, is_equal)
            )
        return comparisons

    def _show(self, results: list[TableComparison]) -> None:
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("table", "rows in ClickHouse", "rows in Iceberg", "watermark (UTC)", "seconds", "verdict"):
            table.add_column(name, no_wrap=True, justify="right" if "rows" in name or name == "seconds" else "left")
        for result in results:
            verdict = "[green]equal[/green]" if result.is_equal else "[red]DIFFERENT[/red]"
            numbers = (f"{result.hot_rows:,}", f"{result.cold_rows:,}", result.watermark, f"{result.seconds:.1f}")
            table.add_row(result.table, *numbers, verdict)
        wide = Console(width=max(self._console.width, 110), highlight=False)
        wide.print(table)
        airflow = self._stack.airflow
        wide.print(
            f"Airflow  http://127.0.0.1:{airflow.port}/dags/{DAG_ID}{'/grid' if airflow.version is AIRFLOW_2 else ''}"
        )
        password = airflow.password_file.read_text().strip() if sys.stdout.isatty() else f"in {airflow.password_file}"
        wide.print(f"Metrics  {self._stack.exporter.url or 'none, the exporter is not running'}")
        wide.print(f"Login    {ADMIN}, password {password}", soft_wrap=True)
        wide.print('The stack is left running: make status, make down. For a shell beside it: eval "$(make -s env)"')

    def _offload(self, *arguments: str, may_differ: bool = False) -> str:
        command = [str(self._stack.layout.checkout / "bin" / "offload"), *arguments]
        return self._command(command, allowed=(0, 1) if may_differ else (0,))

    def _command(self, command: list[str], allowed: tuple[int, ...] = (0,)) -> str:
        """Run one of the project's commands and return its output."""
        python_path = f"{self._stack.layout.checkout}{os.pathsep}{self._stack.layout.checkout / 'plugins'}"
        result = subprocess.run(
            command, env={**self._environ, "PYTHONPATH": python_path}, capture_output=True, text=True, check=False
        )
        if result.returncode not in allowed:
            raise DemoFailedError(
                f"{' '.join(command)} failed. Fix the cause that it names:\n{result.stdout}{result.stderr}"
            )
        return result.stdout

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        self._console.print(f"[bold]{title}[/bold] …")
        start = time.monotonic()
        yield
        self._console.print(f"  done in {time.monotonic() - start:.1f} s", style="dim")


def _last_quarter(moment: datetime) -> datetime:
    """The end of the last finished interval."""
    return moment - (moment - datetime.fromtimestamp(0, timezone.utc)) % PERIOD


def _now() -> datetime:
    return datetime.now(timezone.utc)
