"""The whole stack with its monitoring, in which time runs faster: its settings shorten 15 minutes to 2."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import psutil

from devstack.stack.ports import DEFAULTS, LOOPBACK
from devstack.stack.processes import StackPart
from offload_core.config.lag import LagLevel, LagMinutes
from offload_core.config.tables import DEFAULT_TABLES
from tests.support.checkout import CHECKOUT
from tests.support.fakes.mail_server import Mail, MailServer, mail_server
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack, started_stack
from tests.support.stack.prometheus import MonitoringStack, monitoring_stack

SPEED = float(os.environ.get("OFFLOAD_REHEARSAL_SPEED", "7.5"))
"""How much faster time runs. A cycle every two minutes is the fastest that cron and real Spark jobs allow.

On a busy machine, take 5.
"""
FED = ("bronze_trades_binance", "silver_trades", "gold_ohlcv_1m")
QUIET = ("bronze_trades_kraken", "gold_ohlcv_1d")
"""No trades arrive there today, and yesterday's candle is already offloaded."""
TABLES = tuple(table.name for table in DEFAULT_TABLES if table.name in {*FED, *QUIET})
OPS, PAGER = "ops@example.com", "pager@example.com"
FRESHNESS = "iceberg_offload_freshness"
LEVELS = LagMinutes(**{name: minutes / SPEED for name, minutes in LagMinutes()})
SETTINGS: dict[str, object] = {
    "schedule": f"*/{15 / SPEED:.0f} * * * *",
    "freshness_schedule": "* * * * *",
    "buffer_minutes": 5 / 60,
    "sla_minutes": 5 / SPEED,
    "lag_minutes": LEVELS.model_dump(),
    "alert_recipients": [OPS],
    "page_recipients": [PAGER],
}
_PORTS = {variable: str(port + 10_000) for variable, port in DEFAULTS.values()}
"""No other program must take the port of a server that is down for a while."""
_CHECK_SECONDS = 60.0
"""Seconds between two runs of the freshness DAG. Cron cannot do less than a minute."""
_MAIL_SECONDS = 45.0
"""Seconds that a task may take to send a mail on a busy machine."""


@dataclass
class Observation:
    """One event of an outage, and how many seconds after the start of the outage it happened."""

    what: str
    seconds: float


