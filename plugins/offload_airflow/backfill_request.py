"""What `offload backfill` is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from offload_core.table_config import TableConfig
from offload_core.window import Interval


@dataclass(frozen=True)
class Request:
    """A backfill.

    Attributes:
        interval: rows of this time shall be right in Iceberg afterwards.
        tables: these tables.
        is_all: whether these are all there are.
        buffer: how long rows may take to arrive, as the runs have it.
        rerun: run intervals again that have run well already.
        wait: how long to wait for runs that are at work.
    """

    interval: Interval
    tables: Sequence[TableConfig]
    is_all: bool
    buffer: timedelta
    rerun: bool
    wait: timedelta
