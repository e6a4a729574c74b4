"""What turns the checks of lag and failures yellow or red, on a real ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import Step, StepKind
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.window import Cursor
from offload_ops.cli.app import Context
from offload_ops.doctor.context import CheckContext
from offload_ops.doctor.ledger import check_failures, check_lag
from offload_ops.doctor.model import Health

NOW = datetime.now(timezone.utc)
TRADES = "bronze_trades_binance"
STEP = Step(StepKind.INCREMENT, Cursor(NOW, 7), 0, None, "run", 1, rows=3, snapshot_id=9, total_records=9)


@pytest.fixture
def check_context(context: Context) -> CheckContext:
    """One table, now."""
    return CheckContext(context.connections, context.tables[:1], context.settings, {}, datetime.now(timezone.utc))


@pytest.mark.integration
class TestLag:
    @pytest.mark.parametrize(
        ("minutes", "health", "level"),
        [
            (14.9, Health.GREEN, "Normal"),
            (15.1, Health.YELLOW, "Elevated"),
            (20.1, Health.YELLOW, "Warning"),
            (30.1, Health.RED, "Critical"),
            (45.1, Health.RED, "Severe"),
            (60.1, Health.RED, "Emergency"),
        ],
    )
    def test_the_severity_matrix_decides(self, ledger: Ledger, check_context, minutes, health, level):
        ledger.initialize(TRADES)
        row = ledger.append(ledger.watermark(TRADES), STEP)
        assert row.last_successful_run is not None

        (found,) = check_lag(replace(check_context, now=row.last_successful_run + timedelta(minutes=minutes)))

        assert (found.health, found.message.partition(":")[0]) == (health, level)
        assert (found.remedy is None) == (health is Health.GREEN)

    def test_a_halted_table_is_red_with_its_reason_even_while_its_lag_is_normal(self, ledger: Ledger, check_context):
        ledger.initialize(TRADES)
        ledger.append(ledger.watermark(TRADES), STEP)
        ledger.record_failure(TRADES, "ledger_ahead", "Rolled back.", run_id="run", attempt=1, halt=True)
        ledger.record_failure(TRADES, "halted", "It is halted.", run_id="run", attempt=2)

        (found,) = check_lag(check_context)

        assert found.health is Health.RED
        assert "Rolled back." in found.message
        assert f"offload resume {TRADES}" in (found.remedy or "")

    def test_a_table_without_watermark_is_red(self, check_context):
        (found,) = check_lag(check_context)

        assert (found.health, found.remedy) == (Health.RED, "Run `offload init`.")

    def test_a_table_that_was_never_offloaded_is_yellow_and_red_after_half_an_hour(self, ledger: Ledger, check_context):
        ledger.initialize(TRADES)

        assert check_lag(check_context)[0].health is Health.YELLOW
        later = replace(check_context, now=check_context.now + timedelta(minutes=31))
        assert check_lag(later)[0].health is Health.RED

    def test_a_disabled_table_is_not_checked(self, check_context):
        disabled = [table.model_copy(update={"enabled": False}) for table in check_context.tables]

        assert check_lag(replace(check_context, tables=disabled))[0].health is Health.NEUTRAL


@pytest.mark.integration
class TestFailures:
    def fail(self, ledger: Ledger, times: int = 1) -> None:
        for attempt in range(times):
            ledger.record_failure(TRADES, "audit", f"The disk is full ({attempt}).", run_id="run", attempt=attempt)

    def test_no_failures_are_green(self, ledger: Ledger, check_context):
        ledger.initialize(TRADES)

        assert check_failures(check_context)[0].health is Health.GREEN

    def test_failures_are_counted_and_the_last_error_is_reported(self, ledger: Ledger, check_context):
        ledger.initialize(TRADES)
        self.fail(ledger, 2)

        (found,) = check_failures(check_context)

        assert found.health is Health.YELLOW
        assert found.message.startswith("2 in the last 60 minutes")
        assert found.message.endswith(f"{TRADES}: The disk is full (1).")

    def test_a_table_that_failed_a_whole_cycle_is_red_until_it_succeeds(self, ledger: Ledger, check_context):
        ledger.initialize(TRADES)
        self.fail(ledger, 3)

        assert check_failures(check_context)[0].health is Health.RED
        ledger.append(ledger.watermark(TRADES), STEP)
        assert check_failures(check_context)[0].health is Health.YELLOW

    def test_failures_older_than_sixty_minutes_do_not_count(
        self, ledger: Ledger, check_context, session: LedgerConnection, pipeline: str
    ):
        ledger.initialize(TRADES)
        self.fail(ledger)
        session.execute(
            "INSERT INTO offload_watermarks "
            "(pipeline_id, table_name, max_timestamp, status, kind, last_error_message, created_at) "
            "VALUES (%s, %s, now(), 'failed', 'failure', 'old', now() - interval '61 minutes')",
            (pipeline, TRADES),
        )

        assert check_failures(check_context)[0].message.startswith("1 in the last 60 minutes")
