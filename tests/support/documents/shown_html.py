"""HTML as a test reads it."""

from __future__ import annotations

from html.parser import HTMLParser


class Shown(HTMLParser):
    """What stands in a page: its text, and each element's attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._text).split())

    def all(self, attribute: str) -> list[str]:
        return [found[attribute] or "" for _, found in self.elements if attribute in found]

    def row(self, table: str) -> dict[str, str | None]:
        return next(found for _, found in self.elements if found.get("data-table") == table)
