"""What a restate must not lose: rows that Iceberg holds and ClickHouse may have expired. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from offload_core.errors import RepairInstead
from offload_core.protocol.window import MICROSECOND, Interval


@dataclass(frozen=True)
class Restate:
    """A restate that is about to replace an interval of Iceberg by the rows of ClickHouse.

    Attributes:
        table: the short name of the table.
        interval: what is to be replaced.
        complete_since: from this moment on (UTC) ClickHouse holds every row; None if it holds none at all.
        has_rows: whether ClickHouse holds any row of the interval.
    """

    table: str
    interval: Interval
    complete_since: datetime | None
    has_rows: bool

    @property
    def expired(self) -> Interval | None:
        """The part of which ClickHouse may have lost rows, so that Iceberg must hold none; None if there is none."""
        if self.complete_since is None or not self.has_rows:
            return self.interval
        return self.interval.up_to(self.complete_since - MICROSECOND)

    def refusal(self, rows: str) -> RepairInstead:
        """The error for a restate that would lose rows of Iceberg.

        Args:
            rows: the rows that would be lost, such as `4 rows of Iceberg`.
        """
        lost = f"may have lost rows from before {self.complete_since} to its TTL"
        hot = lost if self.has_rows and self.complete_since is not None else "no longer holds any row of it"
        return RepairInstead(
            f"{self.table} cannot be restated in {self.interval}: ClickHouse {hot}, and {rows} would be lost.",
            "Restate only a later interval, or use `offload repair`, which only inserts what is missing.",
        )
