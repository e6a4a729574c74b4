"""Distinguishing lost data from a file store that cannot be reached: the second is a temporary error."""

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

_CORRUPTION_WORDS = (
    "thrift",
    "parquet",
    "snappy",
    "zstd",
    "end of stream",
    "end of file",
    "corrupt",
    "decompress",
    "avro",
)
"""Words in the messages of Arrow's and Avro's readers about files whose content is invalid."""


class UnreadableFile(Exception):
    """A file that Iceberg's metadata names is missing or broken, or the table is; the message names it."""


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Translate the errors of reading Iceberg's files.

    Args:
        what: what is read, for the messages.

    Raises:
        UnreadableFile: it is missing or broken.
        FixCredentials: the store denies access to it.
        CatalogUnavailable: the store cannot be reached.
    """
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableFile(f"{what} is missing{_details(what, error)}") from error
    except PermissionError as error:
        raise FixCredentials(
            f"The file store denies access to {what}: {error}.",
            "Give the offload's user the right to read the warehouse.",
        ) from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, EOFError, struct.error, zlib.error) as error:
        raise UnreadableFile(f"{what} is broken ({_first_line(error)})") from error
    except OSError as error:
        if error.errno is None and any(word in str(error).lower() for word in _CORRUPTION_WORDS):
            raise UnreadableFile(f"{what} is broken ({_first_line(error)})") from error
        raise CatalogUnavailable(
            f"{what} cannot be read: {_first_line(error)}.", "See that the file store is up and reachable from here."
        ) from error


def open_table(connection: IcebergConnection, target: str, *, has_commits: bool) -> Table:
    """Open a table as its catalog has it now.

    Args:
        connection: the catalog.
        target: the table.
        has_commits: whether the ledger records commits to it, so that it must exist.

    Raises:
        UnreadableFile: its metadata is lost, or the catalog no longer has it.
        TargetTableMissing: it was never created.
        LedgerUnavailable, CatalogUnavailable, FixCredentials, FixConfiguration: as in `open_cold_table`.
    """
    require_warehouse(connection)
    try:
        return open_cold_table(connection, target)
    except TargetTableMissing as error:
        if not has_commits:
            raise
        raise UnreadableFile(f"the catalog has no table {target} any more") from error
    except CatalogUnavailable as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise UnreadableFile(f"the metadata file of {target} is missing") from error
    except ValueError as error:
        raise UnreadableFile(f"the metadata file of {target} is broken ({_first_line(error)})") from error


def require_warehouse(connection: IcebergConnection) -> None:
    """Require that a warehouse in a folder exists: a disk that is not mounted must not look like lost files.

    Raises:
        CatalogUnavailable: the folder does not exist.
    """
    folder = urlsplit(connection.warehouse)
    if folder.scheme in ("", "file") and not Path(unquote(folder.path)).is_dir():
        raise CatalogUnavailable(
            f"The warehouse {connection.warehouse} does not exist.",
            "Mount the disk, or correct the catalog's Connection.",
        )


def file_defect(io: FileIO, file: DataFile) -> str | None:
    """What is wrong with a file, judged by its existence and size alone; None if nothing is.

    Raises:
        CatalogUnavailable, FixCredentials: the file store cannot be read.
    """
    try:
        with storage_errors(file.file_path):
            size = len(io.new_input(file.file_path))
    except UnreadableFile as error:
        return str(error)
    if size != file.file_size_in_bytes:
        return f"{file.file_path} is broken (it has {size:,} bytes instead of {file.file_size_in_bytes:,})"
    return None


def _details(what: str, error: OSError) -> str:
    """The message of an error, unless it only repeats the name of the file."""
    message = _first_line(error)
    return "" if what in message else f" ({message})"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
