"""The web server that shows the page, and its answers: one interface for Airflow 2's Flask and Airflow 3's FastAPI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, TypeVar

from markupsafe import Markup

from offload_ops.status_page.model import Action

T = TypeVar("T")

HTML = "text/html; charset=utf-8"
NOT_STORED = {"Cache-Control": "no-store"}


class Site(Protocol):
    """One request to Airflow's web server."""

    @property
    def root(self) -> str:
        """The path of the page, without a trailing slash."""

    @property
    def path(self) -> str:
        """The requested path."""

    @property
    def address(self) -> str:
        """The whole requested address, to return to after logging in."""

    @property
    def is_script(self) -> bool:
        """Whether the page's own script sent the request."""

    @property
    def form(self) -> Mapping[str, str]:
        """The fields of the submitted form; empty if none was submitted."""

    def is_logged_in(self) -> bool:
        """Whether the user is logged in, or needs no login because Airflow is public."""

    def may_see(self, dag_id: str) -> bool:
        """Whether the user may read the DAG."""

    def may_act(self, dag_id: str) -> bool:
        """Whether the user may edit the DAG and create runs of it."""

    def login_url(self, following: str) -> str:
        """The address of the login form, which leads to `following` afterwards."""

    def csrf_field(self) -> tuple[str, str]:
        """Name and value of the form field that proves that a form comes from the page."""

    def is_own_form(self) -> bool:
        """Whether the submitted form has this proof."""

    def run_logged(self, event: str, act: Callable[[], T]) -> T:
        """Call `act` and return its result. Airflow's audit log records the user and the form."""

    def in_frame(self, body: Markup, files: Mapping[str, str]) -> str:
        """Content in Airflow's own frame, with the addresses of our style (`css`) and script (`js`)."""

    def save_message(self, message: list[str]) -> None:
        """Keep a message for the next page in this browser."""

    def take_message(self) -> list[str] | None:
        """The message that was kept. It is returned once."""


@dataclass(frozen=True)
class Answer:
    """An answer to a browser; `location`: the address to go to instead."""

    body: str | bytes = ""
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = HTML
    location: str | None = None


class Page(Protocol):
    """The page, whichever web server shows it."""

    def page(self, site: Site, /) -> Answer:
        """The whole page."""

    def content(self, site: Site, /) -> Answer:
        """The content alone, which an open page fetches to refresh itself."""

    def file(self, name: str, /) -> Answer:
        """A static file: style, script or icon."""

    def act(self, site: Site, action: Action, table: str, /, *, is_sent: bool) -> Answer:
        """The question before an action, or the result of the action once its form is submitted."""

    def unavailable(self, error: Exception, path: str, /) -> Answer:
        """The answer at a path of the page while Airflow itself fails."""
