"""Pages that are mailed: jinja2 templates that extend `html_mail.html.j2`, and their plain-text twins."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape


def render(folder: Path, template: str, **values: object) -> str:
    """Fill in a template.

    Args:
        folder: where it is.
        template: its file name; what ends in `.html.j2` is escaped.
        values: what it shows.
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
    """Escaped text in which what stands between backticks is set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before
