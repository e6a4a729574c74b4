"""The task that checks the lag of every table, whatever the offload's DAG does."""

from __future__ import annotations

from datetime import datetime, timezone

from offload_airflow.compat.context import load_state, save_state
from offload_airflow.compat.sdk import AirflowFailException, BaseOperator, Context
from offload_airflow.hooks.mixin import OffloadSettingsMixin
from offload_airflow.notify.alerts import NotificationFailed, notify, notify_all
from offload_core.errors import FixCredentials, LedgerUnavailable, OffloadError

_LEDGER, _UNAVAILABLE, _AVAILABLE = "offload_ledger", "away", "back"
"""Key and values of the state for later runs: the ledger itself cannot store that it was unavailable."""


class FreshnessOperator(OffloadSettingsMixin, BaseOperator):
    """Logs how late every table is, and notifies of what has not been notified yet.

    If the ledger can't be reached, it notifies of that once.
    """

    ui_color = "#e8daef"

    def execute(self, context: Context) -> None:
        """Check and notify.

        Raises:
            AirflowFailException: the ledger, the configuration or a channel is not in order; the message says what to
                do.
        """
        now = datetime.now(timezone.utc)
        try:
            notify(now)
        except NotificationFailed as error:
            raise AirflowFailException(str(error)) from error
        except (LedgerUnavailable, FixCredentials) as error:
            self._notify_unavailable(context, error, now)
            raise AirflowFailException(str(error)) from error
        except OffloadError as error:
            raise AirflowFailException(str(error)) from error
        self._notify_available(context, now)

    def _notify_unavailable(self, context: Context, error: OffloadError, now: datetime) -> None:
        from offload_ops.alerts.message import ledger_alert

        if load_state(context, _LEDGER) == _UNAVAILABLE:
            return
        pipeline, runbooks = self.settings.pipeline_id, self.settings.runbook_url
        notify_all(self.settings, ledger_alert(pipeline, error.problem, error.remedy, runbooks, now))
        save_state(context, _LEDGER, _UNAVAILABLE)

    def _notify_available(self, context: Context, now: datetime) -> None:
        from offload_ops.alerts.message import ledger_over

        if load_state(context, _LEDGER) == _UNAVAILABLE:
            notify_all(self.settings, ledger_over(self.settings.pipeline_id, now))
            save_state(context, _LEDGER, _AVAILABLE)
