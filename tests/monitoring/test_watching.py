"""The real Prometheus and Alertmanager over the exporter and a real ledger: things break, are told, and are over; and the dashboard.

Time is accelerated by settings only: scrapes come twice a second, and what alerts wait for is short; rows of the past are old rows.
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
from offload_core.ledger.ledger import Ledger, LedgerRow, Step
from offload_core.ledger.maintenance_log import MaintenanceLog
from offload_core.ledger.session import LedgerConnection, connect
from offload_core.maintenance import Figures
from offload_core.protocol.window import Cursor, Interval, Window
from offload_ops.audit.model import ColdSource, Differences, Finding, TableAudit, WindowAudit
from offload_ops.audit.store import AuditStore
from offload_ops.tiers.row_hash import RowHash
from tests.support.stack.exporter import HealthPage, running_exporter
from tests.support.stack.prometheus import MONITORING, Watch, needs_prometheus, watching
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
_EMPTY_WHEN_ALL_IS_WELL = {"Errors by Type", "Failing and Halted Tables", "Firing Alerts"}


@dataclass(frozen=True)
class World:
    """A monitored pipeline of nine tables."""

    watch: Watch
    ledger: Ledger
    session: LedgerConnection
    postgres: PostgresConnection
    health: HealthPage
    pipeline: str

    def offload(self, table: str, rows: int = 10) -> LedgerRow:
        """One successful step of a table; without rows an empty one."""
        self.ledger.initialize(table)
        watermark = self.ledger.watermark(table)
        upto = datetime.now(timezone.utc) - 6 * MINUTE
        step = Step(
            kind="increment" if rows else "empty",
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
        """Let all that the ledger holds of a table be older."""
        self.session.execute(
            "UPDATE offload_watermarks SET created_at = created_at - %(by)s, last_successful_run = last_successful_run - %(by)s, "
            "window_upper = window_upper - %(by)s WHERE pipeline_id = %(pipeline)s AND table_name = %(table)s",
            {"by": minutes * MINUTE, "pipeline": self.pipeline, "table": table},
        )

    def alerts(self, state: str) -> set[tuple[str, str]]:
        """The alerts in a state, by name (without its prefix) and table."""
        found = self.watch.alerts()
        return {(name.removeprefix("IcebergOffload"), table) for (name, table), told in found.items() if told == state}

    def see(self, *expected: tuple[str, str], suppressed: tuple[tuple[str, str], ...] = ()) -> None:
        """Wait until exactly these alerts are active, and these are silenced by them."""
        wanted, silenced = set(expected), set(suppressed)
        self.watch.wait_for(
            lambda: self.alerts("active") == wanted and silenced <= self.alerts("suppressed"),
            f"{wanted} and {silenced}",
        )


@pytest.fixture(scope="module")
def world(ledger_database: PostgresConnection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Nine tables that were just offloaded, most with rows, the daily candles without, and all that watches them."""
    pipeline = unique_name("watched")
    with ExitStack() as stack:
        health = HealthPage()
        stack.callback(health.close)
        session = stack.enter_context(connect(ledger_database, "a test"))
        exporter = stack.enter_context(
            running_exporter(
                ledger_database,
                pipeline,
                OFFLOAD_AIRFLOW_URL=health.url,
                OFFLOAD_SCHEDULER_SILENCE_SECONDS="1",
                OFFLOAD_EXPORTER_CACHE_SECONDS="0.1",
            )
        )
        ledger = Ledger(session, pipeline)
        watch = stack.enter_context(watching(exporter.url, tmp_path_factory.mktemp("watch"), speed=50))
        made = World(watch, ledger, session, ledger_database, health, pipeline)
        for table in DEFAULT_TABLES:
            made.offload(table.name)
        _age_the_daily_candles(made)
        _audit_and_maintain(made)
        # An increase shows only in a counter that was scraped before it.
        watch.wait_for(lambda: watch.query("offload_rows_total"), "the first scrape")
        for table in DEFAULT_TABLES:
            made.offload(table.name, rows=0 if table.name == DAILY else 10)
        yield made


