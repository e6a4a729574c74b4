"""The protocol's primitives: numbers, texts and packet types."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable

REVISION = 54429
"""The newest revision whose blocks are in the engine's Native format and whose settings are text."""

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
    """The client violated the protocol: close the connection."""


def number(value: int) -> bytes:
    """Encode a whole number as unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str | bytes) -> bytes:
    """Encode a text, preceded by its length."""
    data = value.encode() if isinstance(value, str) else value
    return number(len(data)) + data


class WireReader:
    """Reads a stream of bytes through a buffer, and can record what it reads."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        """Create the reader; `receive` is a socket's `recv` or a file's `read`, which returns no bytes at the end."""
        self._receive = receive
        self._buffer = b""
        self._position = 0
        self._kept: list[bytes] | None = None
        self._kept_from = 0

    @property
    def at_end(self) -> bool:
        """Whether the stream has ended; waits until that is known."""
        if self._position < len(self._buffer):
            return False
        try:
            self._fill()
        except EOFError:
            return True
        return False

    def keep(self) -> None:
        """Start to record what is read."""
        self._kept = []
        self._kept_from = self._position

    def kept(self) -> bytes:
        """Stop recording, and return everything read since `keep`."""
        pieces = [*(self._kept or []), self._buffer[self._kept_from : self._position]]
        self._kept = None
        return b"".join(pieces)

    def exactly(self, size: int) -> bytes:
        """Read exactly this number of bytes.

        Raises:
            EOFError: the stream ended before.
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
        """Skip this number of bytes."""
        while size > len(self._buffer) - self._position:
            size -= len(self._buffer) - self._position
            self._position = len(self._buffer)
            self._fill()
        self._position += size

    def byte(self) -> int:
        """Read one byte."""
        if self._position == len(self._buffer):
            self._fill()
        self._position += 1
        return self._buffer[self._position - 1]

    def number(self) -> int:
        """Read a whole number (unsigned LEB128, at most 64 bits)."""
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
        """Read a text, preceded by its length."""
        return self.raw_text().decode(errors="replace")

    def raw_text(self) -> bytes:
        """Read a text as bytes, preceded by its length."""
        size = self.number()
        if size > MAX_TEXT:
            raise ProtocolError(f"A text of {size} bytes is longer than {MAX_TEXT}.")
        return self.exactly(size)

    def uint64(self) -> int:
        """Read an unsigned number of eight bytes."""
        value: int = struct.unpack("<Q", self.exactly(8))[0]
        return value

    def skip_texts(self, count: int) -> None:
        """Skip this number of texts. Reading string columns spends most of its time in this loop."""
        buffer, position, size = self._buffer, self._position, len(self._buffer)
        for _ in range(count):
            # A text shorter than 128 bytes that is completely in the buffer needs no call.
            if position < size and buffer[position] < 0x80 and position + buffer[position] < size:
                position += buffer[position] + 1
                continue
            self._position = position
            self.skip(self.number())
            buffer, position, size = self._buffer, self._position, len(self._buffer)
        self._position = position

    def _fill(self) -> None:
        """Receive more bytes; only called when everything in the buffer has been read."""
        if self._kept is not None:
            self._kept.append(self._buffer[self._kept_from :])
        self._kept_from = 0
        self._buffer = self._receive(_CHUNK)
        self._position = 0
        if not self._buffer:
            raise EOFError("The client closed the connection.")
