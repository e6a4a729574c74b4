"""Errors as ClickHouse reports them: a code, a name and a text."""

from __future__ import annotations

import enum
import re

ENGINE_ERROR = re.compile(r"Code: (\d+)\. (DB::\w*Exception: .*)", re.DOTALL)
NAME_AT_END = re.compile(r"\(([A-Z][A-Z0-9_]+)\)(?: \(version [^()]*(?:\([^()]*\))?\))?\.?\s*$")
VERSION_AT_END = re.compile(r" \(version [^()]*(?:\([^()]*\))?\)\s*$")


class Code(enum.IntEnum):
    """Codes that the server itself raises; the engine's own arrive as numbers in its messages."""

    BAD_ARGUMENTS = 36
    NOT_IMPLEMENTED = 48
    SYNTAX_ERROR = 62
    UNKNOWN_PACKET_FROM_CLIENT = 99
    UNEXPECTED_PACKET_FROM_CLIENT = 101
    TIMEOUT_EXCEEDED = 159
    READONLY = 164
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
    QUERY_IS_TOO_LARGE = 229
    CANNOT_DECOMPRESS = 271
    INTO_OUTFILE_NOT_ALLOWED = 358
    SESSION_NOT_FOUND = 372
    SESSION_IS_LOCKED = 373
    INVALID_SESSION_TIMEOUT = 374
    QUERY_WAS_CANCELLED = 394
    AUTHENTICATION_FAILED = 516
    UNSUPPORTED_MEDIA_TYPE = 779
    UNKNOWN_EXCEPTION = 1002


class ServerError(Exception):
    """The error that a client receives when its query fails.

    Attributes:
        code: ClickHouse's number for the error.
        name: ClickHouse's name for the error, such as `UNKNOWN_TABLE`.
        message: the text without code and name; it begins with `DB::Exception: `.
    """

    def __init__(self, code: int, message: str, name: str | None = None) -> None:
        """Create the error; without `name`, the code determines the name."""
        self.code = int(code)
        self.name = name or (Code(code).name if code in Code._value2member_map_ else "UNKNOWN_EXCEPTION")
        self.message = message if message.startswith("DB::") else f"DB::Exception: {message}"
        super().__init__(f"Code: {self.code}. {self.message} ({self.name})")

    def text(self, version: str) -> str:
        """Return the error as a server of this version prints it."""
        return f"{self} (version {version})"


class InUseError(Exception):
    """Another process uses the data folder or the port: stop it, or choose another folder or port."""


def from_engine(error: BaseException) -> ServerError:
    """Convert an error of the engine, whose message contains code and name; without them it is UNKNOWN_EXCEPTION."""
    found = ENGINE_ERROR.search(str(error))
    if not found:
        return ServerError(Code.UNKNOWN_EXCEPTION, str(error) or type(error).__name__)
    message, name = VERSION_AT_END.sub("", found[2]), None
    while ends := NAME_AT_END.search(message):
        message, name = message[: ends.start()].rstrip(), name or ends[1]
    # An error that passed through the engine's own client is wrapped in itself.
    message = re.sub(rf"^(DB::\w+: )(?:Code: {found[1]}\. DB::\w+: )+", r"\1", message)
    return ServerError(int(found[1]), message, name)
