"""The real Prometheus and Alertmanager with the exporter and a real ledger: alerts fire and end; and the dashboard.

Only settings accelerate time: scrapes come twice a second and alerts wait less. Rows of the past are made older.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.config.connections import PostgresConnection
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.rows import LedgerRow, Step, StepKind
from offload_core.ledger.session import LedgerConnection, connect
from offload_core.maintenance import TableStats
from offload_core.protocol.window import Cursor, Interval, Window
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit, WindowAudit
from offload_ops.audit.store import AuditStore
from offload_ops.tiers.row_hash import RowHash
from tests.support.stack.exporter import HealthPage, running_exporter
from tests.support.stack.prometheus import MONITORING, MonitoringStack, monitoring_stack, needs_prometheus
from tests.support.stack.servers import unique_name

pytestmark = [pytest.mark.integration, needs_prometheus]

RUN = "scheduled__2026-11-21T12:00:00+00:00"
MINUTE = timedelta(minutes=1)
TRADES, SILVER, DAILY = DEFAULT_TABLES[0].name, DEFAULT_TABLES[2].name, DEFAULT_TABLES[8].name
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "iceberg-offload.json").read_text())
QUERIES = [
    (panel["title"], target["expr"].replace("$pipeline", ".*"))
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
_EMPTY_WITHOUT_ISSUES = {"Errors by Type", "Failing and Halted Tables", "Firing Alerts"}


@dataclass(frozen=True)
class MonitoredPipeline:
    """A monitored pipeline of nine tables."""

    monitoring: MonitoringStack
    ledger: Ledger
    session: LedgerConnection
    postgres: PostgresConnection
    health: HealthPage
    pipeline: str

    def offload(self, table: str, rows: int = 10) -> LedgerRow:
        """Add a successful step of a table; without rows, an empty one."""
        self.ledger.initialize(table)
        watermark = self.ledger.watermark(table)
        upto = datetime.now(timezone.utc) - 6 * MINUTE
        step = Step(
            kind=StepKind.INCREMENT if rows else StepKind.EMPTY,
            cursor=Cursor(upto, 7) if rows else watermark.cursor,
            generation=0,
            source_uuid=uuid.UUID(int=1),
            run_id=RUN,
            attempt=1,
            window=Window(watermark.cursor, upto),
            rows=rows,
            snapshot_id=5 if rows else None,
            total_records=1000 if rows else None,
            seconds=5,
        )
        return self.ledger.append(watermark, step)

    def age(self, table: str, minutes: float) -> None:
        """Make all ledger rows of a table older."""
        self.session.execute(
            "UPDATE offload_watermarks SET created_at = created_at - %(by)s, "
            "last_successful_run = last_successful_run - %(by)s, window_upper = window_upper - %(by)s "
            "WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s",
            {"by": minutes * MINUTE, "pipeline": self.pipeline, "table": table},
        )

    def alerts(self, state: str) -> set[tuple[str, str]]:
        """The alerts in a state, by name (without its prefix) and table."""
        alerts = self.monitoring.alerts().items()
        return {(name.removeprefix("IcebergOffload"), table) for (name, table), shown in alerts if shown == state}

    def see(self, *expected: tuple[str, str], suppressed: tuple[tuple[str, str], ...] = ()) -> None:
        """Wait until exactly these alerts are active, and these are silenced by them."""
        active, silenced = set(expected), set(suppressed)
        self.monitoring.wait_for(
            lambda: self.alerts("active") == active and silenced <= self.alerts("suppressed"),
            f"{active} and {silenced}",
        )


@pytest.fixture(scope="module")
def monitored(
    ledger_database: PostgresConnection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MonitoredPipeline]:
    """Nine tables that were just offloaded, and their monitoring; all have new rows except the daily candles."""
    name = unique_name("monitored")
    with ExitStack() as stack:
        health = HealthPage()
        stack.callback(health.close)
        session = stack.enter_context(connect(ledger_database, "a test"))
        exporter = stack.enter_context(
            running_exporter(
                ledger_database,
                name,
                OFFLOAD_AIRFLOW_URL=health.url,
                OFFLOAD_SCHEDULER_SILENCE_SECONDS="1",
                OFFLOAD_EXPORTER_CACHE_SECONDS="0.1",
            )
        )
        ledger = Ledger(session, name)
        monitoring = stack.enter_context(
            monitoring_stack(exporter.url, tmp_path_factory.mktemp("monitoring"), speed=50)
        )
        tables = MonitoredPipeline(monitoring, ledger, session, ledger_database, health, name)
        for table in DEFAULT_TABLES:
            tables.offload(table.name)
        _age_the_daily_candles(tables)
        _audit_and_maintain(tables)
        # An increase shows only in a counter that was scraped before it.
        monitoring.wait_for(lambda: monitoring.query("offload_rows_total"), "the first scrape")
        for table in DEFAULT_TABLES:
            tables.offload(table.name, rows=0 if table.name == DAILY else 10)
        yield tables


def _age_the_daily_candles(monitored: MonitoredPipeline) -> None:
    """Their newest row is from the day before yesterday, as on every evening."""
    monitored.session.execute(
        "UPDATE offload_watermarks SET max_timestamp = max_timestamp - interval '40 hours' "
        "WHERE pipeline_id = %s AND table_name = %s",
        (monitored.pipeline, DAILY),
    )


def _audit_and_maintain(monitored: MonitoredPipeline) -> None:
    now = datetime.now(timezone.utc)
    same = RowHash(10, 1)
    hour = Interval(now - timedelta(hours=2), now - timedelta(hours=1))
    window = WindowAudit(hour, hour, same, same, Finding.EQUAL, Differences(), (), "", "print", ColdSource.DATA)
    audit = TableAudit(DEFAULT_TABLES[0], Cursor(now), None, 5, str(uuid.UUID(int=1)), now, 0.5, (window,))
    AuditStore(monitored.session, monitored.pipeline).append(audit, "audit-1")
    stats = TableStats(9, 4096, 8, 0, 30, 3, 12, 50.0, 2)
    log = MaintenanceLog(monitored.session, monitored.pipeline)
    log.append(TRADES, run_id="m", attempt=1, seconds=2, before=stats, after=stats, steps=[])


class TestTheDashboard:
    def test_every_query_of_every_panel_runs_and_those_that_should_find_something(self, monitored: MonitoredPipeline):
        for _, query in QUERIES:
            monitored.monitoring.query(query)

        for title in {title for title, _ in QUERIES} - _EMPTY_WITHOUT_ISSUES:
            queries = [query for of, query in QUERIES if of == title]
            monitored.monitoring.wait_for(lambda queries=queries: any(map(monitored.monitoring.query, queries)), title)

    def test_the_rate_is_that_of_the_rows_that_were_offloaded(self, monitored: MonitoredPipeline):
        (rate,) = (query for title, query in QUERIES if title == "Offload Rate")

        found = monitored.monitoring.wait_for(lambda: monitored.monitoring.query(f"{rate} > 0"), "a rate")

        assert DAILY not in {sample["metric"]["table"] for sample in found}

    def test_it_has_the_panels_and_the_address_that_people_know(self):
        titles = {panel["id"]: panel["title"] for panel in DASHBOARD["panels"]}

        assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("iceberg-offload", "Iceberg Offload Pipeline")
        assert (titles[1], titles[4]) == ("Offload Lag", "Offload Rate")
        assert len(titles) == len(DASHBOARD["panels"])

    def test_the_lag_gauge_is_yellow_from_20_and_red_above_30_minutes(self):
        gauge = next(panel for panel in DASHBOARD["panels"] if panel["id"] == 1)
        steps = gauge["fieldConfig"]["defaults"]["thresholds"]["steps"]

        def color(minutes: float) -> str:
            return [step["color"] for step in steps if step["value"] is None or minutes >= step["value"]][-1]

        assert gauge["type"] == "gauge"
        assert [color(minutes) for minutes in (19.9, 20, 30, 30.1)] == ["green", "yellow", "yellow", "red"]

    def test_every_metric_that_it_reads_is_one_that_the_exporter_has(self, exported_names: set[str]):
        read = {name for _, query in QUERIES for name in re.findall(r"\b(?:offload|watermark)_[a-z_]+\b", query)}

        assert read <= exported_names


class TestAlerts:
    @pytest.fixture(autouse=True)
    def quiet(self, monitored: MonitoredPipeline) -> None:
        """No alert is active before the test begins: quiet tables and daily candles cause none."""
        monitored.see()

    def test_a_halted_table_is_alerted_until_it_is_resumed(self, monitored: MonitoredPipeline):
        monitored.ledger.record_failure(SILVER, "source_replaced", "Created again.", run_id=RUN, attempt=1, halt=True)
        monitored.age(SILVER, 40)

        monitored.see(("TableHalted", SILVER), suppressed=(("LagCritical", SILVER),))

        monitored.ledger.resume(SILVER)
        monitored.offload(SILVER)
        monitored.see()

    def test_lost_rows_raise_one_alert(self, monitored: MonitoredPipeline):
        monitored.ledger.record_failure(TRADES, "cold_rows_lost", "Fewer.", run_id=RUN, attempt=1, halt=True)

        monitored.see(("DataLoss", TRADES), suppressed=(("TableHalted", TRADES),))

        monitored.ledger.resume(TRADES)
        monitored.offload(TRADES)
        monitored.see()

    def test_three_failures_are_alerted_until_the_next_success(self, monitored: MonitoredPipeline):
        for attempt in (1, 2, 3):
            monitored.ledger.record_failure(TRADES, "clickhouse_connection", "Refused.", run_id=RUN, attempt=attempt)

        monitored.see(("ConsecutiveFailures", TRADES))
        errors = monitored.monitoring.query('sum(increase(offload_errors_total{type="clickhouse_connection"}[5m])) > 0')

        assert errors
        monitored.offload(TRADES)
        monitored.see()

    def test_a_stopped_scheduler_is_alerted_and_the_lag_that_follows_is_not(self, monitored: MonitoredPipeline):
        monitored.health.stop_the_heart()
        monitored.see(("SchedulerDown", ""))
        for table in (TRADES, DAILY):
            monitored.age(table, 35)
        late = (("LagCritical", TRADES), ("LagCritical", DAILY))
        monitored.see(("SchedulerDown", ""), suppressed=late)
        assert monitored.monitoring.query(f'offload_lag_minutes{{table="{TRADES}"}} > 34')

        monitored.health.beat_again()
        monitored.see(*late)

        monitored.offload(TRADES)
        monitored.offload(DAILY, rows=0)
        monitored.see()

    def test_lag_is_alerted_at_20_and_at_30_minutes_each_level_once(self, monitored: MonitoredPipeline):
        monitored.age(TRADES, 22)
        monitored.see(("LagElevated", TRADES))

        monitored.age(TRADES, 10)
        monitored.see(("LagCritical", TRADES))

        monitored.age(TRADES, 35)
        monitored.see(("LagCritical", TRADES), ("WatermarkStale", TRADES))
        monitored.offload(TRADES)
        monitored.see()

    def test_an_unreadable_ledger_is_alerted_and_ends_no_other_alert(self, monitored: MonitoredPipeline):
        monitored.age(TRADES, 35)
        monitored.see(("LagCritical", TRADES))

        with _unreadable_ledger(monitored):
            monitored.see(("LedgerDown", ""), suppressed=(("LagCritical", TRADES),))

        monitored.see(("LagCritical", TRADES))
        monitored.offload(TRADES)
        monitored.see()

    def test_a_running_cycle_is_alerted_once_it_is_too_slow(self, monitored: MonitoredPipeline):
        job = f"offload {TRADES} {RUN} try 1"
        with connect(monitored.postgres, job), _begun_minutes_ago(monitored, 6):
            monitored.see(("CycleSlow", ""))
        with connect(monitored.postgres, job), _begun_minutes_ago(monitored, 9), _begun_minutes_ago(monitored, 12):
            monitored.see(("CycleTooSlow", ""), suppressed=(("CycleSlow", ""),))

        monitored.see()


@contextmanager
def _unreadable_ledger(monitored: MonitoredPipeline) -> Iterator[None]:
    monitored.session.execute("ALTER TABLE offload_watermarks RENAME TO offload_watermarks_renamed")
    try:
        yield
    finally:
        monitored.session.execute("ALTER TABLE offload_watermarks_renamed RENAME TO offload_watermarks")


@contextmanager
def _begun_minutes_ago(monitored: MonitoredPipeline, minutes: float) -> Iterator[None]:
    """A row of the cycle's first table, written when the cycle began."""
    at = datetime.now(timezone.utc) - minutes * MINUTE
    query = (
        "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp, status, kind, run_id, created_at, "
        "last_successful_run) VALUES (%s, 'first_table', now(), 'failed', 'failure', %s, %s, now()) RETURNING id"
    )
    row = monitored.session.execute(query, (monitored.pipeline, RUN, at)).fetchone()
    try:
        yield
    finally:
        assert row is not None
        monitored.session.execute("DELETE FROM offload_watermarks WHERE id = %s", (row["id"],))
