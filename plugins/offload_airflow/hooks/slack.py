"""Messages to Slack through an incoming webhook, which an Airflow Connection holds."""

from __future__ import annotations

import logging

from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from slack_sdk.errors import SlackClientError

from offload_airflow.compat.sdk import AirflowException
from offload_airflow.hooks.lookup import RequiresConnection
from offload_core.errors import SlackUnavailable

_SECONDS = 10
# The client writes the webhook's address, which is the secret, at DEBUG.
_quiet = logging.getLogger("offload.slack")
_quiet.setLevel(logging.INFO)


class AlertSlackHook(RequiresConnection, SlackWebhookHook):
    """Sends text to the webhook of a Connection of type `slackwebhook`.

    Args:
        conn_id: the Connection.
    """

    def __init__(self, conn_id: str) -> None:
        super().__init__(slack_webhook_conn_id=conn_id, timeout=_SECONDS, logger=_quiet)

    def tell(self, headline: str, text: str) -> None:
        """Send a message.

        Args:
            headline: set in bold.
            text: what stands below it, as it is.

        Raises:
            FixConfiguration: the Connection does not exist.
            SlackUnavailable: Slack can't be reached or refused the message.
        """
        try:
            self.send(text=f"*{_escaped(headline)}*\n{_escaped(text)}")
        except (AirflowException, SlackClientError, OSError) as error:
            # Never the error's own words: they may hold the address.
            raise SlackUnavailable(
                f"The message could not be sent to Slack: {type(error).__name__}.",
                f"See that the Connection `{self.slack_webhook_conn_id}` holds a valid incoming webhook and that Slack can be reached.",
            ) from None


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
