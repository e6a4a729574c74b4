"""The page in Airflow 2's webserver: a Flask-AppBuilder view in Airflow's own frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from airflow.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.www.decorators import action_logging
from airflow.www.extensions.init_auth_manager import get_auth_manager
from flask import Blueprint, Response, redirect, request, session, url_for
from flask_appbuilder import BaseView, expose
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from offload_airflow.compat.site import Answer, Page
from offload_airflow.compat.v2.unavailable import answer_for_airflow
from offload_ops.status_page.model import Action

_T = TypeVar("_T")
_MESSAGE = "iceberg_offload_done"
"""Key in the browser's session of the message that an action leaves for the next page."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


class FlaskSite:
    """The current request to the webserver."""

    def __init__(self, view: IcebergOffloadView) -> None:
        self._view = view
        self.root = url_for("IcebergOffloadView.page").rstrip("/")
        self.path = request.path
        self.address = request.url
        self.is_script = request.headers.get("X-Requested-With") == "fetch"
        self.form: Mapping[str, str] = request.form

    def is_logged_in(self) -> bool:
        """Whether the user is logged in, or needs no login (`AUTH_ROLE_PUBLIC`)."""
        return bool(get_auth_manager().is_logged_in())

    def may_see(self, dag_id: str) -> bool:
        """Whether the user may read the DAG."""
        return bool(get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id=dag_id)))

    def may_act(self, dag_id: str) -> bool:
        """Whether the user may edit the DAG and create runs of it."""
        details = DagDetails(id=dag_id)
        return bool(
            get_auth_manager().is_authorized_dag(method="POST", access_entity=DagAccessEntity.RUN, details=details)
        )

    def login_url(self, following: str) -> str:
        """The address of the login form, which leads to `following` afterwards."""
        return str(get_auth_manager().get_url_login(next_url=following))

    def csrf_field(self) -> tuple[str, str]:
        """The field without which Airflow refuses every form."""
        return "csrf_token", generate_csrf()

    def is_own_form(self) -> bool:
        """Always true: Airflow has refused any other form."""
        return True

    def run_logged(self, event: str, act: Callable[[], _T]) -> _T:
        """Call `act` and return its result. The audit log gets an entry for the DAG that the form names."""
        result: _T = action_logging(event=event)(act)()
        return result

    def in_frame(self, body: Markup, files: Mapping[str, str]) -> str:
        """Content in Airflow's own frame."""
        return str(
            self._view.render_template("iceberg_offload/page.html", title="Iceberg Offload", body=body, files=files)
        )

    def save_message(self, message: list[str]) -> None:
        """Keep a message for the next page in this browser."""
        session[_MESSAGE] = message

    def take_message(self) -> list[str] | None:
        """The message that was kept. It is returned once."""
        message: list[str] | None = session.pop(_MESSAGE, None)
        return message


def _route(path: str, method: str = "GET") -> Callable[[_Function], _Function]:
    """Expose a method of the view at a path below the view's own."""
    decorate: Callable[[_Function], _Function] = expose(path, methods=[method])
    return decorate


class IcebergOffloadView(BaseView):  # type: ignore[misc]
    """The state of every table, and the actions that operators may take."""

    route_base = "/iceberg-offload"
    default_view = "page"
    template_folder = str(Path(__file__).parent / "templates")

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def create_blueprint(self, *args: Any, **kwargs: Any) -> Blueprint:
        """Register the addresses, and the handler that answers at them while Airflow itself cannot."""
        blueprint: Blueprint = super().create_blueprint(*args, **kwargs)
        blueprint.record_once(lambda state: answer_for_airflow(state.app, self.route_base, self._page))
        return blueprint

    @_route("/")
    def page(self) -> AnyResponse:
        """The page."""
        return _answer(self._page.page(FlaskSite(self)))

    @_route("/content")
    def content(self) -> AnyResponse:
        """The content alone, which an open page fetches to refresh itself."""
        return _answer(self._page.content(FlaskSite(self)))

    @_route("/file/<name>")
    def file(self, name: str) -> AnyResponse:
        """The page's style and script."""
        return _answer(self._page.file(name))

    @_route("/<any(run, verify, resume):action>/<table>")
    def question(self, action: str, table: str) -> AnyResponse:
        """The question before an action."""
        return _answer(self._page.act(FlaskSite(self), Action(action), table, is_sent=False))

    @_route("/<any(run, verify, resume):action>/<table>", "POST")
    def act(self, action: str, table: str) -> AnyResponse:
        """The action."""
        return _answer(self._page.act(FlaskSite(self), Action(action), table, is_sent=True))


def _answer(answer: Answer) -> AnyResponse:
    if answer.location is not None:
        return redirect(answer.location, int(answer.status))
    return Response(answer.body, answer.status, dict(answer.headers), content_type=answer.media_type)
