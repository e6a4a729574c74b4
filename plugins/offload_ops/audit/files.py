"""Telling data that is gone from a store that can't be reached: the first is a loss, the second an error that passes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from offload_core.config.connections import IcebergConnection
from offload_core.errors import CatalogUnavailable, FixCredentials, TargetTableMissing
from offload_ops.tiers.cold_table import open_cold_table

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_BROKEN = ("thrift", "parquet", "snappy", "zstd", "end of stream", "end of file", "corrupt", "decompress", "avro")
"""Words of the messages in which Arrow and Avro's readers say that a file's content makes no sense."""


class Unreadable(Exception):
    """Data that Iceberg's metadata names is missing or broken; the message names it."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Read data of Iceberg's.

    Raises:
        Unreadable: it is missing or broken.
        FixCredentials: the store refuses to show it.
        CatalogUnavailable: the store can't be reached.
    """
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise Unreadable(f"{what} is missing{_details(what, error)}") from error
    except PermissionError as error:
        raise FixCredentials(
            f"The file store refuses to show {what}: {error}.",
            "Give the offload's user the right to read the warehouse.",
        ) from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, EOFError, struct.error, zlib.error) as error:
        raise Unreadable(f"{what} is broken ({_first_line(error)})") from error
    except OSError as error:
        if error.errno is None and any(word in str(error).lower() for word in _BROKEN):
            raise Unreadable(f"{what} is broken ({_first_line(error)})") from error
        raise CatalogUnavailable(
            f"{what} can't be read: {_first_line(error)}.", "See that the file store is up and reachable from here."
        ) from error


def open_table(connection: IcebergConnection, target: str, *, has_commits: bool) -> Table:
    """The table as its catalog has it now.

    Args:
        connection: the catalog.
        target: the table.
        has_commits: whether the ledger records commits to it, so that it has to be there.

    Raises:
        Unreadable: its metadata is gone, or the catalog no longer has it.
        TargetTableMissing: there is none yet.
        LedgerUnavailable, CatalogUnavailable, FixCredentials, FixConfiguration
    """
    require_warehouse(connection)
    try:
        return open_cold_table(connection, target)
    except TargetTableMissing as error:
        if not has_commits:
            raise
        raise Unreadable(f"the catalog has no table {target} any more") from error
    except CatalogUnavailable as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise Unreadable(f"the metadata file of {target} is missing") from error
    except ValueError as error:
        raise Unreadable(f"the metadata file of {target} is broken ({_first_line(error)})") from error


def require_warehouse(connection: IcebergConnection) -> None:
    """See that a warehouse in a folder is there: a disk that isn't mounted must not look like one whose files are gone.

    Raises:
        CatalogUnavailable
    """
    folder = urlsplit(connection.warehouse)
    if folder.scheme in ("", "file") and not Path(unquote(folder.path)).is_dir():
        raise CatalogUnavailable(
            f"The warehouse {connection.warehouse} is not there.",
            "Mount the disk, or correct the catalog's Connection.",
        )


def presence(io: FileIO, file: DataFile) -> str | None:
    """What is wrong with a file by its name and size alone; None if nothing is.

    Raises:
        CatalogUnavailable, FixCredentials
    """
    try:
        with reading(file.file_path):
            size = len(io.new_input(file.file_path))
    except Unreadable as error:
        return str(error)
    if size != file.file_size_in_bytes:
        return f"{file.file_path} is broken (it has {size:,} bytes instead of {file.file_size_in_bytes:,})"
    return None


def _details(what: str, error: OSError) -> str:
    """What the error says beyond the name that is known."""
    said = _first_line(error)
    return "" if what in said else f" ({said})"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
