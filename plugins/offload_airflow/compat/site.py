"""What the page asks of the web server that shows it, and what it answers: the same for Airflow 2's Flask and Airflow 3's FastAPI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, TypeVar

from markupsafe import Markup

from offload_ops.status_page.model import Action

Result = TypeVar("Result")

HTML = "text/html; charset=utf-8"
NOT_STORED = {"Cache-Control": "no-store"}


class Site(Protocol):
    """Airflow's web server, as it sees one request."""

    @property
    def root(self) -> str:
        """The path of the page, without a slash at its end."""

    @property
    def path(self) -> str:
        """The path that is asked for."""

    @property
    def address(self) -> str:
        """The whole address that is asked for, to come back to after logging in."""

    @property
    def is_script(self) -> bool:
        """Whether the page's own script asks."""

    @property
    def form(self) -> Mapping[str, str]:
        """The fields of the form that was sent; empty for none."""

    def is_logged_in(self) -> bool:
        """Whether somebody is, or may be nobody, where Airflow is public."""

    def may_see(self, dag_id: str) -> bool:
        """Whether whoever asks may read the DAG."""

    def may_act(self, dag_id: str) -> bool:
        """Whether whoever asks may edit the DAG and make runs of it."""

    def login_url(self, following: str) -> str:
        """Where to log in, and go on to an address afterwards."""

    def csrf_field(self) -> tuple[str, str]:
        """The field that shows that a form was sent from our own page."""

    def is_own_form(self) -> bool:
        """Whether the form that was sent shows that."""

    def logged(self, event: str, act: Callable[[], Result]) -> Result:
        """What `act` returns; Airflow's audit log gets an entry of who asked for it, and with what."""

    def framed(self, body: Markup, files: Mapping[str, str]) -> str:
        """Content in Airflow's own frame, with the addresses of our style (`css`) and script (`js`)."""

    def leave(self, told: list[str]) -> None:
        """Keep a message for the next page that this browser sees."""

    def take(self) -> list[str] | None:
        """The message that was kept, once."""


@dataclass(frozen=True)
class Answer:
    """An answer to a browser; `location`: where it shall go instead."""

    body: str | bytes = ""
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = HTML
    location: str | None = None


class Page(Protocol):
    """The page, whichever web server shows it."""

    def page(self, site: Site, /) -> Answer:
        """The page itself."""

    def content(self, site: Site, /) -> Answer:
        """The content alone, which an open page fetches to refresh itself."""

    def file(self, name: str, /) -> Answer:
        """A static file: style, script or icon."""

    def act(self, site: Site, action: Action, table: str, /, *, is_sent: bool) -> Answer:
        """The question before an action, or the action once its form is sent."""

    def unavailable(self, error: Exception, path: str, /) -> Answer:
        """The answer at a path of the page while Airflow itself fails."""
