"""The view that Airflow's webserver shows under "Iceberg Offload"."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from flask import Blueprint, Response, redirect, request, session, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from offload_airflow.backfill import DAG_ID
from offload_airflow.compat_web import (
    BaseView,
    csrf_field,
    in_audit_log,
    is_logged_in,
    login_url,
    may_act,
    may_see,
    route,
    run_url,
)
from offload_airflow.views.acting import Result, ask, do, require_table
from offload_airflow.views.away import MARK, answer_for_airflow
from offload_airflow.views.looking import airflow_is_away, look
from offload_core.errors import FixConfiguration, OffloadError
from offload_core.status_page.model import Action, Done, Named
from offload_core.status_page.render import asset, asset_version, content, live, question, refusal

log = logging.getLogger(__name__)

_DONE = "iceberg_offload_done"
"""Key of the browser's session under which an action leaves its message for the next page."""


P = ParamSpec("P")
_Handler = Callable[Concatenate["IcebergOffloadView", P], AnyResponse]


def _for_readers(handler: _Handler[P]) -> _Handler[P]:
    """Only for those who may read the DAG: others log in, or are told whom to ask."""

    @wraps(handler)
    def guarded(view: IcebergOffloadView, /, *args: P.args, **kwargs: P.kwargs) -> AnyResponse:
        if may_see(DAG_ID):
            return handler(view, *args, **kwargs)
        if not is_logged_in():
            is_script = request.headers.get("X-Requested-With") == "fetch"
            return Response(status=401) if is_script else redirect(login_url(request.url))
        return view.refused(
            f"You may not read the DAG {DAG_ID}.",
            "Ask an Airflow administrator for a role with `can read` on it.",
            HTTPStatus.FORBIDDEN,
            back=False,
        )

    return guarded


class IcebergOffloadView(BaseView):  # type: ignore[misc]
    """How every table is, and for operators what can be done about it."""

    route_base = "/iceberg-offload"
    default_view = "page"
    template_folder = str(Path(__file__).parent / "templates")

    def create_blueprint(self, *args: Any, **kwargs: Any) -> Blueprint:
        """Registers the addresses, and what answers at them while Airflow itself can't."""
        blueprint: Blueprint = super().create_blueprint(*args, **kwargs)
        blueprint.record_once(lambda state: answer_for_airflow(state.app, self.route_base))
        return blueprint

    @route("/")
    @_for_readers
    def page(self) -> AnyResponse:
        """The page."""
        found, status = look(_act_address if may_act(DAG_ID) else None)
        return self.framed(live(content(found), url_for(".content"), _take_done()), status)

    @route("/content")
    @_for_readers
    def content(self) -> AnyResponse:
        """What an open page fetches to be fresh."""
        found, status = look(_act_address if may_act(DAG_ID) else None)
        return Response(content(found), status, MARK)

    @route("/file/<name>")
    def file(self, name: str) -> AnyResponse:
        """The page's style and script; they say nothing about anybody's tables."""
        found = asset(name)
        if found is None:
            return Response(status=HTTPStatus.NOT_FOUND)
        return Response(found[0], content_type=found[1], headers={"Cache-Control": "public, max-age=604800, immutable"})

    @route("/<any(run, verify, resume):action>/<table>")
    @_for_readers
    def question(self, action: str, table: str) -> AnyResponse:
        """The question before an action."""
        return self._act(Action(action), table, is_sent=False)

    @route("/<any(run, verify, resume):action>/<table>", "POST")
    @_for_readers
    def act(self, action: str, table: str) -> AnyResponse:
        """The action."""
        return self._act(Action(action), table, is_sent=True)

    def _act(self, action: Action, table: str, *, is_sent: bool) -> AnyResponse:
        if not may_act(DAG_ID):
            return self.refused(
                f"You may look at {DAG_ID}, but not act on it.",
                "Ask an Airflow administrator for a role with `can edit` on the DAG and `can create` on DAG runs.",
                HTTPStatus.FORBIDDEN,
            )
        try:
            return self._done(action, table) if is_sent else self._asked(action, table)
        except OffloadError as error:
            return self.refused(error.problem, error.remedy, HTTPStatus.CONFLICT)
        except Exception as error:  # whatever Airflow raises, nobody shall see a stack trace
            log.exception("%s of %s from the page has failed.", action.value, table)
            away = airflow_is_away(error)
            return self.refused(away.problem, away.remedy, HTTPStatus.SERVICE_UNAVAILABLE)

    def _asked(self, action: Action, name: str, problem: str | None = None) -> AnyResponse:
        asked = ask(action, require_table(name), request.form, request.path, url_for(".page"))
        if problem is not None:
            asked = replace(asked, problem=problem)
        form = question(asked, [csrf_field()])
        return self.framed(form, HTTPStatus.OK if problem is None else HTTPStatus.BAD_REQUEST)

    def _done(self, action: Action, name: str) -> AnyResponse:
        table = require_table(name)
        try:
            result: Result = in_audit_log(f"iceberg_offload.{action.value}", do)(action, table, request.form)
        except FixConfiguration as error:
            if action is not Action.VERIFY:
                raise
            return self._asked(action, name, f"{error.problem} {error.remedy}")
        if result.run_id is not None:
            link = ("Follow the run", run_url(DAG_ID, result.run_id))
        else:
            link = ("Run it now", _act_address(Action.RUN, name))
        session[_DONE] = [result.text, *link]
        return redirect(url_for(".page"), HTTPStatus.SEE_OTHER)

    def refused(self, problem: str, remedy: str, status: HTTPStatus, *, back: bool = True) -> AnyResponse:
        """A page that says why something was not done, and what to do."""
        return self.framed(refusal(problem, remedy, url_for(".page") if back else None), status)

    def framed(self, body: Markup, status: HTTPStatus) -> AnyResponse:
        """A page of Airflow's with our content."""
        files = {name: url_for(".file", name=f"page.{name}", v=asset_version(f"page.{name}")) for name in ("css", "js")}
        text = self.render_template("iceberg_offload/page.html", title="Iceberg Offload", body=body, files=files)
        return Response(text, status, {"Cache-Control": "no-store"})


def _act_address(action: Action, table: str) -> str:
    return url_for("IcebergOffloadView.question", action=action.value, table=table)


def _take_done() -> Done | None:
    told = session.pop(_DONE, None)
    return Done(told[0], Named(told[1], told[2])) if told else None
