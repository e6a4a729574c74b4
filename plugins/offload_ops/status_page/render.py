"""The page as HTML, and the files that belong to it. What is shown is escaped by the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from offload_ops.html_mail import as_code
from offload_ops.status_page.model import Done, Question, StatusPage, Unreadable

EVERY_SECONDS = 15
"""How often an open page asks for its content."""
_FOLDER = Path(__file__).parent / "templates"
_ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def content(page: StatusPage | Unreadable) -> Markup:
    """The part of the page that is fetched anew."""
    return _render("page.html.j2" if isinstance(page, StatusPage) else "unreadable.html.j2", page=page)


def live(inner: Markup, refresh: str, done: Done | None = None) -> Markup:
    """The content in the frame that `page.js` keeps fresh.

    Args:
        inner: the content.
        refresh: where it is fetched from, with the header `X-Iceberg-Offload: content`.
        done: what an action has just led to.
    """
    return _render("live.html.j2", content=inner, refresh=refresh, every=EVERY_SECONDS, done=done)


def question(asked: Question, hidden: Sequence[tuple[str, str]] = ()) -> Markup:
    """The form on which an action is confirmed.

    Args:
        asked: the question.
        hidden: further fields that the web framework wants, against forged requests.
    """
    return _render("question.html.j2", question=asked, hidden=[*asked.hidden, *hidden])


def refusal(problem: str, remedy: str, back: str | None) -> Markup:
    """Why something was not done or is not shown, and what to do."""
    return _render("refusal.html.j2", problem=problem, remedy=remedy, back=back)


def document(body: Markup) -> Markup:
    """A whole HTML page that needs nothing else, with its style inside."""
    return _render("document.html.j2", body=body, style=Markup((_FOLDER / "page.css").read_text()))  # noqa: S704 - our file


def framed(body: Markup, files: Mapping[str, str], root: str, home: str) -> Markup:
    """A whole HTML page for where the web framework has no frame of its own, but may show it in one.

    Args:
        body: what is on it.
        files: the addresses of the style (`css`) and the script (`js`).
        root: the path of the page; addresses below it open in the same frame, all others outside it.
        home: the address of what it belongs to.
    """
    return _render("framed.html.j2", body=body, files=files, root=root, home=home)


def asset(name: str) -> tuple[bytes, str] | None:
    """A file that belongs to the page and its type; None: there is none of that name."""
    kind = _ASSETS.get(name)
    return None if kind is None else ((_FOLDER / name).read_bytes(), kind)


def asset_version(name: str) -> str:
    """A word that changes with the file, for its address: browsers keep what they have."""
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
    return templates
