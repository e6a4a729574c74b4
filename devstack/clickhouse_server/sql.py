"""Just enough of ClickHouse's SQL grammar to route a statement; the engine parses it completely.

Statements are bytes, because the rows of an INSERT may directly follow its text, in any encoding.
"""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devstack.clickhouse_server.errors import Code, ServerError
from offload_core.source.quoting import quote_identifier, quote_text

_TOKEN = re.compile(
    rb"""
    (?P<space>    \s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<string>   '(?:[^'\\]|\\.|'')*(?:'|\Z) | (?P<heredoc>\$\w*\$).*?(?:(?P=heredoc)|\Z) )
  | (?P<quoted>   `(?:[^`\\]|\\.|``)*(?:`|\Z) | "(?:[^"\\]|\\.|"")*(?:"|\Z) )
  | (?P<word>     [A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]* )
  | (?P<number>   \d[\w.]* )
  | (?P<mark>     . )
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = frozenset((b"(", b"[", b"{")), frozenset((b")", b"]", b"}"))
_WITH_RESULT = frozenset(
    (b"SELECT", b"WITH", b"FROM", b"(", b"SHOW", b"DESC", b"DESCRIBE", b"EXPLAIN", b"EXISTS", b"CHECK", b"KILL")
)
_STREAMED = frozenset((b"SELECT", b"WITH", b"FROM", b"("))
_HARMLESS = frozenset((b"SET", b"USE"))
_NOT_BEFORE_FORMAT = frozenset((b".", b",", b"AS", b"SELECT", b"FROM", b"JOIN", b"BY", b"WHERE", b"AND", b"OR", b"="))

PROCESSES_VIEW = "gateway_processes"


class Kind(enum.Enum):
    """How the server handles a statement."""

    RESULT = enum.auto()
    """A statement with a result to send: SELECT, SHOW, DESCRIBE, …"""
    INSERT_DATA = enum.auto()
    """An INSERT whose rows come from the client."""
    KILL = enum.auto()
    """KILL QUERY."""
    COMMAND = enum.auto()
    """Everything else: DDL, SET, USE, INSERT … SELECT, SYSTEM."""


@dataclass(frozen=True)
class Token:
    """A word or mark; `upper` is its text, in upper case if it is a word."""

    upper: bytes
    start: int
    end: int
    depth: int
    kind: str


@dataclass(frozen=True)
class Statement:
    """A statement, taken apart as far as the server needs it.

    Attributes:
        kind: how the server handles it.
        sql: its text; for INSERT_DATA the part before SETTINGS, FORMAT or VALUES, for KILL the mode.
        format: the format that it names, or None.
        data: INSERT_DATA: the position in the original text where the rows begin.
        condition: KILL: the condition of its WHERE clause.
        tail: its SETTINGS clause, if that follows FORMAT or belongs to an INSERT.
        target: INSERT_DATA: a SELECT of the columns that the rows have.
        streamed: whether it is a SELECT, whose result may have any size.
        readonly: whether it changes nothing on the server.
    """

    kind: Kind
    sql: str
    format: str | None = None
    data: int = 0
    condition: str = ""
    tail: str = ""
    target: str = ""
    streamed: bool = False
    readonly: bool = False

    def into_file(self, path: str, default_format: str, compression: str | None, level: int) -> str:
        """Return the statement with its result written to `path`, which exists (for example a pipe)."""
        how = f"TRUNCATE COMPRESSION {quote_text(compression)} LEVEL {level}" if compression else "APPEND"
        target = f"{self.sql}\nINTO OUTFILE {quote_text(path)} {how}"
        return f"{target} FORMAT {quote_identifier(self.format or default_format)} {self.tail}"

    def from_file(self, path: str, format_name: str | None = None) -> str:
        """Return the INSERT with its rows read from `path`, in this format or in the one that it names."""
        name = quote_identifier(format_name or self.format or "Values")
        return f"{self.sql}\nFROM INFILE {quote_text(path)} {self.tail}\nFORMAT {name}"


def parse(text: bytes) -> Statement:
    """Parse one statement as far as the server needs it.

    Raises:
        ServerError: SYNTAX_ERROR for several statements, INTO_OUTFILE_NOT_ALLOWED for one that names a server's file.
    """
    tokens = _tokens(text)
    first = next(tokens, None)
    if first is None:
        raise ServerError(Code.SYNTAX_ERROR, "Syntax error: Empty query.")
    if first.upper == b"INSERT":
        return _parse_insert(text, [first, *_until_data(tokens)])
    found = _single([first, *tokens])
    if _index(found, b"INTO", b"OUTFILE") is not None:
        raise ServerError(
            Code.INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed, because it writes files of the server."
        )
    if [token.upper for token in found[:2]] == [b"KILL", b"QUERY"]:
        return _parse_kill(text, found)
    end = found[-1].end
    inserts = first.upper == b"WITH" and any(token.upper == b"INSERT" and token.depth == 0 for token in found)
    if first.upper not in _WITH_RESULT or inserts:
        return Statement(Kind.COMMAND, _rewritten(text, found, end), readonly=first.upper in _HARMLESS)
    return _parse_result(text, found)


def begins_insert(text: bytes) -> bool:
    """Whether the beginning of the statement is an INSERT, so that rows may follow."""
    first = next(_tokens(text), None)
    return first is not None and first.upper == b"INSERT"


def is_whole_insert(text: bytes) -> bool:
    """Whether the text is an INSERT that needs rows, complete up to the beginning of its rows."""
    if not begins_insert(text):
        return False
    try:
        return parse(text).kind is Kind.INSERT_DATA
    except ServerError:
        return False


def _tokens(text: bytes) -> Iterator[Token]:
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "space":
            continue
        value = match[0].upper() if kind in ("word", "mark") else match[0]
        # Both marks of a pair have the depth outside of it.
        depth -= value in _CLOSING
        yield Token(value, match.start(), match.end(), depth, kind)
        depth += value in _OPENING


def _until_data(tokens: Iterator[Token]) -> Iterator[Token]:
    """The tokens up to where the rows of an INSERT may begin; rows are not SQL and can be huge."""
    previous = b""
    for token in tokens:
        yield token
        if token.depth == 0 and (previous == b"FORMAT" or token.upper == b"VALUES"):
            return
        previous = token.upper if token.depth == 0 else b""


def _single(tokens: Sequence[Token]) -> list[Token]:
    """The tokens of the only statement, without its final semicolon."""
    end = next((i for i, token in enumerate(tokens) if token.upper == b";"), len(tokens))
    if any(token.upper != b";" for token in tokens[end:]):
        raise ServerError(Code.SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed).")
    if end == 0:
        raise ServerError(Code.SYNTAX_ERROR, "Syntax error: Empty query.")
    return list(tokens[:end])


def _index(tokens: Sequence[Token], *words: bytes) -> int | None:
    """The index at which these words follow each other outside of parentheses."""
    for i in range(len(tokens) - len(words) + 1):
        if tokens[i].depth == 0 and all(
            tokens[i + k].kind == "word" and tokens[i + k].upper == word for k, word in enumerate(words)
        ):
            return i
    return None


def _parse_result(text: bytes, tokens: list[Token]) -> Statement:
    at = _format_at(tokens)
    cut = len(tokens) if at is None else at
    end = tokens[cut - 1].end
    return Statement(
        Kind.RESULT,
        _rewritten(text, tokens[:cut], end),
        format=None if at is None else _name(text, tokens[at + 1]),
        tail="" if at is None else _text(text[tokens[at + 1].end : tokens[-1].end]).strip(),
        streamed=tokens[0].upper in _STREAMED,
        readonly=tokens[0].upper != b"KILL",
    )


def _format_at(tokens: Sequence[Token]) -> int | None:
    """The index at which the FORMAT clause begins; a column, table or alias may also be named "format"."""
    for i in range(len(tokens) - 2, 0, -1):
        if tokens[i].upper != b"FORMAT" or tokens[i].kind != "word" or tokens[i].depth:
            continue
        followed = i + 2 == len(tokens) or tokens[i + 2].upper in (b"SETTINGS", b"INTO")
        if followed and tokens[i + 1].kind in ("word", "quoted") and tokens[i - 1].upper not in _NOT_BEFORE_FORMAT:
            return i
    return None


def _parse_kill(text: bytes, tokens: list[Token]) -> Statement:
    where = _index(tokens, b"WHERE")
    if where is None:
        raise ServerError(Code.SYNTAX_ERROR, "Syntax error: KILL QUERY needs a WHERE condition.")
    at = _format_at(tokens)
    last = len(tokens) if at is None else at
    mode = tokens[last - 1].upper if tokens[last - 1].upper in (b"SYNC", b"ASYNC", b"TEST") else b""
    condition = text[tokens[where].end : tokens[last - 1].start if mode else tokens[last - 1].end]
    return Statement(
        Kind.KILL,
        mode.decode() or "ASYNC",
        format=None if at is None else _name(text, tokens[at + 1]),
        condition=_text(condition),
    )


def _parse_insert(text: bytes, tokens: list[Token]) -> Statement:
    select = next((t for t in tokens[1:] if t.kind == "word" and t.upper in (b"SELECT", b"WATCH", b"INFILE")), None)
    if select is not None:
        if select.upper == b"INFILE":
            raise ServerError(
                Code.NOT_IMPLEMENTED, "FROM INFILE is a feature of clients: send the rows with the INSERT."
            )
        if any(a.upper == b"INPUT" and b.upper == b"(" for a, b in itertools.pairwise(tokens)):
            raise ServerError(Code.NOT_IMPLEMENTED, "input() is not supported: insert into a temporary table first.")
        return Statement(Kind.COMMAND, _rewritten(text, tokens, len(text)).rstrip().rstrip(";"))
    last = tokens[-1]
    if last.upper == b"VALUES":
        end, name, data = len(tokens) - 1, "Values", last.end
    elif len(tokens) > 2 and tokens[-2].upper == b"FORMAT":
        end, name, data = len(tokens) - 2, _name(text, last), _data_start(text, last.end)
    else:
        raise ServerError(Code.SYNTAX_ERROR, "Syntax error: INSERT needs VALUES, FORMAT or SELECT.")
    settings = _index(tokens[:end], b"SETTINGS") or end
    return Statement(
        Kind.INSERT_DATA,
        _text(text[: tokens[settings].start]),
        format=name,
        data=data,
        tail=_text(text[tokens[settings].start : tokens[end].start]),
        target=_insert_target(text, tokens[:settings]),
    )


class _Cursor:
    """Reads tokens from left to right."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._position = 0

    @property
    def rest(self) -> list[Token]:
        """The tokens that have not been read."""
        return list(self._tokens[self._position :])

    def accept(self, word: bytes, unless_before: bytes = b"") -> bool:
        """Read the word if it comes next, unless `unless_before` follows it; return whether it was read."""
        following = [token.upper for token in self.rest[:2]]
        accepted = following[:1] == [word] and following[1:] != [unless_before]
        self._position += accepted
        return accepted


def _insert_target(text: bytes, tokens: Sequence[Token]) -> str:
    """The SELECT for INSERT [INTO] [TABLE] name [(columns)] or INSERT [INTO] FUNCTION name(…) [(columns)]."""
    cursor = _Cursor(tokens)
    cursor.accept(b"INSERT")
    cursor.accept(b"INTO")
    # A dot after it makes the word the name of a database.
    is_function = cursor.accept(b"FUNCTION", unless_before=b".")
    if not is_function:
        cursor.accept(b"TABLE", unless_before=b".")
    target = cursor.rest
    columns = "*"
    brackets = [i for i, token in enumerate(target) if token.depth == 0 and token.upper in (b"(", b")")]
    # The first pair of a function contains its arguments.
    if len(brackets) == (4 if is_function else 2):
        opening, closing = brackets[-2:]
        columns = _text(text[target[opening].end : target[closing].start])
        target = target[:opening]
    name = _text(text[target[0].start : target[-1].end])
    return f"SELECT {columns} FROM {name}"  # noqa: S608 - parts of the client's own statement


def _data_start(text: bytes, end: int) -> int:
    found = re.compile(rb"[ \t\f]*;?[ \t\f]*(?:\r?\n)?").match(text, end)
    return found.end() if found else end


def _rewritten(text: bytes, tokens: Sequence[Token], end: int) -> str:
    """The text up to `end`, with system.processes replaced by the view that shows the clients' query ids."""
    pieces, position = [], 0
    for i in range(2, len(tokens)):
        database, dot, table = (tokens[k].upper.strip(b'`"').upper() for k in (i - 2, i - 1, i))
        if (database, dot, table) == (b"SYSTEM", b".", b"PROCESSES") and tokens[i].end <= end:
            pieces += [text[position : tokens[i].start], PROCESSES_VIEW.encode()]
            position = tokens[i].end
    return _text(b"".join([*pieces, text[position:end]]))


def _name(text: bytes, token: Token) -> str:
    return _text(text[token.start : token.end]).strip('`"')


def _text(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError as error:
        raise ServerError(Code.BAD_ARGUMENTS, f"The query is not UTF-8: {error}.") from error
