"""The rules of the offload protocol, each of which the model can do without."""

from __future__ import annotations

from enum import Enum


class Rule(Enum):
    """A rule, by what it says."""

    __hash__ = object.__hash__

    LOCK = "one run of a table at a time"
    SESSION = "the lock belongs to the session that reads and writes the ledger"
    RECOVER = "a commit that the ledger lacks is recorded from its marker"
    RESET_COUNTS = "an operator's row that is newer than the marker counts more"
    MARKER_SEARCH = "the marker is looked for past compactions and foreign commits"
    HALT_LEDGER_AHEAD = "a ledger that is ahead of Iceberg halts the table"
    HALT_SOURCE_REPLACED = "another ClickHouse table of the same name halts the table"
    HALT_ROWS_LOST = "a record count that fell halts the table"
    HALT_GAP = "rows that TTL took before they were read halt the table"
    GAP_AFTER_FETCH = "whether TTL took rows is asked again after the fetch"
    UPPER_ONCE = "the window's upper end is fixed once"
    LOWER_EXCLUSIVE = "the watermark's own row is not read again"
    PAIR = "positions are compared as a pair of timestamp and sequence"
    INSERT_MISSING = "where the window overlaps rows in Iceberg, only those that are missing are inserted"
    OVERLAP_AT_WATERMARK = (
        "rows at the watermark's own timestamp overlap too, unless our newest commit ended at the watermark"
    )
    BRANCH_FROM_BASE = "the branch is made from the snapshot that the run decides by"
    AUDIT_ROWS = "as many rows are committed as ClickHouse counts"
    AUDIT_BRANCH = "the branch holds one commit, this run's own, on top of its base"
    ONE_PUBLISH = "a window is written to a branch and becomes visible at once"
    PUBLISH_CAS = "publishing only fast-forwards"
    OWN_MARKER = "after an unknown outcome the own marker is looked for"
    LEDGER_LAST = "the ledger is written after publishing"
    LEDGER_CAS = "a ledger row follows the row it started from, or is refused"
    REPROCESSING_KEEPS_WATERMARK = "a repair or restate leaves the watermark where it is"
    REPROCESSING_STOPS_AT_WATERMARK = "a repair or restate ends at the watermark, as a pair"
    RESTATE_REFUSED = "an interval that TTL has reached is not restated"
