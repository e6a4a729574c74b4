"""Mail through Airflow's own e-mail, with its configuration (`[email]`, `[smtp]`) and its Connection."""

from __future__ import annotations

import smtplib
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.message import EmailMessage, MIMEPart
from email.policy import default
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from airflow.utils import email

from offload_airflow.compat.sdk import conf
from offload_core.errors import FixConfiguration, FixCredentials, MailUnavailable

_PERMANENT = 500
"""SMTP codes from here on are permanent refusals."""
_SEVEN_BIT = default.clone(cte_type="7bit")
"""Airflow hands the mail to `smtplib` as text, which must be ASCII."""


def picture_address(name: str) -> str:
    """The address under which a mail's HTML refers to one of the pictures in the mail."""
    return f"cid:{name}.png"


def send_mail(
    to: Sequence[str], subject: str, *, text: str, html: str, pictures: Mapping[str, bytes] | None = None
) -> None:
    """Send a mail with Airflow's e-mail backend.

    Args:
        to: the recipients.
        subject: one line.
        text: the plain text. Only Airflow's SMTP backend sends it; other backends take HTML alone.
        html: refers to pictures by `picture_address`.
        pictures: PNG files by name.

    Raises:
        FixConfiguration: Airflow has no sender address, or the server does not know any recipient.
        FixCredentials: the server refused the user or the password.
        MailUnavailable: the server can't be reached, or refused the mail.
    """
    files = {f"{name}.png": png for name, png in (pictures or {}).items()}
    with _mail_errors():
        if conf.getimport("email", "email_backend") is email.send_email_smtp:
            # Airflow declares MIMEMultipart, and uses only its text.
            message: Any = _message(to, subject, text, html, files)
            email.send_mime_email(message["From"], list(to), message, conn_id=conf.get("email", "email_conn_id"))
            return
        with tempfile.TemporaryDirectory(prefix="offload-mail-") as folder:
            for name, png in files.items():
                Path(folder, name).write_bytes(png)
            # A backend gives each file a Content-ID that is its name.
            paths = [str(Path(folder, name)) for name in files]
            email.send_email(list(to), subject, html, files=paths, mime_subtype="related")


def _message(to: Sequence[str], subject: str, text: str, html: str, files: Mapping[str, bytes]) -> EmailMessage:
    """A mail with two alternatives: the text, and the HTML with its pictures."""
    related: Any = MIMEPart(policy=_SEVEN_BIT)
    related.set_content(html, subtype="html")
    related.make_related()
    related.set_param("type", "text/html")
    for name, png in files.items():
        related.add_related(png, "image", "png", cid=f"<{name}>", filename=name, disposition="inline")
    message = EmailMessage(policy=_SEVEN_BIT)
    message["Subject"], message["From"], message["To"] = subject, _sender(), ", ".join(to)
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="iceberg-offload")
    message.set_content(text)
    message.make_alternative()
    message.attach(related)
    return message


def _sender() -> str:
    sender = conf.get("smtp", "smtp_mail_from", fallback=None) or conf.get("email", "from_email", fallback=None)
    if not sender:
        raise FixConfiguration(
            "Airflow has no sender address for its mails.", "Set [smtp] smtp_mail_from or [email] from_email."
        )
    return str(sender)


@contextmanager
def _mail_errors() -> Iterator[None]:
    where = f"{conf.get('smtp', 'smtp_host')}:{conf.get('smtp', 'smtp_port')}"
    try:
        with warnings.catch_warnings():
            # Airflow 3's own e-mail looks up its Connection in a way that Airflow 3 has deprecated.
            warnings.filterwarnings("ignore", message=r"Using Connection\.get_connection_from_secrets")
            yield
    except smtplib.SMTPAuthenticationError as error:
        raise FixCredentials(
            f"The mail server at {where} refused the user or the password ({error.smtp_code}).",
            "Correct login and password of the Connection that [email] email_conn_id names (`smtp_default`).",
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        if isinstance(error, smtplib.SMTPRecipientsRefused) and all(
            code >= _PERMANENT for code, _ in error.recipients.values()
        ):
            raise FixConfiguration(
                f"The mail server at {where} does not accept mail for {', '.join(error.recipients)}.",
                "Correct `report_recipients`, `alert_recipients` or `page_recipients` "
                "in the Variable `iceberg_offload_settings`.",
            ) from error
        raise MailUnavailable(
            f"The mail could not be sent through {where}: {error}.",
            "Check that the mail server is up and that [smtp] in Airflow's configuration is right. "
            "Clear the task to send the mail again at once.",
        ) from error
