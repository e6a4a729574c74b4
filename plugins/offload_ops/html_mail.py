"""HTML mails: templates that extend `html_mail.html.j2`, and their plain-text counterparts."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape


def render(folder: Path, template: str, **values: object) -> str:
    """Fill in a template.

    Args:
        folder: the template's folder.
        template: its file name; values are escaped if it ends in `.html.j2`.
        values: the variables that it shows.
    """
    templates = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["code"] = as_code
    return templates.get_template(template).render(**values)


def as_code(text: str) -> Markup:
    """Escaped text; the parts between backticks become code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before
