"""A real SMTP server that keeps what it receives, and an e-mail backend for Airflow that is not SMTP."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

PASSWORD = "sm7p secret"


@dataclass
class Mail:
    """A mail as it arrived, and when: seconds since the epoch."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    arrived: float = field(default_factory=time.time)

    def part(self, content_type: str) -> EmailMessage:
        """The one part of this type."""
        (part,) = [part for part in self.message.walk() if part.get_content_type() == content_type]
        return part


@dataclass
class MailServer:
    """The mails that the server has received, and the addresses that it refuses.

    Attributes:
        refusals: its answer to RCPT TO, by address.
    """

    port: int
    mails: list[Mail] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        message = message_from_bytes(bytes(envelope.content or b""), policy=policy.default)
        self.mails.append(Mail(str(envelope.mail_from), list(envelope.rcpt_tos), message))
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """A server on loopback that accepts only the user `offload` with `PASSWORD`."""
    server = MailServer(free_port())

    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"offload", PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    controller = Controller(
        server,
        hostname="127.0.0.1",
        port=server.port,
        authenticator=authenticate,
        auth_require_tls=False,
    )
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def free_port() -> int:
    """A port on loopback where no server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def silent_server() -> Iterator[int]:
    """A port on loopback whose server accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port: int = listener.getsockname()[1]
        yield port


OTHER_BACKEND: list[dict[str, Any]] = []
"""The calls of `other_backend`."""


def other_backend(to: str, subject: str, html_content: str, files: list[str] | None = None, **more: Any) -> None:
    """An e-mail backend with the signature of those in Airflow's providers, for [email] email_backend."""
    attached = {Path(file).name: Path(file).read_bytes() for file in files or []}
    OTHER_BACKEND.append({"to": to, "subject": subject, "html": html_content, "files": attached, **more})
