"""The whole stack with everything that watches it, in which time runs faster by its settings: 2 minutes are 15."""

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
from devstack.stack.processes import Part
from offload_core.config.lag import LagLevel, LagMinutes
from offload_core.config.tables import DEFAULT_TABLES
from tests.support.checkout import CHECKOUT
from tests.support.fakes.mail_server import Mail, MailServer, mail_server
from tests.support.stack.airflow_stack import DAG_ID, AirflowStack, started_stack
from tests.support.stack.prometheus import Watch, watching

SPEED = float(os.environ.get("OFFLOAD_DRILL_SPEED", "7.5"))
"""How much faster time runs: a cycle every two minutes is the fastest that Airflow's cron and real Spark jobs allow; 5 if busy."""
FED = ("bronze_trades_binance", "silver_trades", "gold_ohlcv_1m")
QUIET = ("bronze_trades_kraken", "gold_ohlcv_1d")
"""Nobody trades there today, and yesterday's candle is there already."""
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
"""Nobody else shall take the port of a server that is down for a while."""
_LOOK = 60.0
"""Seconds between two looks of the freshness DAG: a crontab knows no seconds."""
_TASK = 45.0
"""Seconds that a task may need on a busy machine until it has mailed."""


@dataclass
class Sight:
    """One thing that was seen in an outage: what, and how many seconds after the outage began."""

    what: str
    seconds: float


