"""Errors of files: a disk is full, or a folder cannot be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from offload_core.errors import CatalogUnavailable, FreeDiskSpace

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def says_full(message: str) -> bool:
    """Whether another program's message is about a full disk; a JVM and PostgreSQL pass on the system's own text."""
    return any(os.strerror(code) in message for code in _FULL)


def full_disk(what: str, reason: str) -> FreeDiskSpace:
    """The error for a full disk; `what` completes "… while"."""
    return FreeDiskSpace(
        f"There was no room for a file while {what}: {reason}.",
        "Free space there (`df -h` shows which disk is full; lift a quota if there is one). Nothing was published, and "
        "the next attempt carries on from the same watermark.",
    )


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn errors of this machine's files into errors that say what to do. `what` completes "… while".

    Raises:
        FreeDiskSpace: the disk is full, or a quota or the limit of a file's size is reached.
        CatalogUnavailable: the folder can't be written for another reason.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise full_disk(what, reason) from error
        raise CatalogUnavailable(
            f"A file could not be written while {what}: {reason}.",
            "Make sure that the folder exists and that the job's user may write to it; the next attempt carries on "
            "from "
            "the same watermark.",
        ) from error
