"""Deleting the ledger's old rows, so that it does not grow forever, without ever deleting one that is still needed.

A plain `DELETE … WHERE created_at < …` would delete the watermark of a table that has been idle, failing or halted for
a week, and with it the only record of how far the table is. Therefore every row that `Ledger` looks up is listed here
and stays, whatever its age.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import psycopg

from offload_core.errors import FixCredentials
from offload_core.ledger.reader import NOT_FAILED
from offload_core.ledger.rows import ACCEPTING_KINDS, POSITION_KINDS, VALID_ROWS, RowStatus, StepKind, sql_list
from offload_core.ledger.session import LedgerConnection, ledger_errors

_READ = f"{VALID_ROWS} AND window_upper IS NOT NULL"


def _since(kinds: Iterable[StepKind]) -> str:
    """The condition of rows newer than an operator's newest row of some kinds."""
    return (
        "id > coalesce((SELECT max(o.id) FROM offload_watermarks o "  # noqa: S608 - constants only
        f"WHERE o.pipeline_id = w.pipeline_id AND o.table_name = w.table_name AND o.kind IN {sql_list(kinds)}), 0)"
    )


_KEPT = {
    "the newest row of any status, which counts the failures": ("true", "id DESC"),
    "the watermark": (VALID_ROWS, "id DESC"),
    "the row that says why the table is halted": (NOT_FAILED, "id DESC"),
    "the newest commit, which Iceberg's own is compared with": (
        f"status = '{RowStatus.SUCCESS.value}' AND snapshot_id IS NOT NULL",
        "id DESC",
    ),
    "the first watermark": (f"kind = '{StepKind.INIT.value}'", "id DESC"),
    "the newest reset": (f"kind = '{StepKind.RESET.value}'", "id DESC"),
    "the newest resume": (f"kind = '{StepKind.RESUME.value}'", "id DESC"),
    "how far runs have read": (
        f"{_READ} AND {_since(ACCEPTING_KINDS)}",
        "window_upper DESC, id DESC",
    ),
    "how far they have read since the watermark was set": (
        f"{_READ} AND {_since(POSITION_KINDS)}",
        "window_upper DESC, id DESC",
    ),
    "the last success, from which the lag is counted": (
        "last_successful_run IS NOT NULL",
        "last_successful_run DESC, id DESC",
    ),
}
"""One row each per table of the pipeline: the first that meets the condition, in this order."""


def delete_old_rows(connection: LedgerConnection, pipeline: str, before: datetime) -> int:
    """Delete a pipeline's ledger rows that were written before a moment, except those in `_KEPT`.

    This is safe while offloads run: the rows that they add are newer than the deleted ones, and make no older row
    necessary.

    Args:
        connection: an autocommit session.
        pipeline: pipeline id.
        before: zone-aware.

    Returns:
        How many rows were deleted.

    Raises:
        FixCredentials: the ledger's user may not delete.
    """
    kept = " UNION ALL ".join(
        "(SELECT DISTINCT ON (table_name) id FROM offload_watermarks w "  # noqa: S608 - constants only
        f"WHERE pipeline_id = %(pipeline)s AND {condition} ORDER BY table_name, {order})"
        for condition, order in _KEPT.values()
    )
    query = (
        "DELETE FROM offload_watermarks WHERE pipeline_id = %(pipeline)s AND created_at < %(before)s "  # noqa: S608
        f"AND id NOT IN ({kept})"
    )
    try:
        with ledger_errors():
            return connection.execute(query, {"pipeline": pipeline, "before": before}).rowcount
    except FixCredentials as error:
        if not isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise
        raise FixCredentials(
            error.problem, "Grant the ledger's user DELETE on offload_watermarks, which the clean-up needs."
        ) from error