@dataclass
class Drill:
    """The stack, what watches it, and what was seen.

    Attributes:
        exporter: the exporter's address.
        began: when the outage that is under way began, seconds since the epoch.
        lag_zero: when each table was last offloaded before it.
        sights: what was seen of it.
    """

    stack: AirflowStack
    mails: MailServer
    watch: Watch
    exporter: str
    began: float = 0.0
    lag_zero: dict[str, float] = field(default_factory=dict)
    sights: list[Sight] = field(default_factory=list)
    first_mail: int = 0

    def metric(self, name: str) -> dict[str, float]:
        """What Prometheus has of a metric, by table."""
        return {sample["metric"].get("table", ""): float(sample["value"][1]) for sample in self.watch.query(name)}

    def all_is_well(self) -> bool:
        """Whether every table is in time and no alert is left."""
        lag = self.metric("offload_lag_minutes")
        in_time = set(lag) == set(TABLES) and max(lag.values()) < LEVELS.warning
        return in_time and not self.watch.alerts() and not any(self.metric("offload_consecutive_failures").values())

    def wait_until_all_is_well(self, seconds: float = 600) -> None:
        """Wait for two looks of the freshness DAG after everything is fine, so that whatever is to be told has been told."""
        self.watch.wait_for(self.all_is_well, "health", seconds)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """An outage, from health to health; mails and alerts of it are counted from here."""
        self.wait_until_all_is_well()
        self.first_mail, self.began, self.sights = len(self.mails.mails), time.time(), []
        self.lag_zero = self.metric("offload_last_success_timestamp")
        yield

    def alert(self, name: str, *tables: str, seconds: float, since: float | None = None) -> None:
        """See an alert become active for these tables (none: for the pipeline) within so many seconds."""
        wanted = {(f"IcebergOffload{name}", table) for table in tables or ("",)}

        def active() -> bool:
            found = self.watch.alerts()
            return all(found.get(key) == "active" for key in wanted)

        self.watch.wait_for(active, f"{name} of {tables}", self._left(seconds, since))
        self._saw(f"alert {name}", max(self.watch.starts(key) for key in wanted))

    def alert_is_over(self, name: str, seconds: float, since: float | None = None) -> None:
        """See an alert end, for all tables."""

        def gone() -> bool:
            return not any(key[0] == f"IcebergOffload{name}" for key in self.watch.alerts())

        self.watch.wait_for(gone, f"{name} to end", self._left(seconds, since))
        self._saw(f"alert {name} over", time.time())

    def mail(self, words: str, to: str, seconds: float, since: float | None = None) -> str:
        """See a mail with these words in its subject arrive at an address; its text."""

        def arrived() -> Mail | None:
            new = self.mails.mails[self.first_mail :]
            return next((mail for mail in new if words in mail.message["Subject"] and to in mail.recipients), None)

        found = self.watch.wait_for(arrived, f"a mail {words!r} to {to}", self._left(seconds, since))
        self._saw(f"mail {found.message['Subject']}", found.arrived)
        content: str = found.part("text/plain").get_content()
        return content

    def lag_mail(self, level: LagLevel, to: str = OPS) -> str:
        """See the mail about a level within the time that it promises: when the first table has crossed it, at the next look."""
        crossed = min(self.lag_zero.values()) + LEVELS.bound(level).total_seconds()
        return self.mail(f"{level.value}: ", to, seconds=_LOOK + _TASK, since=crossed)

    def lag_alert(self, level: LagLevel, name: str, *tables: str, wait: float) -> None:
        """See the alert about a level for these tables, at most `wait` and a few seconds after the last of them has crossed it."""
        last = max(self.lag_zero[table] for table in tables) + LEVELS.bound(level).total_seconds()
        self.alert(name, *tables, seconds=wait + 15, since=last)

    def is_over(self, alert: str, subject: str) -> None:
        """See the alert end and the mail about the end arrive, after the cycle that ends it."""
        self.alert_is_over(alert, seconds=600)
        self.mail(subject, OPS, seconds=_LOOK + _TASK + 60)

    def alerts_ever(self) -> set[str]:
        """The alerts that are on now, or were for a moment, since Prometheus began."""
        query = 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))'
        return {sample["metric"]["alertname"] for sample in self.watch.query(query)}

    def rows(self, table: str) -> float:
        """How many rows of a table the ledger has counted."""
        return self.metric("offload_rows_total").get(table, 0.0)

    def is_offloading(self, table: str) -> bool:
        """Whether a Spark job of the table is at work."""
        run_id = self.stack.api.newest_run(DAG_ID)
        states = self.stack.api.task_states(DAG_ID, run_id) if run_id else {}
        return any(state == "running" for task, state in states.items() if task.endswith(f".offload_{table}"))

    def subjects(self) -> list[str]:
        """The subjects of what Airflow has mailed to the team since the outage began."""
        return [
            str(mail.message["Subject"]).partition("] ")[2]
            for mail in self.mails.mails[self.first_mail :]
            if OPS in mail.recipients
        ]

    def _left(self, seconds: float, since: float | None) -> float:
        return max((since or time.time()) + seconds - time.time(), 1)

    def _saw(self, what: str, moment: float) -> None:
        self.sights.append(Sight(what, moment - self.began))

    def delete_cold_rows(self, table: str) -> None:
        """Somebody deletes every row of an Iceberg table, with pyiceberg."""
        iceberg = self.stack.connections.iceberg
        login = f"{iceberg.user}:{quote(iceberg.password.get_secret_value())}"
        settings = f"PYICEBERG_CATALOG__{iceberg.name.upper()}__"
        catalog = {
            f"{settings}TYPE": "sql",
            f"{settings}URI": f"postgresql+psycopg://{login}@{iceberg.uri.partition('://')[2]}",
            f"{settings}WAREHOUSE": iceberg.warehouse,
        }
        script = f"from pyiceberg.catalog import load_catalog; load_catalog('{iceberg.name}').load_table('cold.{table}').delete()"
        readers = self.stack.layout.python("readers")
        subprocess.run([str(readers), "-c", script], env={**self.stack.environ, **catalog}, check=True)

    def process(self, part: str) -> psutil.Process:
        """A part's main process."""
        process = Part(self.stack.layout, part).process()
        assert process is not None
        return process

    def end(self, part: str) -> None:
        """Let a part of the stack end, as its service manager would."""
        process = self.process(part)
        process.terminate()
        process.wait(timeout=60)

    def repair(self) -> None:
        """`make up`: start what does not run."""
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
def drill(home: Path) -> Iterator[Drill]:
    """The stack at work with five tables, three of them fed, and all that watches it; ended at the end."""
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
        (home / "watch").mkdir()
        exporter = Part(stack.layout, "exporter").ports()["exporter"]
        url = f"http://{LOOPBACK}:{exporter}"
        watch = closing.enter_context(watching(url, home / "watch", SPEED, mail_port=mails.port, scrape_seconds=1))
        for dag_id in (DAG_ID, FRESHNESS):
            stack.api.unpause(dag_id)
        yield Drill(stack, mails, watch, url)


@contextmanager
def fed(stack: AirflowStack, rate: float = 5.0) -> Iterator[None]:
    """Trades come in meanwhile."""
    command = [str(stack.layout.python("devstack")), "-m", "devstack.market_feed", "live", "--rate", str(rate)]
    with subprocess.Popen(
        [*command, "--exchange", "binance"], cwd=CHECKOUT, env=stack.environ, stdout=subprocess.DEVNULL
    ) as feed:
        try:
            yield
        finally:
            feed.terminate()
