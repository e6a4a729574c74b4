"""The weekly report as a task."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from offload_airflow.compat.context import data_interval
from offload_airflow.compat.sdk import AIRFLOW_HOME, AirflowFailException, BaseOperator, Context
from offload_airflow.config.tables import load_tables
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.hooks.mixin import OffloadSettingsMixin
from offload_core.errors import OffloadError
from offload_core.ledger.history import read_ledger
from offload_core.protocol.window import Interval
from offload_ops.report.compute import ReportData, build_report
from offload_ops.report.maintenance import read_maintenance
from offload_ops.report.model import Report, last_week


class ReportOperator(OffloadSettingsMixin, BaseOperator):
    """Reports on the last ISO week (UTC) that was over at the end of the run's interval, or now for a triggered run.

    It writes the page to `report_folder` and the text to the log, and mails both to `report_recipients`.
    """

    ui_color = "#eaeded"

    def execute(self, context: Context) -> str:
        """Create the report and return the path of its file.

        Raises:
            AirflowFailException: somebody has to change something first; the message says what.
            OffloadError: the ledger or the mail server can't be reached; a later attempt may succeed. The file is
                written before the mail is sent.
        """
        now = datetime.now(timezone.utc)
        interval = data_interval(context)
        try:
            return self._publish(self._build(last_week(interval[1] if interval else now), now))
        except OffloadError as error:
            self.log.error("✗ Report failed: %s", error)
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from error

    def _build(self, period: Interval, now: datetime) -> Report:
        """The report on a period, from the ledger and from Airflow's database."""
        from offload_airflow.compat.history import airflow_history

        pipeline, settings = self.settings.pipeline_id, self.settings
        with self.ledger.open_connection("offload report") as session:
            ledger = read_ledger(session, pipeline, period)
            maintenance = read_maintenance(session, pipeline, period)
        airflow = airflow_history(DAG_ID, settings.schedule, period)
        bounds = settings.lag_minutes
        return build_report(ReportData(pipeline, period, load_tables(), ledger, airflow, maintenance, bounds, now))

    def _publish(self, report: Report) -> str:
        # Heavy imports, which would slow down the parsing of the DAG file.
        from offload_ops.report.pages import as_file, as_text, file_name, write
        from offload_ops.report.plots import plots

        pictures = plots(report)
        path = Path(self.settings.report_folder or Path(AIRFLOW_HOME, "reports")) / file_name(report)
        write(path, as_file(report, pictures))
        self.log.info("%s", as_text(report))
        self.log.info("Written to %s", path)
        self._mail(report, pictures)
        return str(path)

    def _mail(self, report: Report, pictures: dict[str, bytes]) -> None:
        from offload_airflow.compat.mail import picture_address, send_mail
        from offload_ops.report.pages import as_html, as_text, subject

        to = self.settings.report_recipients
        if not to:
            self.log.info("Not mailed: the setting `report_recipients` is empty.")
            return
        html = as_html(report, {name: picture_address(name) for name in pictures})
        send_mail(to, subject(report), text=as_text(report), html=html, pictures=pictures)
        self.log.info("Mailed to %s", ", ".join(to))
