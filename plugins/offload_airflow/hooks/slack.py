"""Messages to Slack through the incoming webhook of an Airflow Connection."""

from __future__ import annotations

import logging

from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from slack_sdk.errors import SlackClientError

from offload_airflow.compat.sdk import AirflowException
from offload_airflow.hooks.lookup import RequiresConnection
from offload_core.errors import SlackUnavailable

_SECONDS = 10
# At DEBUG, the client logs the webhook's address, which is a secret.
_quiet = logging.getLogger("offload.slack")
_quiet.setLevel(logging.INFO)


class AlertSlackHook(RequiresConnection, SlackWebhookHook):
    """Sends text to the webhook of a Connection of type `slackwebhook`.

    Args:
        conn_id: the Connection.
    """

    def __init__(self, conn_id: str) -> None:
        super().__init__(slack_webhook_conn_id=conn_id, timeout=_SECONDS, logger=_quiet)

    def notify(self, headline: str, text: str) -> None:
        """Send a message.

        Args:
            headline: shown in bold.
            text: plain text below the headline.

        Raises:
            FixConfiguration: the Connection does not exist.
            SlackUnavailable: Slack can't be reached or refused the message.
        """
        try:
            self.send(text=f"*{_escaped(headline)}*\n{_escaped(text)}")
        except (AirflowException, SlackClientError, OSError) as error:
            # The error's own message may contain the address.
            raise SlackUnavailable(
                f"The message could not be sent to Slack: {type(error).__name__}.",
                f"Check that the Connection `{self.slack_webhook_conn_id}` holds a valid incoming webhook "
                "and that Slack can be reached.",
            ) from None


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
