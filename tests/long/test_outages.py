"""Outages of the whole stack: metrics, alerts and mails agree, arrive within the promised time, and end.

Airflow's scheduler, Spark, ClickHouse, PostgreSQL, Prometheus, Alertmanager and the mail server are real. Only settings
shorten fifteen minutes to two (tests/support/stack/rehearsal.py). The observations are printed; docs/alerts.md has them
as a table.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from offload_core.config.lag import LagLevel
from tests.support.reaper import temporary_folder
from tests.support.stack.airflow_stack import DAG_ID
from tests.support.stack.prometheus import needs_prometheus
from tests.support.stack.rehearsal import FED, LEVELS, OPS, PAGER, SPEED, TABLES, Rehearsal, live_feed, rehearsal

pytestmark = [pytest.mark.integration, pytest.mark.full, needs_prometheus]

BRONZE, SILVER, _ = FED
CYCLES = int(os.environ.get("OFFLOAD_HEALTHY_CYCLES", "96"))
MINUTE = 60 / SPEED
"""The real length, in seconds, of what is a minute in production."""
ON_CALL, TEAM = "on-call@example.com", "platform-team@example.com"


@pytest.fixture(scope="module")
def whole() -> Iterator[Rehearsal]:
    """The whole stack, healthy."""
    with temporary_folder("rehearsal") as folder, rehearsal(folder) as found:
        found.wait_until_healthy()
        yield found


@pytest.fixture(autouse=True)
def observations(
    whole: Rehearsal, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Prints the observations of a test."""
    whole.observations = []
    yield
    with capsys.disabled():
        print(f"\n{request.node.name}")
        for observation in sorted(whole.observations, key=lambda observation: observation.seconds):
            print(f"  {observation.seconds:6.0f} s = {observation.seconds * SPEED / 60:5.1f} min  {observation.what}")


def test_healthy_cycles_alarm_nobody(whole: Rehearsal) -> None:
    whole.wait_until_healthy()
    before = len(whole.mails.mails)
    runs = rows = 0
    with live_feed(whole.stack):
        while runs < CYCLES:
            run, states = whole.stack.finished(whole.stack.api.trigger(DAG_ID))
            assert run.state == "success", states
            runs += 1
            rows += states["bronze.offload_bronze_trades_binance"] == "success"
            assert whole.alerts_ever() == set(), f"after {runs} cycles"
            assert len(whole.mails.mails) == before, whole.mails.mails[-1].message["Subject"]
    assert rows > CYCLES / 2, "most cycles had something to do"


def test_a_paused_dag(whole: Rehearsal) -> None:
    with whole.outage():
        whole.stack.api.pause(DAG_ID)
        whole.lag_alert(LagLevel.WARNING, "LagElevated", *TABLES, wait=MINUTE)
        assert f"The DAG {DAG_ID} is paused." in whole.lag_mail(LagLevel.WARNING)
        whole.lag_alert(LagLevel.CRITICAL, "LagCritical", *TABLES, wait=0)
        assert f"airflow dags unpause {DAG_ID}" in whole.lag_mail(LagLevel.CRITICAL)
        whole.mail("[critical] IcebergOffloadLagCritical", ON_CALL, seconds=30)
        assert min(whole.metric("offload_lag_minutes").values()) > LEVELS.critical
        whole.stack.api.unpause(DAG_ID)
        whole.ends("LagCritical", f"Over: {len(TABLES)} tables are offloaded again")


def test_a_dead_scheduler(whole: Rehearsal) -> None:
    with whole.outage():
        whole.stop("airflow-scheduler")
        # Half a minute of silence, which no setting makes shorter here, and what the rule waits for.
        whole.alert("SchedulerDown", seconds=30 + 2 * MINUTE + 30)
        whole.mail("[critical] IcebergOffloadSchedulerDown", ON_CALL, seconds=30)
        whole.monitoring.wait_for(lambda: suppressed(whole, "LagCritical"), "lag that is silenced", 400)
        assert whole.subjects() == [], "Airflow cannot report its own scheduler"
        whole.repair()
        whole.alert_ends("SchedulerDown", seconds=60)
        whole.wait_until_healthy()
        assert not any("LagCritical" in mail.message["Subject"] for mail in whole.mails.mails[whole.first_mail :])