@dataclass
class Rehearsal:
    """The stack, its monitoring, and what was observed.

    Attributes:
        exporter: the exporter's address.
        began: when the current outage began, seconds since the epoch.
        lag_zero: when each table was last offloaded before the outage.
        observations: what has happened during the outage.
        first_mail: how many mails had arrived before the outage.
    """

    stack: AirflowStack
    mails: MailServer
    monitoring: MonitoringStack
    exporter: str
    began: float = 0.0
    lag_zero: dict[str, float] = field(default_factory=dict)
    observations: list[Observation] = field(default_factory=list)
    first_mail: int = 0

    def metric(self, name: str) -> dict[str, float]:
        """The values of a metric in Prometheus, by table."""
        return {sample["metric"].get("table", ""): float(sample["value"][1]) for sample in self.monitoring.query(name)}

    def is_healthy(self) -> bool:
        """Whether every table is on time and no alert is active."""
        lag = self.metric("offload_lag_minutes")
        on_time = set(lag) == set(TABLES) and max(lag.values()) < LEVELS.warning
        return (
            on_time and not self.monitoring.alerts() and not any(self.metric("offload_consecutive_failures").values())
        )

    def wait_until_healthy(self, seconds: float = 600) -> None:
        """Wait until every table is on time and no alert is active."""
        self.monitoring.wait_for(self.is_healthy, "health", seconds)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """An outage of a healthy stack. Only mails and alerts that follow belong to it."""
        self.wait_until_healthy()
        self.first_mail, self.began, self.observations = len(self.mails.mails), time.time(), []
        self.lag_zero = self.metric("offload_last_success_timestamp")
        yield

    def alert(self, name: str, *tables: str, seconds: float, since: float | None = None) -> None:
        """Wait for an alert to become active for these tables (none: for the pipeline), within so many seconds."""
        wanted = {(f"IcebergOffload{name}", table) for table in tables or ("",)}

        def active() -> bool:
            found = self.monitoring.alerts()
            return all(found.get(key) == "active" for key in wanted)

        self.monitoring.wait_for(active, f"{name} of {tables}", self._left(seconds, since))
        self._observe(f"alert {name}", max(self.monitoring.starts(key) for key in wanted))

    def alert_ends(self, name: str, seconds: float, since: float | None = None) -> None:
        """Wait for an alert to end for all tables."""

        def gone() -> bool:
            return not any(key[0] == f"IcebergOffload{name}" for key in self.monitoring.alerts())

        self.monitoring.wait_for(gone, f"{name} to end", self._left(seconds, since))
        self._observe(f"alert {name} over", time.time())

    def mail(self, words: str, to: str, seconds: float, since: float | None = None) -> str:
        """Wait for a mail to an address with these words in its subject. Returns its text."""

        def arrived() -> Mail | None:
            new = self.mails.mails[self.first_mail :]
            return next((mail for mail in new if words in mail.message["Subject"] and to in mail.recipients), None)

        found = self.monitoring.wait_for(arrived, f"a mail {words!r} to {to}", self._left(seconds, since))
        self._observe(f"mail {found.message['Subject']}", found.arrived)
        content: str = found.part("text/plain").get_content()
        return content

    def lag_mail(self, level: LagLevel, to: str = OPS) -> str:
        """Wait for the mail about a level, which the freshness DAG sends after the first table has crossed it."""
        crossed = min(self.lag_zero.values()) + LEVELS.bound(level).total_seconds()
        return self.mail(f"{level.value}: ", to, seconds=_CHECK_SECONDS + _MAIL_SECONDS, since=crossed)

    def lag_alert(self, level: LagLevel, name: str, *tables: str, wait: float) -> None:
        """Wait for the alert about a level, at most `wait` and a few seconds after the last table has crossed it."""
        last = max(self.lag_zero[table] for table in tables) + LEVELS.bound(level).total_seconds()
        self.alert(name, *tables, seconds=wait + 15, since=last)

    def ends(self, alert: str, subject: str) -> None:
        """Wait for the cycle that ends an alert, and for the mail about the end."""
        self.alert_ends(alert, seconds=600)
        self.mail(subject, OPS, seconds=_CHECK_SECONDS + _MAIL_SECONDS + 60)

    def alerts_ever(self) -> set[str]:
        """The alerts that are or were active since Prometheus started."""
        query = 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))'
        return {sample["metric"]["alertname"] for sample in self.monitoring.query(query)}

    def rows(self, table: str) -> float:
        """The number of rows of a table that the ledger has counted."""
        return self.metric("offload_rows_total").get(table, 0.0)

    def is_offloading(self, table: str) -> bool:
        """Whether a Spark job of the table is running."""
        run_id = self.stack.api.newest_run(DAG_ID)
        states = self.stack.api.task_states(DAG_ID, run_id) if run_id else {}
        return any(state == "running" for task, state in states.items() if task.endswith(f".offload_{table}"))

    def subjects(self) -> list[str]:
        """The subjects of the mails that Airflow has sent to the team since the outage began."""
        return [
            str(mail.message["Subject"]).partition("] ")[2]
            for mail in self.mails.mails[self.first_mail :]
            if OPS in mail.recipients
        ]

    def _left(self, seconds: float, since: float | None) -> float:
        return max((since or time.time()) + seconds - time.time(), 1)

    def _observe(self, what: str, moment: float) -> None:
        self.observations.append(Observation(what, moment - self.began))

    def delete_cold_rows(self, table: str) -> None:
        """Delete every row of an Iceberg table with pyiceberg, as somebody else would."""
        iceberg = self.stack.connections.iceberg
        login = f"{iceberg.user}:{quote(iceberg.password.get_secret_value())}"
        settings = f"PYICEBERG_CATALOG__{iceberg.name.upper()}__"
        catalog = {
            f"{settings}TYPE": "sql",
            f"{settings}URI": f"postgresql+psycopg://{login}@{iceberg.uri.partition('://')[2]}",
            f"{settings}WAREHOUSE": iceberg.warehouse,
        }
        load = f"load_catalog('{iceberg.name}').load_table('cold.{table}')"
        script = f"from pyiceberg.catalog import load_catalog; {load}.delete()"
        readers = self.stack.layout.python("readers")
        subprocess.run([str(readers), "-c", script], env={**self.stack.environ, **catalog}, check=True)

    def process(self, part: str) -> psutil.Process:
        """A part's main process."""
        process = StackPart(self.stack.layout, part).process()
        assert process is not None
        return process

    def stop(self, part: str) -> None:
        """Stop a part of the stack, as a service manager does."""
        process = self.process(part)
        process.terminate()
        process.wait(timeout=60)

    def repair(self) -> None:
        """Start what does not run, with `make up`."""
        result = subprocess.run(
            [str(self.stack.layout.python("devstack")), "-m", "devstack", "up", "--airflow"],
            cwd=CHECKOUT,
            env=self.stack.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr


@contextmanager
def rehearsal(home: Path) -> Iterator[Rehearsal]:
    """The running stack with five tables, three of which get trades, and its monitoring. It is stopped at the end."""
    entries = [table.model_dump(mode="json") for table in DEFAULT_TABLES if table.name in TABLES]
    with ExitStack() as closing:
        mails = closing.enter_context(mail_server())
        stack = closing.enter_context(
            started_stack(home / "stack", OFFLOAD_MAIL_SERVER=f"{LOOPBACK}:{mails.port}", **_PORTS)
        )
        stack.environ |= {"OFFLOAD_TABLES": json.dumps(entries), "OFFLOAD_SETTINGS": json.dumps(SETTINGS)}
        stack.api.set_variable("iceberg_offload_tables", json.dumps(entries))
        stack.api.set_variable("iceberg_offload_settings", json.dumps(SETTINGS))
        stack.api.wait_for_tasks(DAG_ID, 2 * len(TABLES) + 2, seconds=120)
        noon = (datetime.now(timezone.utc) - timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
        span = ["--from", noon.isoformat(), "--to", (noon + timedelta(minutes=20)).isoformat()]
        for exchange in ("binance", "kraken"):
            stack.feed("history", "--exchange", exchange, "--rows", "50", *span)
        (home / "monitoring").mkdir()
        exporter = StackPart(stack.layout, "exporter").ports()["exporter"]
        url = f"http://{LOOPBACK}:{exporter}"
        monitoring = closing.enter_context(
            monitoring_stack(url, home / "monitoring", SPEED, mail_port=mails.port, scrape_seconds=1)
        )
        for dag_id in (DAG_ID, FRESHNESS):
            stack.api.unpause(dag_id)
        yield Rehearsal(stack, mails, monitoring, url)


@contextmanager
def live_feed(stack: AirflowStack, rate: float = 5.0) -> Iterator[None]:
    """Let trades arrive while the block runs."""
    command = [str(stack.layout.python("devstack")), "-m", "devstack.market_feed", "live", "--rate", str(rate)]
    with subprocess.Popen(
        [*command, "--exchange", "binance"], cwd=CHECKOUT, env=stack.environ, stdout=subprocess.DEVNULL
    ) as feed:
        try:
            yield
        finally:
            feed.terminate()
