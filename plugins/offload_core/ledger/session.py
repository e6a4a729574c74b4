"""A session with the ledger's PostgreSQL, and the lock of each table that such a session holds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.rows import dict_row
from psycopg.types.datetime import TimestamptzLoader

from offload_core.config.connections import PostgresConnection
from offload_core.errors import FixCredentials, LedgerUnavailable, RunInit, WaitForOtherRun, WatermarkInvalid

LedgerConnection = psycopg.Connection[dict[str, Any]]

_FIRST_MOMENT, _LAST_MOMENT = datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)


class _Timestamps(TimestamptzLoader):
    """Reads a `timestamptz` that Python cannot represent (`infinity`, years before 1 and after 9999) as the nearest
    value that it can.

    Neither is a possible watermark, so the row is refused where it counts, and can still be shown and reset.
    """

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            text = bytes(data)
            return _FIRST_MOMENT if text.startswith(b"-") or text.endswith(b"BC") else _LAST_MOMENT


def connect(connection: PostgresConnection, application_name: str = "offload") -> LedgerConnection:
    """Open an autocommit session, in UTC, that notices within a minute when the other end is gone.

    Raises:
        FixCredentials: PostgreSQL refused the user or the password.
        LedgerUnavailable: PostgreSQL cannot be reached.
    """
    try:
        session: LedgerConnection = psycopg.connect(
            host=connection.host,
            port=connection.port,
            user=connection.user,
            password=connection.password.get_secret_value(),
            dbname=connection.database,
            sslmode=connection.sslmode,
            application_name=application_name[:63],
            connect_timeout=10,
            keepalives_idle=20,
            keepalives_interval=10,
            keepalives_count=3,
            # PostgreSQL's side of the same: it frees the locks of a job whose host has vanished.
            options=(
                "-c timezone=UTC -c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
            ),
            autocommit=True,
            row_factory=dict_row,
        )
    except psycopg.OperationalError as error:
        raise _connect_error(error, connection) from error
    session.adapters.register_loader("timestamptz", _Timestamps)
    return session


_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "permission denied",
    "no pg_hba.conf entry",
)


def _connect_error(error: psycopg.OperationalError, connection: PostgresConnection) -> Exception:
    where = f"{connection.host}:{connection.port}/{connection.database}"
    # libpq adds questions to its reader ("Is the server running ...?") as lines that begin with a tab.
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("\t")]
    reason = lines[-1].removeprefix("connection failed: ") if lines else type(error).__name__
    if any(refusal in reason for refusal in _REFUSALS):
        return FixCredentials(
            f"PostgreSQL at {where} refused user {connection.user}: {reason}.",
            "Correct user, password and database in the ledger's Connection (`postgres_default` unless set otherwise).",
        )
    return LedgerUnavailable(
        f"PostgreSQL with the watermarks can't be reached at {where}: {reason}.",
        "Start it or correct the ledger's Connection; the next attempt carries on from the same watermark.",
    )


@contextmanager
def ledger_errors() -> Iterator[None]:
    """Turn PostgreSQL's errors into those that say what to do.

    Raises:
        RunInit, FixCredentials, WatermarkInvalid, LedgerUnavailable
    """
    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise RunInit(
            f"The ledger is not set up in this database: {_first_line(error)}.", "Run `offload init`."
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise FixCredentials(
            f"PostgreSQL does not let this user work on the ledger: {_first_line(error)}.",
            "Grant the ledger's user SELECT and INSERT on offload_watermarks, and CREATE on its schema for "
            "`offload init`.",
        ) from error
    except psycopg.errors.CheckViolation as error:
        raise WatermarkInvalid(
            f"PostgreSQL refuses the ledger row: {_first_line(error)}.",
            "Check the newest rows (`offload history`), then choose a watermark with `offload reset`.",
        ) from error
    except psycopg.OperationalError as error:
        raise LedgerUnavailable(
            f"The connection to PostgreSQL broke: {_first_line(error)}.",
            "Make sure that PostgreSQL is up; the next attempt carries on from the same watermark.",
        ) from error


def table_exists(session: LedgerConnection, name: str) -> bool:
    """Whether the database has a table; a ledger that an older version set up may lack the newer ones."""
    with ledger_errors():
        record = session.execute("SELECT to_regclass(%s) IS NOT NULL AS found", (name,)).fetchone()
    return bool(record and record["found"])


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0]


@contextmanager
def table_lock(connection: LedgerConnection, pipeline: str, table: str, wait_seconds: float) -> Iterator[None]:
    """Hold a table's lock; it belongs to the session, so a dead run frees it.

    Args:
        connection: the session.
        pipeline, table: what is locked: pipeline id and the table's short name.
        wait_seconds: how long to wait for another holder.

    Raises:
        WaitForOtherRun: somebody else still holds it.
    """
    key = int.from_bytes(hashlib.sha256(f"{pipeline}/{table}".encode()).digest()[:8], "big", signed=True)
    deadline = time.monotonic() + wait_seconds
    while not _try_lock(connection, key):
        if time.monotonic() >= deadline:
            raise WaitForOtherRun(
                f"Another run holds the lock of {table}: {_holder(connection, key)}.",
                "Let it finish; if it hangs, mark its task failed in Airflow, which ends it and frees the lock.",
            )
        time.sleep(0.2)
    try:
        yield
    finally:
        # A session that has ended took its lock with it.
        with suppress(psycopg.OperationalError):
            connection.execute("SELECT pg_advisory_unlock(%s)", (key,))


def _try_lock(connection: LedgerConnection, key: int) -> bool:
    with ledger_errors():
        record = connection.execute("SELECT pg_try_advisory_lock(%s) AS locked", (key,)).fetchone()
    return bool(record and record["locked"])


def _holder(connection: LedgerConnection, key: int) -> str:
    # PostgreSQL shows a bigint advisory key as its upper and lower 32 bits.
    query = (
        "SELECT a.application_name, a.pid, host(a.client_addr) AS host, a.backend_start "
        "FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
        "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND (l.classid::bigint << 32) | l.objid::bigint = %s"
    )
    with ledger_errors():
        record = connection.execute(query, (key,)).fetchone()
    if record is None:
        return "it has just been freed"
    session = f"PostgreSQL session {record['pid']}"
    if record["backend_start"] is None:
        return f"{session} of another PostgreSQL user"
    since = record["backend_start"].isoformat(sep=" ", timespec="seconds")
    return f"{record['application_name']} from {record['host'] or 'its own host'} since {since} ({session})"
