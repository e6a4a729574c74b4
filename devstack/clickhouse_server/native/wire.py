"""The protocol's alphabet: numbers, texts and the kinds of packets."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable

REVISION = 54429
"""The newest revision in which blocks are what the engine's Native format writes, and settings travel as text."""

MAX_TEXT = 256 << 20
_CHUNK = 1 << 18


class FromClient(enum.IntEnum):
    """Packets that a client sends."""

    HELLO = 0
    QUERY = 1
    DATA = 2
    CANCEL = 3
    PING = 4


class FromServer(enum.IntEnum):
    """Packets that the server sends."""

    HELLO = 0
    DATA = 1
    EXCEPTION = 2
    PROGRESS = 3
    PONG = 4
    END_OF_STREAM = 5


class ProtocolError(Exception):
    """The client sent what this protocol doesn't have: end the connection."""


def number(value: int) -> bytes:
    """A whole number in as few bytes as it needs (unsigned LEB128)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str | bytes) -> bytes:
    """A text with its length in front."""
    data = value.encode() if isinstance(value, str) else value
    return number(len(data)) + data


class Reader:
    """Reads a stream of bytes through a buffer, and can keep what it reads."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        """`receive` returns at most so many bytes, none at the end: a socket's `recv`, a file's `read`."""
        self._receive = receive
        self._buffer = b""
        self._position = 0
        self._kept: list[bytes] | None = None
        self._kept_from = 0

    @property
    def at_end(self) -> bool:
        """True when nothing more comes; waits until that is known."""
        if self._position < len(self._buffer):
            return False
        try:
            self._fill()
        except EOFError:
            return True
        return False

    def keep(self) -> None:
        """From here on, keep what is read."""
        self._kept = []
        self._kept_from = self._position

    def kept(self) -> bytes:
        """Everything read since `keep`, which ends here."""
        pieces = [*(self._kept or []), self._buffer[self._kept_from : self._position]]
        self._kept = None
        return b"".join(pieces)

    def exactly(self, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            EOFError: the connection ended before.
        """
        start, end = self._position, self._position + size
        if end <= len(self._buffer):
            self._position = end
            return self._buffer[start:end]
        pieces = [self._buffer[start:]]
        missing = size - len(pieces[0])
        self._position = len(self._buffer)
        while missing:
            self._fill()
            taken = min(missing, len(self._buffer))
            pieces.append(self._buffer[:taken])
            self._position = taken
            missing -= taken
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Pass over so many bytes."""
        while size > len(self._buffer) - self._position:
            size -= len(self._buffer) - self._position
            self._position = len(self._buffer)
            self._fill()
        self._position += size

    def byte(self) -> int:
        """One byte."""
        if self._position == len(self._buffer):
            self._fill()
        self._position += 1
        return self._buffer[self._position - 1]

    def number(self) -> int:
        """A whole number of any size (unsigned LEB128, at most 64 bits)."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ProtocolError("A number is longer than 64 bits.")

    def text(self) -> str:
        """A text with its length in front."""
        return self.raw_text().decode(errors="replace")

    def raw_text(self) -> bytes:
        """A text with its length in front, as it came."""
        size = self.number()
        if size > MAX_TEXT:
            raise ProtocolError(f"A text of {size} bytes is longer than {MAX_TEXT}.")
        return self.exactly(size)

    def uint64(self) -> int:
        """An unsigned number of eight bytes."""
        value: int = struct.unpack("<Q", self.exactly(8))[0]
        return value

    def skip_texts(self, count: int) -> None:
        """Pass over so many texts; the loop that reading string columns spends its time in."""
        buffer, position, size = self._buffer, self._position, len(self._buffer)
        for _ in range(count):
            # A text shorter than 128 bytes that is in the buffer as a whole needs no call.
            if position < size and buffer[position] < 0x80 and position + buffer[position] < size:
                position += buffer[position] + 1
                continue
            self._position = position
            self.skip(self.number())
            buffer, position, size = self._buffer, self._position, len(self._buffer)
        self._position = position

    def _fill(self) -> None:
        """Get more; only called when everything in the buffer has been read."""
        if self._kept is not None:
            self._kept.append(self._buffer[self._kept_from :])
        self._kept_from = 0
        self._buffer = self._receive(_CHUNK)
        self._position = 0
        if not self._buffer:
            raise EOFError("The client closed the connection.")
