"""The JVM's exceptions as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError, Py4JJavaError

from offload_core.disk import full_disk, says_full
from offload_core.errors import (
    CatalogUnavailable,
    CommitStateUnknown,
    FixConfiguration,
    FixCredentials,
    OffloadError,
    StartOver,
    TargetTableMissing,
)
from offload_spark.runtime.jvm import java_class_names, java_message

_ICEBERG_ERRORS = "org.apache.iceberg.exceptions."
_NO_FILE_STORE = "Cannot initialize FileIO implementation"
_REFUSED_BY_STORE = ("Status Code: 403", "Status Code: 401")
"""How every AWS client reports a key that is unknown, wrong or not allowed to do this."""
_UNKNOWN_CALL = "Trace:"
"""In py4j's errors about calls that the JVM does not know. Its other errors mean that the connection broke."""
_MOVED = (
    "is not an ancestor",
    "refresh is required",
    # A later attempt dropped the branch because it took it for a dead attempt's.
    "Ref does not exist",
    # Another commit has replaced the data files or manifests that this one rewrites.
    "Missing required files to delete",
    "could not be found in the latest snapshot",
)
"""Iceberg's messages for "another commit came first" where it has no exception class of its own for that."""


@contextmanager
def iceberg_errors(what: str) -> Iterator[None]:
    """Turn the JVM's exceptions into errors that say what to do. `what` completes "… while".

    Raises:
        TargetTableMissing, StartOver, CommitStateUnknown, FixConfiguration, FixCredentials, FreeDiskSpace,
            CatalogUnavailable
    """
    try:
        yield
    except Py4JJavaError as error:
        names, message = java_class_names(error), java_message(error)
        if f"{_ICEBERG_ERRORS}CommitStateUnknownException" in names:
            raise CommitStateUnknown(
                f"The outcome of the commit is unknown while {what}: {message}.",
                "Nothing was deleted. The next attempt looks for the commit in Iceberg and continues from there.",
            ) from error
        if f"{_ICEBERG_ERRORS}NoSuchTableException" in names or f"{_ICEBERG_ERRORS}NoSuchNamespaceException" in names:
            raise TargetTableMissing(f"The Iceberg table does not exist ({message}).", "Run `offload init`.") from error
        if _is_moved(names, message):
            raise StartOver(
                f"The Iceberg table moved while {what}: {message}.",
                "Nothing was published; the next attempt starts from the newest state.",
            ) from error
        wrong = _wrong_connection(what, message)
        if wrong is not None:
            raise wrong from error
        if says_full(message):
            raise full_disk(what, message) from error
        raise CatalogUnavailable(
            f"The Iceberg catalog or warehouse failed while {what}: {message}.",
            "Check that both can be reached and written to; the next attempt continues from the same watermark.",
        ) from error
    except Py4JError as error:
        if _UNKNOWN_CALL in str(error):
            raise
        raise CommitStateUnknown(
            f"The connection to the JVM broke while {what}.",
            "The next attempt asks Iceberg whether the commit succeeded and continues from there.",
        ) from error


@contextmanager
def spark_errors(what: str) -> Iterator[None]:
    """Like `iceberg_errors`, for calls through pyspark, which wraps the JVM's exceptions in its own."""
    from pyspark.errors.exceptions.captured import CapturedException

    with iceberg_errors(what):
        try:
            yield
        except CapturedException as error:
            if error._origin is None:
                raise
            raise Py4JJavaError(str(error), error._origin) from error


def _wrong_connection(what: str, message: str) -> OffloadError | None:
    """The error for a message that calls for a change of the Connection or of the installation."""
    if _NO_FILE_STORE in message:
        return FixConfiguration(
            f"Spark lacks the client for the warehouse's file store: {message}.",
            "For S3, put iceberg-aws-bundle of Iceberg's own version on the class path "
            "(OFFLOAD_SPARK_S3_JARS; docs/production.md).",
        )
    if any(text in message for text in _REFUSED_BY_STORE):
        return FixCredentials(
            f"The warehouse's file store refused the key while {what}: {message}.",
            "Correct s3.access-key-id and s3.secret-access-key in the properties of the catalog's Connection, "
            "or the key's permissions.",
        )
    if "password authentication failed" in message:
        return FixCredentials(
            f"The Iceberg catalog refused the user while {what}: {message}.",
            "Correct user and password in the catalog's Connection (`iceberg_default` unless set otherwise).",
        )
    return None


def _is_moved(names: list[str], message: str) -> bool:
    if f"{_ICEBERG_ERRORS}CommitFailedException" in names:
        return True
    return any(text in message for text in _MOVED)
