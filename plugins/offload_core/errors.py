"""Every error that the offload raises on purpose.

A class says what its receiver must do next; its message says what is wrong and then how to fix it. `kind` is the value
of the `type` label of `offload_errors_total`, so it never changes once released.
"""

from __future__ import annotations

from typing import ClassVar


class OffloadError(Exception):
    """Base of all errors raised on purpose; catch it to tell them from bugs.

    Args:
        problem: what is wrong, as a sentence that names the table, column or setting.
        remedy: what the reader does next, as a sentence.
    """

    kind: ClassVar[str] = "other"
    retryable: ClassVar[bool] = False
    """Whether the same attempt may succeed a minute later without anybody changing anything."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions travel between processes; the default would call __init__ with the whole message alone.
        return _restore, (type(self), self.args), self.__dict__


def may_pass(kind: str) -> bool:
    """Whether an error of this kind may end without anybody changing anything; True for a kind that no class has."""
    classes = list(OffloadError.__subclasses__())
    for error in classes:
        if vars(error).get("kind") == kind:
            return error.retryable
        classes += error.__subclasses__()
    return True


def _restore(kind: type[OffloadError], args: tuple[str, ...]) -> OffloadError:
    return kind.__new__(kind, *args)


class FixConfiguration(OffloadError):
    """A table entry, a setting, an argument or a connection is wrong: correct it, then run again."""

    kind = "configuration"


class FixCredentials(OffloadError):
    """A server refused the user or the password: correct the Airflow Connection, then run again."""

    kind = "credentials"


class FixSource(OffloadError):
    """The ClickHouse table is missing or not as the configuration says."""

    kind = "source_table"


class FixColumn(OffloadError):
    """A column can't be carried over exactly; the message names it. Nothing was read."""

    kind = "column"


class RunInit(OffloadError):
    """The ledger, the Iceberg table or the first watermark does not exist yet: run `offload init`."""

    kind = "not_initialized"


class WatermarkNotFound(RunInit):
    """The table has no watermark; an offload never starts from zero silently."""

    kind = "watermark_not_found"

    def __init__(self, table: str) -> None:
        super().__init__(
            f"Watermark not found for table: {table}.",
            "Run `offload init` to give new tables their first watermark, or `offload reset` to choose one.",
        )


class TargetTableMissing(RunInit):
    """The Iceberg table does not exist."""

    kind = "iceberg_table_not_found"


class RetryLater(OffloadError):
    """A server can't be reached or broke off.

    Nothing was published; the next attempt starts from the same watermark.
    """

    kind = "unavailable"
    retryable = True


class ClickHouseUnavailable(RetryLater):
    """ClickHouse refused the connection, timed out or died in the middle of an answer."""

    kind = "clickhouse_connection"


class LedgerUnavailable(RetryLater):
    """PostgreSQL, which holds the watermarks, can't be reached."""

    kind = "postgres_connection"


class CatalogUnavailable(RetryLater):
    """The Iceberg catalog or the warehouse can't be reached."""

    kind = "iceberg_catalog"


class FreeDiskSpace(RetryLater):
    """A disk is full, that of the warehouse or of the temporary files: make room; the next attempt carries on."""

    kind = "disk_full"


class MailUnavailable(RetryLater):
    """The mail server can't be reached or refused a mail; the offload itself needs none."""

    kind = "mail_server"


class SlackUnavailable(RetryLater):
    """Slack can't be reached or refused a message; the offload itself needs none."""

    kind = "slack"


class QueryFailed(OffloadError):
    """ClickHouse answered with an error of its own.

    Attributes:
        code: ClickHouse's error code, 0 when it gave none.
    """

    kind = "clickhouse_query"

    def __init__(self, problem: str, remedy: str, code: int = 0) -> None:
        super().__init__(problem, remedy)
        self.code = code


class WaitForOtherRun(OffloadError):
    """Another run holds this table's lock: let it finish; the message says who holds it and since when."""

    kind = "table_locked"
    retryable = True


class StartOver(OffloadError):
    """Something else changed the table or the ledger during this attempt.

    Nothing was published: plan again from the newest state.
    """

    kind = "conflict"
    retryable = True


class AuditFailed(OffloadError):
    """The written rows are not the counted rows: the branch was dropped, and readers never saw it."""

    kind = "audit"
    retryable = True


class CommitStateUnknown(OffloadError):
    """The connection broke during a commit, and its outcome is not known yet: advance nothing, delete nothing.

    The next attempt finds the marker, or doesn't, and carries on from there.
    """

    kind = "commit_state_unknown"
    retryable = True


class RestateInterval(OffloadError):
    """An interval holds rows in Iceberg that ClickHouse holds differently or not at all.

    Inserting rows cannot repair that, restating the interval can.
    """

    kind = "interval_differs"


class RepairInterval(OffloadError):
    """An interval lacks rows in Iceberg that ClickHouse holds: run it again, or `offload repair`."""

    kind = "interval_incomplete"


class RepairInstead(OffloadError):
    """Restating would lose rows, because ClickHouse no longer holds all of the interval.

    Use `offload repair`, which only inserts.
    """

    kind = "interval_expired"


class WatermarkInvalid(OffloadError):
    """The watermark can't be true (in the future, unreadable): check the ledger, then run `offload reset`."""

    kind = "watermark_corrupt"


class TableHalted(OffloadError):
    """The table is halted until an operator runs `offload resume`: going on could lose rows or publish them twice."""

    kind = "halted"


class SourceReplaced(TableHalted):
    """The ClickHouse table is not the one that was offloaded so far."""

    kind = "source_replaced"


class LedgerAhead(TableHalted):
    """The ledger records a commit that Iceberg no longer has: the table was rolled back, dropped or restored."""

    kind = "ledger_ahead"


class ColdRowsLost(TableHalted):
    """The Iceberg table holds fewer rows than after our last commit, and no commit of ours explains it."""

    kind = "cold_rows_lost"


class HotRowsExpired(TableHalted):
    """ClickHouse's TTL removed rows that had not been offloaded yet."""

    kind = "hot_rows_expired"


class SparkFailed(OffloadError):
    """The Spark job ended without reporting why: its process was killed, or Spark did not start."""

    kind = "spark"
    retryable = True


class SparkOutOfMemory(SparkFailed):
    """The Spark job had too little memory."""

    kind = "spark_out_of_memory"


class AttemptTimedOut(OffloadError):
    """An attempt took longer than `task_timeout_minutes` and was ended; what it had committed stays."""

    kind = "timeout"
    retryable = True
