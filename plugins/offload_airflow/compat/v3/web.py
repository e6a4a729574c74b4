"""The page in Airflow 3's API server: a separate application, which Airflow's web interface shows in a frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Annotated, Any, TypeVar

from airflow.api_fastapi.app import API_ROOT_PATH, get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user, requires_access_dag
from airflow.configuration import conf
from airflow.models.log import Log
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from markupsafe import Markup
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware

from offload_airflow.compat.site import Answer, Page
from offload_airflow.dag_ids import DAG_ID
from offload_ops.status_page.model import Action
from offload_ops.status_page.render import framed

_T = TypeVar("_T")
_MESSAGE, _TOKEN = "done", "csrf_token"
_COOKIE = "iceberg_offload"
"""Name of the cookie with what this browser keeps between two pages. It is signed with Airflow's own key."""
_OWN_FRAME_ONLY = {"Content-Security-Policy": "frame-ancestors 'self'"}


async def _visitor(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)]
) -> BaseUser | None:
    """The user, identified as at Airflow's own addresses; None if nobody is logged in."""
    with suppress(HTTPException):
        return await get_user(request, None, bearer)
    return None


async def _form(request: Request) -> dict[str, str]:
    """The text fields of the submitted form."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


_Visitor = Annotated[BaseUser | None, Depends(_visitor)]
_Form = Annotated[dict[str, str], Depends(_form)]


class FastApiSite:
    """One request to the API server.

    Args:
        request: the request.
        visitor: the user who sent it; None if nobody is logged in.
        root: the path of the page, without a trailing slash.
        form: the fields of the submitted form.
    """

    def __init__(
        self, request: Request, visitor: BaseUser | None, root: str, form: Mapping[str, str] | None = None
    ) -> None:
        self.root = root
        self._request = request
        self._visitor = visitor
        self.path = request.url.path
        self.address = str(request.url)
        self.is_script = request.headers.get("X-Requested-With") == "fetch"
        self.form: Mapping[str, str] = form or {}

    def is_logged_in(self) -> bool:
        """Whether the user is logged in."""
        return self._visitor is not None

    def may_see(self, dag_id: str) -> bool:
        """Whether the user may read the DAG."""
        return self._may("GET", None, dag_id)

    def may_act(self, dag_id: str) -> bool:
        """Whether the user may create runs of the DAG."""
        return self._may("POST", DagAccessEntity.RUN, dag_id)

    def login_url(self, following: str) -> str:
        """The address of the login form, which leads to `following` afterwards."""
        return str(get_auth_manager().get_url_login(next_url=following))

    def csrf_field(self) -> tuple[str, str]:
        """A field with a token that is also in this browser's cookie."""
        return _TOKEN, str(self._request.session.setdefault(_TOKEN, token_urlsafe(32)))

    def is_own_form(self) -> bool:
        """Whether the form has the token of the cookie, which a form on another site cannot know."""
        token = str(self._request.session.get(_TOKEN, ""))
        return bool(token) and compare_digest(token.encode(), self.form.get(_TOKEN, "").encode())

    def run_logged(self, event: str, act: Callable[[], _T]) -> _T:
        """Call `act` and return its result. The audit log gets the same entry as for Airflow's own actions."""
        name = self._visitor.get_name() if self._visitor else "anonymous"
        fields = {key: value for key, value in self.form.items() if key not in (_TOKEN, "dag_id")}
        extra = {**self._request.path_params, **fields, "method": self._request.method}
        with create_session() as session:
            session.add(
                Log(
                    event=event,
                    task_instance=None,
                    owner=name,
                    owner_display_name=name,
                    extra=json.dumps(extra),
                    dag_id=DAG_ID,
                )
            )
        return act()

    def in_frame(self, body: Markup, files: Mapping[str, str]) -> str:
        """Content as a complete page, which also fits the frame in Airflow's web interface."""
        return str(framed(body, files, root=self.root, home=API_ROOT_PATH))

    def save_message(self, message: list[str]) -> None:
        """Keep a message for the next page in this browser."""
        self._request.session[_MESSAGE] = message

    def take_message(self) -> list[str] | None:
        """The message that was kept. It is returned once."""
        message: list[str] | None = self._request.session.pop(_MESSAGE, None)
        return message

    def _may(self, method: Any, entity: DagAccessEntity | None, dag_id: str) -> bool:
        if self._visitor is None:
            return False
        try:
            requires_access_dag(method, entity, dag_id)(self._request, self._visitor)
        except HTTPException:
            return False
        return True


def application(page: Page, route: str) -> FastAPI:
    """The application with the page's addresses.

    Args:
        page: answers at the addresses.
        route: the path of the page below that of the API server.
    """
    root = f"{API_ROOT_PATH.rstrip('/')}{route}"
    signed = Middleware(
        SessionMiddleware,
        secret_key=conf.get_mandatory_value("api", "secret_key"),
        session_cookie=_COOKIE,
        path=root,
        max_age=None,
        same_site="strict",
        https_only=conf.get("api", "base_url", fallback="").startswith("https:"),
    )
    app = FastAPI(title="Iceberg Offload", middleware=[signed], openapi_url=None)

    @app.get("/")
    def _page(request: Request, visitor: _Visitor) -> Response:
        return _answer(page.page(FastApiSite(request, visitor, root)))

    @app.get("/content")
    def _content(request: Request, visitor: _Visitor) -> Response:
        return _answer(page.content(FastApiSite(request, visitor, root)))

    @app.get("/file/{name}")
    def _file(name: str) -> Response:
        return _answer(page.file(name))

    @app.get("/{action}/{table}")
    def _question(request: Request, visitor: _Visitor, action: Action, table: str) -> Response:
        return _answer(page.act(FastApiSite(request, visitor, root), action, table, is_sent=False))

    @app.post("/{action}/{table}")
    def _act(request: Request, visitor: _Visitor, form: _Form, action: Action, table: str) -> Response:
        return _answer(page.act(FastApiSite(request, visitor, root, form), action, table, is_sent=True))

    return app


def _answer(answer: Answer) -> Response:
    headers = {**answer.headers, **_OWN_FRAME_ONLY}
    if answer.location is not None:
        headers["Location"] = answer.location
    return Response(answer.body, int(answer.status), headers, media_type=answer.media_type)
