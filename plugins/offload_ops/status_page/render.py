"""The page as HTML, and the files that belong to it. The templates escape everything that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from offload_ops.html_mail import as_code
from offload_ops.status_page.model import ActionDone, PageUnavailable, Question, StatusPage
from offload_ops.text import count

REFRESH_SECONDS = 15
"""How often an open page fetches its content."""
_FOLDER = Path(__file__).parent / "templates"
_ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def content(page: StatusPage | PageUnavailable) -> Markup:
    """The part of the page that an open page fetches again and again."""
    return _render("page.html.j2" if isinstance(page, StatusPage) else "unavailable.html.j2", page=page)


def live(inner: Markup, refresh: str, done: ActionDone | None = None) -> Markup:
    """The content in the frame that `page.js` refreshes.

    Args:
        inner: the content.
        refresh: the address that serves new content, marked by the header `X-Iceberg-Offload: content`.
        done: the result of the action that led here, if any.
    """
    return _render("live.html.j2", content=inner, refresh=refresh, every=REFRESH_SECONDS, done=done)


def question(form: Question, hidden: Sequence[tuple[str, str]] = ()) -> Markup:
    """The form that confirms an action.

    Args:
        form: its content.
        hidden: more fields that the web framework needs, against forged requests.
    """
    return _render("question.html.j2", question=form, hidden=[*form.hidden, *hidden])


def refusal(problem: str, remedy: str, back: str | None) -> Markup:
    """Why something was not done or is not shown, and what to do."""
    return _render("refusal.html.j2", problem=problem, remedy=remedy, back=back)


def document(body: Markup) -> Markup:
    """A complete HTML page that loads nothing: its style is inside."""
    style = Markup((_FOLDER / "page.css").read_text())  # noqa: S704 - our own file
    return _render("document.html.j2", body=body, style=style)


def framed(body: Markup, files: Mapping[str, str], root: str, home: str) -> Markup:
    """A complete HTML page for a web framework without a frame of its own, which may show it inside another page.

    Args:
        body: its content.
        files: the addresses of the style (`css`) and the script (`js`).
        root: the path of the page; addresses below it open in the same frame, all others outside it.
        home: the address of the web interface that it belongs to.
    """
    return _render("framed.html.j2", body=body, files=files, root=root, home=home)


def asset(name: str) -> tuple[bytes, str] | None:
    """A file that belongs to the page, and its media type; None if there is no such file."""
    media_type = _ASSETS.get(name)
    return None if media_type is None else ((_FOLDER / name).read_bytes(), media_type)


def asset_version(name: str) -> str:
    """A word that changes with the file. It goes into the address, because browsers keep the file of an address."""
    return sha256((_FOLDER / name).read_bytes()).hexdigest()[:12]


def _render(template: str, **values: object) -> Markup:
    return Markup(_templates().get_template(template).render(**values))  # noqa: S704 - escaped by the template


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["code"] = as_code
    templates.filters["count"] = count
    return templates
