"""The page "Iceberg Offload": its answer at each of its addresses, depending on the user."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, ParamSpec

from markupsafe import Markup

from offload_airflow.compat.links import run_url
from offload_airflow.compat.site import NOT_STORED, Answer, Site
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.page.actions import ActionResult, confirm, execute, require_table
from offload_airflow.page.content import airflow_unavailable, load_page
from offload_core.errors import FixConfiguration, OffloadError
from offload_ops.status_page import render
from offload_ops.status_page.compute import page_unavailable
from offload_ops.status_page.model import Action, ActionDone, LabeledLink

log = logging.getLogger(__name__)

P = ParamSpec("P")
_Handler = Callable[Concatenate[Site, P], Answer]

_CONTENT = {"X-Iceberg-Offload": "content", **NOT_STORED}
"""Headers that tell an open page that the answer is its content."""


def _for_readers(handler: _Handler[P]) -> _Handler[P]:
    """Answer only users who may read the DAG. Others are sent to the login form, or told whom to ask."""

    @wraps(handler)
    def guarded(site: Site, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        if site.may_see(DAG_ID):
            return handler(site, *args, **kwargs)
        if not site.is_logged_in():
            if site.is_script:
                return Answer(status=HTTPStatus.UNAUTHORIZED)
            return Answer(status=HTTPStatus.FOUND, location=site.login_url(site.address))
        return _refuse(
            site,
            f"You may not read the DAG {DAG_ID}.",
            "Ask an Airflow administrator for a role with `can read` on it.",
            HTTPStatus.FORBIDDEN,
            back=False,
        )

    return guarded


@_for_readers
def page(site: Site) -> Answer:
    """The whole page."""
    state, status = load_page(_act_address(site) if site.may_act(DAG_ID) else None)
    return _answer(site, render.live(render.content(state), f"{site.root}/content", _take_result(site)), status)


@_for_readers
def content(site: Site) -> Answer:
    """The content alone, which an open page fetches to refresh itself."""
    state, status = load_page(_act_address(site) if site.may_act(DAG_ID) else None)
    return Answer(str(render.content(state)), status, _CONTENT)


def file(name: str) -> Answer:
    """The page's style and script. They contain no data, so everybody may read them."""
    found = render.asset(name)
    if found is None:
        return Answer(status=HTTPStatus.NOT_FOUND)
    body, media_type = found
    return Answer(body, headers={"Cache-Control": "public, max-age=604800, immutable"}, media_type=media_type)


@_for_readers
def act(site: Site, action: Action, table: str, *, is_sent: bool) -> Answer:
    """The question before an action, or the result of the action once its form is submitted."""
    if not site.may_act(DAG_ID):
        return _refuse(
            site,
            f"You may look at {DAG_ID}, but not act on it.",
            "Ask an Airflow administrator for a role with `can edit` on the DAG and `can create` on DAG runs.",
            HTTPStatus.FORBIDDEN,
        )
    if is_sent and not site.is_own_form():
        return _refuse(
            site, "The form was not sent from this page.", "Open it again from the page.", HTTPStatus.BAD_REQUEST
        )
    try:
        return _execute(site, action, table) if is_sent else _confirm(site, action, table)
    except OffloadError as error:
        return _refuse(site, error.problem, error.remedy, HTTPStatus.CONFLICT)
    except Exception as error:  # whatever Airflow raises, a browser must never see a stack trace
        log.exception("%s of %s from the page has failed.", action.value, table)
        unavailable_error = airflow_unavailable(error)
        return _refuse(site, unavailable_error.problem, unavailable_error.remedy, HTTPStatus.SERVICE_UNAVAILABLE)


def unavailable(error: Exception, path: str) -> Answer:
    """The answer at a path of the page while Airflow's database is down and Airflow cannot even identify the user.

    An open page gets content, a new one a whole page.
    """
    body = render.content(page_unavailable(airflow_unavailable(error), None, datetime.now(timezone.utc)))
    document = body if path.endswith("/content") else render.document(body)
    return Answer(str(document), HTTPStatus.SERVICE_UNAVAILABLE, _CONTENT)


def _confirm(site: Site, action: Action, name: str, problem: str | None = None) -> Answer:
    question = confirm(action, require_table(name), site.form, site.path, f"{site.root}/")
    if problem is not None:
        question = replace(question, problem=problem)
    form = render.question(question, [site.csrf_field()])
    return _answer(site, form, HTTPStatus.OK if problem is None else HTTPStatus.BAD_REQUEST)


def _execute(site: Site, action: Action, name: str) -> Answer:
    table, form = require_table(name), site.form

    def act() -> ActionResult:
        return execute(action, table, form)

    try:
        result = site.run_logged(f"iceberg_offload.{action.value}", act)
    except FixConfiguration as error:
        if action is not Action.VERIFY:
            raise
        # Only the form of `verify` has fields that the user can correct.
        return _confirm(site, action, name, f"{error.problem} {error.remedy}")
    if result.run_id is not None:
        link = ("Follow the run", run_url(DAG_ID, result.run_id))
    else:
        link = ("Run it now", _act_address(site)(Action.RUN, name))
    site.save_message([result.text, *link])
    return Answer(status=HTTPStatus.SEE_OTHER, location=f"{site.root}/")


def _refuse(site: Site, problem: str, remedy: str, status: HTTPStatus, *, back: bool = True) -> Answer:
    """A page that says why something was not done, and what to do."""
    return _answer(site, render.refusal(problem, remedy, f"{site.root}/" if back else None), status)


def _answer(site: Site, body: Markup, status: HTTPStatus) -> Answer:
    """A page in Airflow's frame."""
    files = {name: f"{site.root}/file/page.{name}?v={render.asset_version(f'page.{name}')}" for name in ("css", "js")}
    return Answer(site.in_frame(body, files), status, NOT_STORED)


def _act_address(site: Site) -> Callable[[Action, str], str]:
    return lambda action, table: f"{site.root}/{action.value}/{table}"


def _take_result(site: Site) -> ActionDone | None:
    message = site.take_message()
    return ActionDone(message[0], LabeledLink(message[1], message[2])) if message else None