def _age_the_daily_candles(world: World) -> None:
    """Their newest row is of the day before yesterday, as it is every evening."""
    world.session.execute(
        "UPDATE offload_watermarks SET max_timestamp = max_timestamp - interval '40 hours' WHERE pipeline_id = %s AND table_name = %s",
        (world.pipeline, DAILY),
    )


def _audit_and_maintain(world: World) -> None:
    now = datetime.now(timezone.utc)
    same = RowHash(10, 1)
    hour = Interval(now - timedelta(hours=2), now - timedelta(hours=1))
    audited = WindowAudit(hour, hour, same, same, Finding.EQUAL, Differences(), (), "", "print", ColdSource.DATA)
    audit = TableAudit(DEFAULT_TABLES[0], Cursor(now), None, 5, str(uuid.UUID(int=1)), now, 0.5, (audited,))
    AuditStore(world.session, world.pipeline).append(audit, "audit-1")
    figures = Figures(9, 4096, 8, 0, 30, 3, 12, 50.0, 2)
    log = MaintenanceLog(world.session, world.pipeline)
    log.append(TRADES, run_id="m", attempt=1, seconds=2, before=figures, after=figures, steps=[])


class TestTheDashboard:
    def test_every_query_of_every_panel_runs_and_those_that_should_find_something(self, world: World):
        for _, query in QUERIES:
            world.watch.query(query)

        for title in {title for title, _ in QUERIES} - _EMPTY_WHEN_ALL_IS_WELL:
            queries = [query for of, query in QUERIES if of == title]
            world.watch.wait_for(lambda queries=queries: any(map(world.watch.query, queries)), title)

    def test_the_rate_is_that_of_the_rows_that_were_offloaded(self, world: World):
        (rate,) = (query for title, query in QUERIES if title == "Offload Rate")

        found = world.watch.wait_for(lambda: world.watch.query(f"{rate} > 0"), "a rate")

        assert DAILY not in {sample["metric"]["table"] for sample in found}

    def test_it_has_the_panels_and_the_address_that_people_know(self):
        titles = {panel["id"]: panel["title"] for panel in DASHBOARD["panels"]}

        assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("iceberg-offload", "Iceberg Offload Pipeline")
        assert (titles[1], titles[4]) == ("Offload Lag", "Offload Rate")
        assert len(titles) == len(DASHBOARD["panels"])

    def test_the_lag_gauge_is_yellow_from_20_and_red_above_30_minutes(self):
        gauge = next(panel for panel in DASHBOARD["panels"] if panel["id"] == 1)
        steps = gauge["fieldConfig"]["defaults"]["thresholds"]["steps"]

        def colour(minutes: float) -> str:
            return [step["color"] for step in steps if step["value"] is None or minutes >= step["value"]][-1]

        assert gauge["type"] == "gauge"
        assert [colour(minutes) for minutes in (19.9, 20, 30, 30.1)] == ["green", "yellow", "yellow", "red"]

    def test_every_metric_that_it_reads_is_one_that_the_exporter_has(self, exported_names: set[str]):
        read = {name for _, query in QUERIES for name in re.findall(r"\b(?:offload|watermark)_[a-z_]+\b", query)}

        assert read <= exported_names


