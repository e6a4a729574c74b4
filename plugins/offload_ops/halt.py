"""Why a table is stopped, by its ledger rows, and what an operator accepts by letting it go on. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from offload_core.errors import ColdRowsLost, HotRowsExpired, LedgerAhead, SourceReplaced, WatermarkInvalid
from offload_core.ledger.ledger import LedgerRow

_ACCEPTED = {
    SourceReplaced.kind: "the ClickHouse table that is there now carries on where the old one ended; its rows up to the watermark "
    "are not read.",
    LedgerAhead.kind: "Iceberg's table as it is; rows up to the watermark that it lacks stay missing unless `offload reset` "
    "goes back first.",
    ColdRowsLost.kind: "Iceberg's table as it is; the lost rows stay missing unless `offload reset` or `offload repair` brings back those "
    "that ClickHouse still holds.",
    HotRowsExpired.kind: "the loss of the expired rows; they will never be in Iceberg.",
    WatermarkInvalid.kind: "Iceberg's newest commit as it is, whatever its marker says.",
}


def cause_of_stop(history: Sequence[LedgerRow]) -> LedgerRow | None:
    """The row that says why only an operator can let a table go on; None if nothing has to be accepted.

    That is a halt, or a marker in Iceberg that nobody can read. A reset does not undo either; a success and a `resume` do. Other failures
    end by themselves or by mending what they name.

    Args:
        history: the table's rows, newest first.
    """
    failure: LedgerRow | None = None
    for row in history:
        if row.kind == "resume" or row.status == "success":
            break
        if row.status == "halted":
            return row
        if row.error_kind == WatermarkInvalid.kind and failure is None:
            failure = row
    return failure


def what_is_accepted(cause: LedgerRow) -> str:
    """What letting a table go on means, after the row that stopped it."""
    return _ACCEPTED.get(cause.error_kind or "", "source and target as they are now.")
