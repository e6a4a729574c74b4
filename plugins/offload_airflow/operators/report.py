"""The weekly report as a task."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from offload_airflow.compat.context import data_interval
from offload_airflow.compat.sdk import AIRFLOW_HOME, AirflowFailException, BaseOperator, Context
from offload_airflow.compat.secrets import require_connection
from offload_airflow.config.tables import load_settings, load_tables
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.hooks.connections import postgres_connection
from offload_core.errors import OffloadError
from offload_core.ledger.history import read_ledger
from offload_core.ledger.session import connect
from offload_core.protocol.window import Interval
from offload_ops.report.compute import compute
from offload_ops.report.maintenance import read_upkeep
from offload_ops.report.model import Report, last_week

if TYPE_CHECKING:
    from offload_core.config.settings import Settings


class ReportOperator(BaseOperator):
    """Reports on the last ISO week (UTC) that was over at the end of the run's interval, or now for a run started by hand.

    Writes the page to `report_folder`, the text to the log, and mails both to `report_recipients`.
    """

    ui_color = "#eaeded"

    def execute(self, context: Context) -> str:
        """Make the report and return the path of its file.

        Raises:
            AirflowFailException: somebody has to change something first; the message says what.
            OffloadError: the ledger or the mail server can't be reached; a later attempt may succeed. The file is written before the mail.
        """
        now = datetime.now(timezone.utc)
        interval = data_interval(context)
        try:
            return self._report(last_week(interval[1] if interval else now), now)
        except OffloadError as error:
            self.log.error("✗ Report failed: %s", error)
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from error

    def _report(self, period: Interval, now: datetime) -> str:
        # Heavy imports, which the scheduler must not pay for when it parses the DAG.
        from offload_ops.report.pages import as_file, as_text, file_name, write
        from offload_ops.report.plots import plots

        settings = load_settings()
        report = made(settings, period, now)
        pictures = plots(report)
        path = Path(settings.report_folder or Path(AIRFLOW_HOME, "reports")) / file_name(report)
        write(path, as_file(report, pictures))
        self.log.info("%s", as_text(report))
        self.log.info("Written to %s", path)
        self._mail(report, pictures, settings)
        return str(path)

    def _mail(self, report: Report, pictures: dict[str, bytes], settings: Settings) -> None:
        from offload_airflow.compat.mail import picture_address, send_mail
        from offload_ops.report.pages import as_html, as_text, subject

        to = settings.report_recipients
        if not to:
            self.log.info("Mailed to nobody: the setting `report_recipients` is empty.")
            return
        html = as_html(report, {name: picture_address(name) for name in pictures})
        send_mail(to, subject(report), text=as_text(report), html=html, pictures=pictures)
        self.log.info("Mailed to %s", ", ".join(to))


def made(settings: Settings, period: Interval, now: datetime) -> Report:
    """The report on a period, from the ledger and from Airflow's database."""
    from offload_airflow.compat.history import airflow_history

    with closing(
        connect(postgres_connection(require_connection(settings.postgres_conn_id)), "offload report")
    ) as session:
        ledger = read_ledger(session, settings.pipeline_id, period)
        upkeep = read_upkeep(session, settings.pipeline_id, period)
    airflow = airflow_history(DAG_ID, settings.schedule, period)
    return compute(settings.pipeline_id, period, load_tables(), ledger, airflow, upkeep, settings.lag_minutes, now)