def test_a_dead_clickhouse(whole: Rehearsal) -> None:
    with whole.outage():
        whole.stop("clickhouse")
        # Until the next cycle, and three attempts with their pauses, which are a minute each also here.
        whole.alert("ConsecutiveFailures", BRONZE, seconds=400)
        text = whole.mail("(clickhouse_connection)", OPS, seconds=120)
        assert "ClickHouse" in text
        assert whole.metric("offload_consecutive_failures")[BRONZE] >= 3
        whole.repair()
        whole.ends("ConsecutiveFailures", "Over: ")


def test_a_dead_postgresql(whole: Rehearsal) -> None:
    with whole.outage():
        process = whole.process("postgres")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        whole.alert("LedgerDown", seconds=MINUTE + 30)
        whole.mail("[critical] IcebergOffloadLedgerDown", ON_CALL, seconds=30)
        whole.repair()
        whole.alert_ends("LedgerDown", seconds=60)
        whole.wait_until_healthy()


def test_lost_rows_halt_their_table(whole: Rehearsal) -> None:
    with whole.outage(), live_feed(whole.stack):
        whole.monitoring.wait_for(lambda: whole.rows(BRONZE) > 100, "rows", 400)
        whole.delete_cold_rows(BRONZE)
        whole.began = time.time()
        whole.mail(f"PAGE: Data loss: {BRONZE} is halted", PAGER, seconds=300)
        whole.alert("DataLoss", BRONZE, seconds=30)
        whole.mail("[critical] IcebergOffloadDataLoss", "engineering-lead@example.com", seconds=30)
        assert suppressed(whole, "TableHalted")
        assert whole.metric("offload_table_halted")[BRONZE] == 1
        whole.stack.offload("reset", BRONZE, "--to", "epoch", "--yes")
        whole.stack.offload("resume", BRONZE, "--yes")
        whole.ends("DataLoss", f"Over: {BRONZE} is offloaded again")
    verdicts = {verdict["table"]: verdict["verdict"] for verdict in whole.stack.verdicts()}
    assert verdicts[BRONZE] == "equal"


def test_a_slow_cycle(whole: Rehearsal) -> None:
    with whole.outage(), live_feed(whole.stack):
        whole.monitoring.wait_for(lambda: whole.is_offloading(BRONZE), "a job at work", 400)
        clickhouse = whole.process("clickhouse")
        clickhouse.suspend()
        try:
            whole.alert("CycleSlow", seconds=5 * MINUTE + 60)
            whole.alert("CycleTooSlow", seconds=5 * MINUTE + 60)
        finally:
            clickhouse.resume()
        whole.mail("[critical] IcebergOffloadCycleTooSlow", ON_CALL, seconds=30)
        whole.alert_ends("CycleTooSlow", seconds=400)
        whole.wait_until_healthy()


def test_a_feed_that_has_stopped(whole: Rehearsal) -> None:
    with whole.outage():
        with live_feed(whole.stack):
            whole.monitoring.wait_for(
                lambda: whole.monitoring.query("sum(increase(offload_rows_total[1m])) > 0"), "rows", 400
            )
        before = whole.stack.api.newest_run(DAG_ID)
        # Half an hour without rows, then for two hours.
        whole.alert("NoRows", seconds=150 * MINUTE + 180)
        assert whole.subjects() == [], "a quiet table is not late"
        assert max(whole.metric("offload_lag_minutes").values()) < LEVELS.warning
        assert whole.stack.api.newest_run(DAG_ID) != before
        with live_feed(whole.stack):
            whole.alert_ends("NoRows", seconds=400)


def suppressed(whole: Rehearsal, name: str) -> bool:
    """Whether all alerts of this name are silenced by another, and there are some."""
    found = {state for (alert, _), state in whole.monitoring.alerts().items() if alert == f"IcebergOffload{name}"}
    return found == {"suppressed"}
