"""Deleting the ledger's old rows (R25) without ever deleting one that is still needed.

A plain `DELETE … WHERE created_at < …` takes the watermark of a table that has been idle, failing or halted for a week, and with it the
only place that says how far the table is. Everything that `Ledger` looks up is therefore named here as a row that stays, whatever its age.
"""

from __future__ import annotations

from datetime import datetime

import psycopg

from offload_core.errors import FixCredentials
from offload_core.ledger.session import LedgerConnection, ledger_errors

_VALID = "status IN ('initialized', 'success')"
_READ = f"{_VALID} AND window_upper IS NOT NULL"
_ACCEPTED = "'init', 'resume'"
_SET = "'init', 'reset', 'resume'"


def _since(kinds: str) -> str:
    """Rows newer than the newest one of some kinds, which are an operator's words."""
    return (
        "id > coalesce((SELECT max(o.id) FROM offload_watermarks o "  # noqa: S608 - constants only
        f"WHERE o.pipeline_id = w.pipeline_id AND o.table_name = w.table_name AND o.kind IN ({kinds})), 0)"
    )


_KEPT = {
    "the newest row of any status, which counts the failures": ("true", "id DESC"),
    "the watermark": (_VALID, "id DESC"),
    "the row that says why the table is halted": ("status <> 'failed'", "id DESC"),
    "the newest commit, which Iceberg's own is compared with": (
        "status = 'success' AND snapshot_id IS NOT NULL",
        "id DESC",
    ),
    "the first watermark": ("kind = 'init'", "id DESC"),
    "the newest reset": ("kind = 'reset'", "id DESC"),
    "the newest resume": ("kind = 'resume'", "id DESC"),
    "how far runs have read": (
        f"{_READ} AND {_since(_ACCEPTED)}",
        "window_upper DESC, id DESC",
    ),
    "how far they have read since the watermark was set": (
        f"{_READ} AND {_since(_SET)}",
        "window_upper DESC, id DESC",
    ),
    "the last success, which the lag is counted from": (
        "last_successful_run IS NOT NULL",
        "last_successful_run DESC, id DESC",
    ),
}
"""Per table of the pipeline one row each: the first one that meets the condition, in this order."""


def delete_old_rows(connection: LedgerConnection, pipeline: str, before: datetime) -> int:
    """Delete a pipeline's ledger rows that were written before a moment, except those in `_KEPT`.

    Safe beside running offloads: what they add is newer than all that was looked at, and makes nothing older necessary.

    Args:
        connection: an autocommit session.
        pipeline: pipeline id.
        before: zone-aware.

    Returns:
        How many were deleted.

    Raises:
        FixCredentials: the ledger's user may not delete.
    """
    kept = " UNION ALL ".join(
        f"(SELECT DISTINCT ON (table_name) id FROM offload_watermarks w WHERE pipeline_id = %(pipeline)s AND {condition} "  # noqa: S608
        f"ORDER BY table_name, {order})"
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
            error.problem, "Grant the ledger's user DELETE on offload_watermarks, which its clean-up needs."
        ) from error
