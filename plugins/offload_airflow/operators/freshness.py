"""The task that looks at every table's lag, whatever the offload's DAG does."""

from __future__ import annotations

from datetime import datetime, timezone

from offload_airflow.compat.context import load_state, save_state
from offload_airflow.compat.sdk import AirflowFailException, BaseOperator, Context
from offload_airflow.config.tables import load_settings
from offload_airflow.notify.alerts import NotTold, tell, tell_every_channel
from offload_core.errors import FixCredentials, LedgerUnavailable, OffloadError

_LEDGER, _AWAY, _BACK = "offload_ledger", "away", "back"
"""What runs leave for those after them: the ledger remembers what was told, but not that it can't be reached."""


class FreshnessOperator(BaseOperator):
    """Logs how late every table is, and tells what has not been told yet; where the ledger can't be reached, that, once."""

    ui_color = "#e8daef"

    def execute(self, context: Context) -> None:
        """Look and tell.

        Raises:
            AirflowFailException: the ledger, the configuration or a way to tell people is not as it should be; the message says what to do.
        """
        now = datetime.now(timezone.utc)
        try:
            tell(now)
        except NotTold as error:
            raise AirflowFailException(str(error)) from error
        except (LedgerUnavailable, FixCredentials) as error:
            self._ledger_is_away(context, error, now)
            raise AirflowFailException(str(error)) from error
        except OffloadError as error:
            raise AirflowFailException(str(error)) from error
        self._ledger_is_back(context, now)

    def _ledger_is_away(self, context: Context, error: OffloadError, now: datetime) -> None:
        from offload_ops.alerts.message import ledger_alert

        if load_state(context, _LEDGER) == _AWAY:
            return
        settings = load_settings()
        tell_every_channel(
            settings, ledger_alert(settings.pipeline_id, error.problem, error.remedy, settings.runbook_url, now)
        )
        save_state(context, _LEDGER, _AWAY)

    def _ledger_is_back(self, context: Context, now: datetime) -> None:
        from offload_ops.alerts.message import ledger_over

        if load_state(context, _LEDGER) == _AWAY:
            settings = load_settings()
            tell_every_channel(settings, ledger_over(settings.pipeline_id, now))
            save_state(context, _LEDGER, _BACK)
