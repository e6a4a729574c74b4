"""The HTTP status codes of ClickHouse's errors."""

from __future__ import annotations

_BAD_REQUEST = {
    6,
    8,
    15,
    25,
    26,
    27,
    36,
    37,
    38,
    41,
    44,
    53,
    62,
    72,
    117,
    123,
    167,
    168,
    223,
    321,
    376,
    427,
    441,
    675,
    676,
}
_NOT_FOUND = {46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511}
_FORBIDDEN = {192, 193, 497, 512, 516}
_STATUS = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    **dict.fromkeys(_NOT_FOUND, 404),
    **dict.fromkeys(_FORBIDDEN, 403),
    48: 501,
    76: 503,
    159: 408,
    194: 401,
    209: 503,
    229: 413,
    381: 411,
    439: 503,
    779: 415,
}


def status_of(code: int) -> int:
    """Return the HTTP status of a ClickHouse error code; 500 if the code has no status of its own."""
    return _STATUS.get(code, 500)
