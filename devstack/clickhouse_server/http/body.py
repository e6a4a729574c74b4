"""The decompressed body of a request, piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import lz4.frame  # type: ignore[import-untyped]
from aiohttp import web
from backports import zstd

from devstack.clickhouse_server.errors import Code, ServerError


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Plain:
    eof = True
    unused_data = b""

    def decompress(self, data: bytes, /) -> bytes:
        return data


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "": _Plain,
    "identity": _Plain,
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "deflate": zlib.decompressobj,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
}


class _FrameDecompressor:
    """Undoes a Content-Encoding; a body may consist of several compressed frames, one after another."""

    def __init__(self, encoding: str) -> None:
        self._new_decompressor = _DECOMPRESSORS[encoding]
        self._current: _Decompressor | None = None

    @property
    def complete(self) -> bool:
        return self._current is None or self._current.eof

    def decompress(self, data: bytes) -> bytes:
        output = []
        try:
            while data:
                if self._current is None or self._current.eof:
                    self._current = self._new_decompressor()
                output.append(self._current.decompress(data))
                data = self._current.unused_data or b""
        except (zlib.error, RuntimeError, EOFError, zstd.ZstdError) as error:
            raise ServerError(Code.CANNOT_DECOMPRESS, f"Cannot decompress the body: {error}.") from error
        return b"".join(output)


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body, without its Content-Encoding, as it arrives.

    Raises:
        ServerError: UNSUPPORTED_MEDIA_TYPE for an unknown encoding, CANNOT_DECOMPRESS for a broken or truncated body.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _DECOMPRESSORS:
        raise ServerError(Code.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding {encoding!r} is not supported.")
    decompressor = _FrameDecompressor(encoding)
    async for data in request.content.iter_any():
        yield decompressor.decompress(data)
    if not decompressor.complete:
        raise ServerError(Code.CANNOT_DECOMPRESS, f"The {encoding} body ends in the middle.")
