"""HTML as a test reads it."""

from __future__ import annotations

from html.parser import HTMLParser


class ShownHtml(HTMLParser):
    """The content of a page: its text, and the attributes of each element."""

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
        """The text of the whole page, with single spaces."""
        return " ".join(" ".join(self._text).split())

    def all(self, attribute: str) -> list[str]:
        """The values of an attribute, of all elements that have it."""
        return [attributes[attribute] or "" for _, attributes in self.elements if attribute in attributes]

    def table(self, name: str) -> dict[str, str | None]:
        """The attributes of the row that shows a table."""
        return next(attributes for _, attributes in self.elements if attributes.get("data-table") == name)
