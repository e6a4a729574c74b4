"""Who is told what, and how often: simulated hours against a real PostgreSQL, a real mail server and a real webhook."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from offload_core.protocol.window import to_micros
from offload_core.source.clickhouse import ClickHouse
from tests.support.fakes.mail_server import free_port
from tests.support.fakes.webhook import webhook
from tests.support.ledger.monitored_stack import (
    DOWN,
    NOON,
    OPS,
    PAGER,
    SECOND,
    TABLES,
    MonitoredTables,
    quarters,
    subjects,
    text,
)
from tests.support.ledger.week_of_ledger import DAY, HOUR, MINUTE, PERIOD
from tests.support.stack.airflow_connections import clickhouse_fields, http_fields

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("airflow_database")]

KRAKEN, BINANCE = "bronze_trades_kraken", "bronze_trades_binance"


class TestTwoHours:
    def test_of_a_paused_dag_are_one_mail_a_level_and_one_when_it_is_over(self, monitored, mails):
        monitored.cycles = replace(monitored.cycles, is_paused=True)
        monitored.checks(NOON, NOON + 2 * HOUR)
        monitored.cycles = replace(monitored.cycles, is_paused=False)
        monitored.cycle(NOON + 2 * HOUR)
        monitored.checks(NOON + 2 * HOUR, NOON + 2 * HOUR + PERIOD)

        assert subjects(mails) == [
            "Warning: 9 tables are more than 20 minutes late",
            "Critical: 9 tables are more than 30 minutes late",
            "Severe: 9 tables are more than 45 minutes late",
            "PAGE: Emergency: 9 tables are more than an hour late",
            "Over: 9 tables are offloaded again",
        ]
        assert [mail.recipients for mail in mails.mails] == [[OPS]] * 3 + [[OPS, PAGER]] * 2
        assert "The DAG iceberg_offload is paused." in text(mails, 0)
        assert "airflow dags unpause iceberg_offload" in text(mails, 0)

    def test_without_clickhouse_are_told_once_not_once_per_table_and_the_sla_repeats_nothing(self, monitored, mails):
        for number, due in enumerate(quarters(NOON + PERIOD, 8)):
            monitored.failing_cycle(due)
            monitored.check(due + 5 * MINUTE + SECOND * number)
            monitored.checks(due, due + PERIOD)
        monitored.cycle(NOON + 9 * PERIOD)
        monitored.checks(NOON + 9 * PERIOD, NOON + 10 * PERIOD)

        sent = subjects(mails)
        assert sent[0] == "The offload of 2 tables failed (clickhouse_connection)"
        assert [subject.partition(":")[0] for subject in sent[1:]] == [
            "Warning",
            "Critical",
            "Severe",
            "PAGE",
            "Over",
        ]
        assert sent[-1] == "Over: 9 tables are offloaded again"
        assert DOWN[1] in text(mails, 1)

    def test_of_one_halted_table_are_one_page_and_its_lag_is_not_told_as_well(self, monitored, mails):
        monitored.ledger.add(KRAKEN, NOON + PERIOD, "halt", error_kind="cold_rows_lost", message="5 rows are gone.")
        for due in quarters(NOON + PERIOD, 8):
            monitored.cycle(due, set(TABLES) - {KRAKEN})
            monitored.ledger.add(KRAKEN, due + MINUTE, "failure", error_kind="halted", message="It is halted.")
            monitored.checks(due, due + PERIOD)

        assert subjects(mails) == [f"PAGE: Data loss: {KRAKEN} is halted"]
        assert mails.mails[0].recipients == [OPS, PAGER]
        assert "5 rows are gone." in text(mails)
        assert f"offload resume {KRAKEN}" in text(mails)
        assert "Of the other tables, 8 are on time." in text(mails)

        monitored.ledger.add(KRAKEN, NOON + 3 * HOUR, "resume")
        monitored.cycle(NOON + 3 * HOUR, set(TABLES) - {KRAKEN})
        monitored.checks(NOON + 3 * HOUR, NOON + 3 * HOUR + PERIOD)
        assert len(mails.mails) == 1
        monitored.cycle(NOON + 3 * HOUR + PERIOD)
        monitored.checks(NOON + 3 * HOUR + PERIOD, NOON + 3 * HOUR + 2 * PERIOD)
        assert subjects(mails)[1:] == [f"Over: {KRAKEN} is offloaded again"]

    def test_of_one_failing_table_name_it_alone_with_its_error(self, monitored, mails):
        for due in quarters(NOON + PERIOD, 8):
            monitored.cycle(due, set(TABLES) - {KRAKEN})
            for attempt in range(3):
                monitored.ledger.add(KRAKEN, due + attempt * MINUTE, "failure", error_kind="spark", message="It died.")
            monitored.checks(due, due + PERIOD)

        assert [subject.replace(KRAKEN, "it") for subject in subjects(mails)] == [
            "The offload of it failed (spark)",
            "Warning: it is more than 20 minutes late",
            "Critical: it is more than 30 minutes late",
            "Severe: it is more than 45 minutes late",
            "PAGE: Emergency: it is more than an hour late",
        ]
        assert all("It died." in text(mails, number) for number in range(5))

    def test_with_a_dead_mail_server_are_told_as_they_are_when_it_is_back(self, monitored, mails, monkeypatch):
        port = free_port()
        with monkeypatch.context() as broken:
            broken.setenv("AIRFLOW__SMTP__SMTP_PORT", str(port))
            monitored.checks(NOON, NOON + 2 * HOUR)
        assert monitored.failed_notifications > 0
        monitored.check(NOON + 2 * HOUR + 3 * MINUTE)
        monitored.check(NOON + 2 * HOUR + 8 * MINUTE)

        assert subjects(mails) == ["PAGE: Emergency: 9 tables are more than an hour late"]


def test_a_day_of_healthy_cycles_quiet_tables_and_closed_daily_candles_raise_no_alarm(monitored, mails):
    for number, due in enumerate(quarters(NOON + PERIOD, 96)):
        quiet = {"gold_ohlcv_1d", "gold_ohlcv_1h", *(TABLES[(number * step) % 9] for step in (1, 2, 4))}
        seconds = (5, 20, 7, 15, 20)[number % 5]
        monitored.cycles = replace(monitored.cycles, last_started=due, running_since=due)
        monitored.check(due + 5 * SECOND)
        monitored.cycle(due, set(TABLES) - quiet, seconds=seconds)
        monitored.cycle(due, quiet, seconds=seconds, kind="empty")
        monitored.check(due + 10 * seconds * SECOND)
        monitored.cycles = replace(monitored.cycles, running_since=None)
        monitored.checks(due, due + PERIOD)
        monitored.check(due + PERIOD - SECOND)

    assert subjects(mails) == []
    assert remembered(monitored) == 0


def remembered(monitored: MonitoredTables) -> int:
    query = "SELECT count(*) AS rows FROM offload_alerts WHERE pipeline_id = %s"
    record = monitored.ledger.session.execute(query, (monitored.ledger.pipeline,)).fetchone()
    assert record is not None
    return int(record["rows"])


class TestWhatIsNotified:
    def test_a_failed_attempt_that_is_followed_by_a_good_one_is_nobodys_business(self, monitored, mails):
        monitored.ledger.add(KRAKEN, NOON + PERIOD, "failure", error_kind="spark", message="It died.")
        monitored.check(NOON + PERIOD + 30 * SECOND)
        monitored.cycle(NOON + PERIOD + MINUTE)
        monitored.checks(NOON + PERIOD, NOON + 2 * PERIOD)

        assert subjects(mails) == []

    def test_a_server_that_is_away_for_one_cycle_is_told_and_that_it_is_over(self, monitored, mails):
        monitored.failing_cycle(NOON + PERIOD)
        monitored.checks(NOON + PERIOD, NOON + PERIOD + 8 * MINUTE)
        monitored.cycle(NOON + PERIOD + 9 * MINUTE)
        monitored.check(NOON + PERIOD + 13 * MINUTE)

        assert [subject.partition(" ")[0] for subject in subjects(mails)] == ["The", "Warning:", "Over:"]

    def test_tables_of_one_cycle_reach_a_level_in_one_mail_though_not_in_one_second(self, monitored, mails):
        monitored.check(NOON + 20 * MINUTE + 15 * SECOND)
        monitored.check(NOON + 20 * MINUTE + 50 * SECOND)
        monitored.check(NOON + 23 * MINUTE)

        assert subjects(mails) == ["Warning: 2 tables are more than 20 minutes late"]
        assert text(mails).count("soon Warning") == 7

    def test_the_levels_follow_the_settings_of_a_slower_schedule(self, monitored, mails, configure_alerts):
        configure_alerts(lag_minutes={"elevated": 30, "warning": 40, "critical": 60, "severe": 75, "emergency": 90})
        for minutes in (38, 44, 64):
            monitored.check(NOON + minutes * MINUTE)

        assert subjects(mails) == [
            "Warning: 9 tables are more than 40 minutes late",
            "Critical: 9 tables are more than an hour late",
        ]
        assert "the objective of an hour is missed" in text(mails)

    def test_tables_that_recover_while_the_cycle_is_at_work_are_told_together_when_it_ends(self, monitored, mails):
        monitored.check(NOON + 35 * MINUTE)
        monitored.cycles = replace(monitored.cycles, running_since=NOON + 45 * MINUTE)
        monitored.cycle(NOON + 45 * MINUTE, [BINANCE])
        monitored.check(NOON + 48 * MINUTE)
        assert len(mails.mails) == 2
        assert "Over" not in subjects(mails)[1]
        monitored.cycle(NOON + 49 * MINUTE)
        monitored.check(NOON + 53 * MINUTE)

        assert subjects(mails)[2:] == ["Over: 9 tables are offloaded again"]
        assert f"- {BINANCE}: was Critical" in text(mails)

    def test_a_table_that_is_switched_off_is_late_no_longer(self, monitored, mails, set_variable):
        from offload_core.config.tables import DEFAULT_TABLES

        monitored.cycle(NOON + PERIOD, set(TABLES) - {KRAKEN})
        monitored.check(NOON + 25 * MINUTE)
        entries = [table.model_dump(mode="json") for table in DEFAULT_TABLES]
        entries[1]["enabled"] = False
        set_variable("iceberg_offload_tables", entries)
        monitored.check(NOON + 28 * MINUTE)
        monitored.check(NOON + 33 * MINUTE)

        assert subjects(mails)[0] == f"Warning: {KRAKEN} is more than 20 minutes late"
        assert f"- {KRAKEN}: was switched off" in text(mails)

    def test_a_lag_of_twenty_hours_is_told_even_of_a_halted_table_because_ttl_takes_rows(self, monitored, mails):
        monitored.ledger.add(KRAKEN, NOON + PERIOD, "halt", error_kind="source_replaced", message="Made again.")
        monitored.check(NOON + 16 * MINUTE)
        monitored.cycle(NOON + 19 * HOUR, set(TABLES) - {KRAKEN})
        monitored.check(NOON + 19 * HOUR + 5 * MINUTE)
        monitored.cycle(NOON + 20 * HOUR, set(TABLES) - {KRAKEN})
        monitored.check(NOON + 20 * HOUR + 5 * MINUTE)

        assert subjects(mails)[0] == f"PAGE: {KRAKEN} is halted"
        assert subjects(mails)[1].startswith(f"PAGE: Rows at risk: {KRAKEN} is more than 20 hours late")

    def test_a_table_that_was_never_initialized_and_a_wrong_entry_are_told_once(self, monitored, mails, set_variable):
        from offload_core.config.tables import DEFAULT_TABLES

        entries = [table.model_dump(mode="json") for table in DEFAULT_TABLES]
        entries[0]["target"] = "cold.new_table"
        entries[1]["partition"] = "week"
        set_variable("iceberg_offload_tables", entries)
        monitored.check(NOON + 4 * MINUTE)
        monitored.check(NOON + 9 * MINUTE)

        (mail,) = mails.mails
        assert "Watermark not found for table: new_table." in mail.part("text/plain").get_content()
        assert "offload init" in mail.part("text/plain").get_content()
        assert "partition" in mail.part("text/plain").get_content()

    def test_rows_that_wait_in_clickhouse_are_counted(self, monitored, mails, clickhouse, set_connection):
        set_connection("clickhouse_default", **clickhouse_fields(clickhouse.connection))
        set_connection("clickhouse_http", **http_fields(clickhouse.connection))
        now = datetime.now(timezone.utc)
        monitored.cycle(now - 25 * MINUTE)
        for at in (now - 20 * MINUTE, now - 10 * MINUTE, now - MINUTE):
            insert_trade(clickhouse.client, at)
        monitored.check(now)

        waiting = {
            line[2:].partition(":")[0]: line.rpartition(": ")[2] for line in text(mails).splitlines() if "rows" in line
        }
        # The newest trade lies within the buffer: no run would move it yet.
        assert (waiting[BINANCE], waiting[KRAKEN], len(waiting)) == ("2", "0", 9)

    def test_rows_are_unknown_where_clickhouse_is_away_and_it_is_asked_only_once(
        self, monitored, mails, set_connection, caplog
    ):
        set_connection("clickhouse_default", conn_type="clickhouse", host="127.0.0.1", port=free_port())
        set_connection("clickhouse_http", conn_type="http", host="127.0.0.1", port=free_port())
        with caplog.at_level(logging.INFO):
            monitored.check(NOON + 25 * MINUTE)

        assert text(mails).count("rows waiting: unknown") == 9
        assert caplog.text.count("Waiting rows can't be counted") == 1

    def test_runbooks_are_links_where_the_settings_say_where_they_are(self, monitored, mails, configure_alerts):
        configure_alerts(runbook_url="https://docs.example.com/runbooks/")
        monitored.check(NOON + 25 * MINUTE)
        configure_alerts()
        monitored.check(NOON + 35 * MINUTE)

        address = "https://docs.example.com/runbooks/iceberg-scheduler-recovery.md"
        assert f'<a href="{address}"' in mails.mails[0].part("text/html").get_content()
        assert f"Runbook: {address}" in text(mails, 0)
        assert "Runbook: docs/runbooks/iceberg-scheduler-recovery.md" in text(mails, 1)

    def test_what_a_table_says_is_text_not_html(self, monitored, mails):
        monitored.ledger.add(KRAKEN, NOON + PERIOD, "halt", error_kind="halted", message="Iceberg lacks <3> rows.")
        monitored.check(NOON + 16 * MINUTE)

        assert "Iceberg lacks &lt;3&gt; rows." in mails.mails[0].part("text/html").get_content()
        assert "Iceberg lacks <3> rows." in text(mails)

    def test_slack_gets_the_same_and_what_it_missed_later(self, monitored, mails, configure_alerts, set_connection):
        with webhook() as slack:
            configure_alerts(slack_conn_id="slack_alerts")
            set_connection("slack_alerts", conn_type="slackwebhook", password=f"{slack.url}/T0/B0/s3cret")
            slack.status = 500
            monitored.check(NOON + 25 * MINUTE)
            slack.status = 200
            monitored.check(NOON + 28 * MINUTE)
            monitored.check(NOON + 29 * MINUTE)

        assert monitored.failed_notifications == 1
        assert len(mails.mails) == 1
        missed, second = slack.messages
        assert missed.splitlines()[0] == second.splitlines()[0]
        assert second.startswith("*[")
        assert "Warning: 9 tables are more than 20 minutes late*" in second
        assert "No cycle has started since 2026-03-02 12:00 UTC" in second

    def test_nobody_is_told_where_nobody_is_named_but_the_log_has_it(self, monitored, mails, configure_alerts, caplog):
        configure_alerts(alert_recipients=[], page_recipients=[])
        with caplog.at_level(logging.INFO):
            monitored.check(NOON + 25 * MINUTE)

        assert mails.mails == []
        assert f"{BINANCE}: lag 24.9 minutes (Warning), last offloaded 2026-03-02 12:00:07 UTC" in caplog.text

    def test_two_that_look_at_once_tell_it_once(self, monitored, mails):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(monitored.check, [NOON + 25 * MINUTE] * 2))

        assert len(mails.mails) == 1

    def test_what_was_told_long_ago_and_is_over_is_forgotten_and_what_is_open_stays(self, monitored):
        from offload_ops.alerts.notification_log import NotificationLog

        monitored.cycle(NOON + PERIOD, set(TABLES) - {KRAKEN, BINANCE})
        monitored.check(NOON + 25 * MINUTE)
        monitored.cycle(NOON + 2 * PERIOD, set(TABLES) - {KRAKEN})
        monitored.check(NOON + 33 * MINUTE)
        sent = NotificationLog(monitored.ledger.session, monitored.ledger.pipeline)
        before = remembered(monitored)

        assert sent.delete_old(NOON + DAY) == 2
        assert remembered(monitored) == before - 2
        assert set(sent.states("mail")) == {KRAKEN}


def insert_trade(client: ClickHouse, at: datetime) -> None:
    client.command(
        "INSERT INTO bronze_trades_binance (symbol, trade_id, price, quantity, exchange_timestamp, sequence_number) "
        f"SELECT 'BTCUSDT', 'a trade', 1, 1, fromUnixTimestamp64Micro({to_micros(at)}, 'UTC'), 1"
    )


class TestWhatItNeverDoes:
    def test_no_password_and_no_address_of_the_webhook_is_in_mails_or_logs(
        self, monitored, mails, connect_postgres, caplog, configure_alerts, set_connection
    ):
        with webhook() as slack:
            configure_alerts(slack_conn_id="slack_alerts")
            set_connection("slack_alerts", conn_type="slackwebhook", password=f"{slack.url}/T0/B0/s3cret")
            caplog.set_level(logging.DEBUG)
            for name in ("airflow.task.hooks", "offload"):
                caplog.set_level(logging.DEBUG, logger=name)
            monitored.check(NOON + 25 * MINUTE)
            slack.status = 404
            monitored.check(NOON + 35 * MINUTE)

        assert len(slack.messages) == 2
        secret = connect_postgres.password.get_secret_value()
        for where in (caplog.text, *(mail.message.as_string() for mail in mails.mails)):
            assert secret not in where
            assert "s3cret" not in where
