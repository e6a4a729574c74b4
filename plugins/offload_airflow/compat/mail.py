"""Mail through Airflow's own e-mail: the part of `compat` about its configuration (`[email]`, `[smtp]`) and its Connection."""

from __future__ import annotations

import smtplib
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate, make_msgid
from pathlib import Path

from airflow.utils.email import send_email, send_email_smtp, send_mime_email

from offload_airflow.compat.sdk import conf
from offload_core.errors import FixConfiguration, FixCredentials, MailUnavailable

_FOR_GOOD = 500
"""SMTP codes from here on are refusals that a later attempt meets again."""


def picture_address(name: str) -> str:
    """How a mail's HTML refers to the picture that it carries under this name."""
    return f"cid:{name}.png"


def send_mail(
    to: Sequence[str], subject: str, *, text: str, html: str, pictures: Mapping[str, bytes] | None = None
) -> None:
    """Send a mail with Airflow's e-mail backend.

    Args:
        to: the recipients.
        subject: one line.
        text: the same for programs that show no HTML; only Airflow's SMTP backend takes it along.
        html: refers to pictures by `picture_address`.
        pictures: PNG files by name.

    Raises:
        FixConfiguration: Airflow knows no sender, or the server knows none of the recipients.
        FixCredentials: the server refused the user or the password.
        MailUnavailable: it can't be reached, or refused the mail.
    """
    pictures = pictures or {}
    with _mail_errors():
        if conf.getimport("email", "email_backend") is send_email_smtp:
            message = _message(_sender(), to, subject, text, html, pictures)
            send_mime_email(message["From"], list(to), message, conn_id=conf.get("email", "email_conn_id"))
        else:
            _send_by_other_backend(to, subject, html, pictures)


def _sender() -> str:
    sender = conf.get("smtp", "smtp_mail_from", fallback=None) or conf.get("email", "from_email", fallback=None)
    if not sender:
        raise FixConfiguration(
            "Airflow knows no sender for its mails.", "Set [smtp] smtp_mail_from or [email] from_email."
        )
    return str(sender)


def _message(
    sender: str, to: Sequence[str], subject: str, text: str, html: str, pictures: Mapping[str, bytes]
) -> MIMEMultipart:
    # Text or HTML, and the pictures belong to the HTML alone.
    related = MIMEMultipart("related", type="text/html")
    related.attach(MIMEText(html, "html", "utf-8"))
    for name, png in pictures.items():
        picture = MIMEImage(png, "png")
        picture["Content-ID"] = f"<{name}.png>"
        picture["Content-Disposition"] = f'inline; filename="{name}.png"'
        related.attach(picture)
    message = MIMEMultipart("alternative")
    message["Subject"], message["From"], message["To"] = subject, sender, ", ".join(to)
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="iceberg-offload")
    message.attach(MIMEText(text, "plain", "utf-8"))
    message.attach(related)
    return message


def _send_by_other_backend(to: Sequence[str], subject: str, html: str, pictures: Mapping[str, bytes]) -> None:
    """Backends take files, and give each a Content-ID that is its name."""
    with tempfile.TemporaryDirectory(prefix="offload-mail-") as folder:
        files = []
        for name, png in pictures.items():
            path = Path(folder, f"{name}.png")
            path.write_bytes(png)
            files.append(str(path))
        send_email(list(to), subject, html, files=files, mime_subtype="related")


@contextmanager
def _mail_errors() -> Iterator[None]:
    where = f"{conf.get('smtp', 'smtp_host')}:{conf.get('smtp', 'smtp_port')}"
    try:
        with warnings.catch_warnings():
            # Airflow 3's own e-mail still looks its Connection up in a way that Airflow 3 warns of.
            warnings.filterwarnings("ignore", message=r"Using Connection\.get_connection_from_secrets")
            yield
    except smtplib.SMTPAuthenticationError as error:
        raise FixCredentials(
            f"The mail server at {where} refused the user or the password ({error.smtp_code}).",
            "Correct login and password of the Connection that [email] email_conn_id names (`smtp_default`).",
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        if isinstance(error, smtplib.SMTPRecipientsRefused) and all(
            code >= _FOR_GOOD for code, _ in error.recipients.values()
        ):
            raise FixConfiguration(
                f"The mail server at {where} takes no mail for {', '.join(error.recipients)}.",
                "Correct `report_recipients`, `alert_recipients` or `page_recipients` in the Variable `iceberg_offload_settings`.",
            ) from error
        raise MailUnavailable(
            f"The mail could not be sent through {where}: {error}.",
            "See that the mail server is up and [smtp] in Airflow's configuration is right; clear the task to send it again at once.",
        ) from error
