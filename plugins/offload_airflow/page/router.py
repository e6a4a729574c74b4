"""The page "Iceberg Offload": what it answers at each of its addresses, to whom."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, ParamSpec

from markupsafe import Markup

from offload_airflow.compat.links import run_url
from offload_airflow.compat.site import NOT_STORED, Answer, Site
from offload_airflow.dag_ids import DAG_ID
from offload_airflow.page.actions import Result, ask, do, require_table
from offload_airflow.page.content import airflow_unavailable, look
from offload_airflow.page.unavailable import MARK, unavailable
from offload_core.errors import FixConfiguration, OffloadError
from offload_ops.status_page.model import Action, Done, Named
from offload_ops.status_page.render import asset, asset_version, live, question, refusal
from offload_ops.status_page.render import content as rendered

__all__ = ["act", "content", "file", "page", "unavailable"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
_Handler = Callable[Concatenate[Site, P], Answer]


def _for_readers(handler: _Handler[P]) -> _Handler[P]:
    """Only for those who may read the DAG: others log in, or are told whom to ask."""

    @wraps(handler)
    def guarded(site: Site, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        if site.may_see(DAG_ID):
            return handler(site, *args, **kwargs)
        if not site.is_logged_in():
            if site.is_script:
                return Answer(status=HTTPStatus.UNAUTHORIZED)
            return Answer(status=HTTPStatus.FOUND, location=site.login_url(site.address))
        return _refused(
            site,
            f"You may not read the DAG {DAG_ID}.",
            "Ask an Airflow administrator for a role with `can read` on it.",
            HTTPStatus.FORBIDDEN,
            back=False,
        )

    return guarded


@_for_readers
def page(site: Site) -> Answer:
    """The page."""
    found, status = look(_act_address(site) if site.may_act(DAG_ID) else None)
    return _framed(site, live(rendered(found), f"{site.root}/content", _take_done(site)), status)


@_for_readers
def content(site: Site) -> Answer:
    """What an open page fetches to be fresh."""
    found, status = look(_act_address(site) if site.may_act(DAG_ID) else None)
    return Answer(str(rendered(found)), status, MARK)


def file(name: str) -> Answer:
    """The page's style and script; they say nothing about anybody's tables."""
    found = asset(name)
    if found is None:
        return Answer(status=HTTPStatus.NOT_FOUND)
    body, kind = found
    return Answer(body, headers={"Cache-Control": "public, max-age=604800, immutable"}, kind=kind)


@_for_readers
def act(site: Site, action: Action, table: str, *, is_sent: bool) -> Answer:
    """The question before an action, and the action once the question's form is sent."""
    if not site.may_act(DAG_ID):
        return _refused(
            site,
            f"You may look at {DAG_ID}, but not act on it.",
            "Ask an Airflow administrator for a role with `can edit` on the DAG and `can create` on DAG runs.",
            HTTPStatus.FORBIDDEN,
        )
    if is_sent and not site.is_own_form():
        return _refused(
            site, "The form was not sent from this page.", "Open it anew from the page.", HTTPStatus.BAD_REQUEST
        )
    try:
        return _done(site, action, table) if is_sent else _asked(site, action, table)
    except OffloadError as error:
        return _refused(site, error.problem, error.remedy, HTTPStatus.CONFLICT)
    except Exception as error:  # whatever Airflow raises, nobody shall see a stack trace
        log.exception("%s of %s from the page has failed.", action.value, table)
        away = airflow_unavailable(error)
        return _refused(site, away.problem, away.remedy, HTTPStatus.SERVICE_UNAVAILABLE)


def _asked(site: Site, action: Action, name: str, problem: str | None = None) -> Answer:
    asked = ask(action, require_table(name), site.form, site.path, f"{site.root}/")
    if problem is not None:
        asked = replace(asked, problem=problem)
    form = question(asked, [site.csrf_field()])
    return _framed(site, form, HTTPStatus.OK if problem is None else HTTPStatus.BAD_REQUEST)


def _done(site: Site, action: Action, name: str) -> Answer:
    table, sent = require_table(name), site.form

    def acted() -> Result:
        return do(action, table, sent)

    try:
        result = site.logged(f"iceberg_offload.{action.value}", acted)
    except FixConfiguration as error:
        if action is not Action.VERIFY:
            raise
        return _asked(site, action, name, f"{error.problem} {error.remedy}")
    if result.run_id is not None:
        link = ("Follow the run", run_url(DAG_ID, result.run_id))
    else:
        link = ("Run it now", _act_address(site)(Action.RUN, name))
    site.leave([result.text, *link])
    return Answer(status=HTTPStatus.SEE_OTHER, location=f"{site.root}/")


def _refused(site: Site, problem: str, remedy: str, status: HTTPStatus, *, back: bool = True) -> Answer:
    """A page that says why something was not done, and what to do."""
    return _framed(site, refusal(problem, remedy, f"{site.root}/" if back else None), status)


def _framed(site: Site, body: Markup, status: HTTPStatus) -> Answer:
    """A page of Airflow's with our content."""
    files = {name: f"{site.root}/file/page.{name}?v={asset_version(f'page.{name}')}" for name in ("css", "js")}
    return Answer(site.framed(body, files), status, NOT_STORED)


def _act_address(site: Site) -> Callable[[Action, str], str]:
    return lambda action, table: f"{site.root}/{action.value}/{table}"


def _take_done(site: Site) -> Done | None:
    told = site.take()
    return Done(told[0], Named(told[1], told[2])) if told else None
