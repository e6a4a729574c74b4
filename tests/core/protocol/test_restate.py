"""What a restate must not lose."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from offload_core.errors import RepairInstead
from offload_core.protocol.restate import Restate
from offload_core.protocol.window import Interval

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
WHOLE = Interval(NOON, NOON + HOUR)


@pytest.mark.parametrize(
    ("complete_since", "has_rows", "expired"),
    [
        (NOON - HOUR, True, None),
        (NOON, True, None),
        (NOON + HOUR / 2, True, Interval(NOON, NOON + HOUR / 2)),
        (NOON + 2 * HOUR, True, WHOLE),
        (NOON - HOUR, False, WHOLE),
        (None, False, WHOLE),
    ],
)
def test_what_clickhouse_may_have_lost_must_not_be_in_iceberg(complete_since, has_rows, expired):
    assert Restate("trades", WHOLE, complete_since, has_rows).expired == expired


def test_the_refusal_names_what_expired_and_what_would_be_lost():
    refusal = Restate("trades", WHOLE, NOON + HOUR / 2, True).refusal("4 rows of Iceberg")

    assert isinstance(refusal, RepairInstead)
    assert f"from before {NOON + HOUR / 2} to its TTL, and 4 rows of Iceberg would be lost." in refusal.problem
    assert "no longer holds any row" in Restate("trades", WHOLE, None, False).refusal("Iceberg's rows").problem