class TestAlerts:
    @pytest.fixture(autouse=True)
    def quiet(self, world: World) -> None:
        """Nothing is told before the test begins: quiet tables and daily candles alarm nobody."""
        world.see()

    def test_a_halted_table_is_told_until_it_is_resumed(self, world: World):
        world.ledger.record_failure(SILVER, "source_replaced", "Made anew.", run_id=RUN, attempt=1, halt=True)
        world.age(SILVER, 40)

        world.see(("TableHalted", SILVER), suppressed=(("LagCritical", SILVER),))

        world.ledger.resume(SILVER)
        world.offload(SILVER)
        world.see()

    def test_lost_rows_are_told_once_as_what_they_are(self, world: World):
        world.ledger.record_failure(TRADES, "cold_rows_lost", "Fewer.", run_id=RUN, attempt=1, halt=True)

        world.see(("DataLoss", TRADES), suppressed=(("TableHalted", TRADES),))

        world.ledger.resume(TRADES)
        world.offload(TRADES)
        world.see()

    def test_three_failures_are_told_until_the_next_success(self, world: World):
        for attempt in (1, 2, 3):
            world.ledger.record_failure(TRADES, "clickhouse_connection", "Refused.", run_id=RUN, attempt=attempt)

        world.see(("ConsecutiveFailures", TRADES))
        errors = world.watch.query('sum(increase(offload_errors_total{type="clickhouse_connection"}[5m])) > 0')

        assert errors
        world.offload(TRADES)
        world.see()

    def test_a_scheduler_that_stops_is_told_and_the_lag_that_follows_is_not(self, world: World):
        world.health.stop_the_heart()
        world.see(("SchedulerDown", ""))
        for table in (TRADES, DAILY):
            world.age(table, 35)
        late = (("LagCritical", TRADES), ("LagCritical", DAILY))
        world.see(("SchedulerDown", ""), suppressed=late)
        assert world.watch.query(f'offload_lag_minutes{{table="{TRADES}"}} > 34')

        world.health.beat_again()
        world.see(*late)

        world.offload(TRADES)
        world.offload(DAILY, rows=0)
        world.see()

    def test_lag_is_told_at_20_and_at_30_minutes_each_level_once(self, world: World):
        world.age(TRADES, 22)
        world.see(("LagElevated", TRADES))

        world.age(TRADES, 10)
        world.see(("LagCritical", TRADES))

        world.age(TRADES, 35)
        world.see(("LagCritical", TRADES), ("WatermarkStale", TRADES))
        world.offload(TRADES)
        world.see()

    def test_a_ledger_that_can_not_be_read_is_told_and_ends_no_other_alert(self, world: World):
        world.age(TRADES, 35)
        world.see(("LagCritical", TRADES))

        with _ledger_away(world):
            world.see(("LedgerDown", ""), suppressed=(("LagCritical", TRADES),))

        world.see(("LagCritical", TRADES))
        world.offload(TRADES)
        world.see()

    def test_a_cycle_that_is_still_at_work_is_told_once_it_is_too_slow(self, world: World):
        at_work = f"offload {TRADES} {RUN} try 1"
        with connect(world.postgres, at_work), _begun_minutes_ago(world, 6):
            world.see(("CycleSlow", ""))
        with connect(world.postgres, at_work), _begun_minutes_ago(world, 9), _begun_minutes_ago(world, 12):
            world.see(("CycleTooSlow", ""), suppressed=(("CycleSlow", ""),))

        world.see()


@contextmanager
def _ledger_away(world: World) -> Iterator[None]:
    world.session.execute("ALTER TABLE offload_watermarks RENAME TO offload_watermarks_away")
    try:
        yield
    finally:
        world.session.execute("ALTER TABLE offload_watermarks_away RENAME TO offload_watermarks")


@contextmanager
def _begun_minutes_ago(world: World, minutes: float) -> Iterator[None]:
    """A row of the cycle's first table, from when the cycle began."""
    at = datetime.now(timezone.utc) - minutes * MINUTE
    query = (
        "INSERT INTO offload_watermarks (pipeline_id, table_name, max_timestamp, status, kind, run_id, created_at, last_successful_run) "
        "VALUES (%s, 'first_table', now(), 'failed', 'failure', %s, %s, now()) RETURNING id"
    )
    row = world.session.execute(query, (world.pipeline, RUN, at)).fetchone()
    try:
        yield
    finally:
        assert row is not None
        world.session.execute("DELETE FROM offload_watermarks WHERE id = %s", (row["id"],))
