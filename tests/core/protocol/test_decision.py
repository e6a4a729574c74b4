"""What the sensor decides for each plan of a run, and what it asks the servers before that."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest

from offload_core.errors import RepairInterval, RestateInterval
from offload_core.protocol.decision import Decision, Differs, Run, Skip, TierRows, decide
from offload_core.protocol.plan import RunMode, RunPlan
from offload_core.protocol.window import Cursor, Interval, Window

NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
WATERMARK = Cursor(NOON, 7)
AHEAD = Window(WATERMARK, NOON + timedelta(minutes=10))
BEHIND = Interval(NOON - timedelta(hours=1), NOON)


@dataclass(frozen=True)
class Rows:
    rows: int

    def __str__(self) -> str:
        return f"{self.rows} rows"


@dataclass(frozen=True)
class Compared:
    hot: TierRows
    cold: TierRows
    start: datetime | None = BEHIND.start

    @property
    def equal(self) -> bool:
        return self.hot == self.cold


@dataclass
class Servers:
    """Servers that answer as a test needs it, and remember the questions."""

    has_rows: bool = False
    compared: Compared = Compared(Rows(1234), Rows(1234))
    questions: list[Window | Interval] = field(default_factory=list)

    def decide(self, mode: RunMode, ahead: Window | None, behind: Interval | None) -> Decision:
        def has_rows(window: Window) -> bool:
            self.questions.append(window)
            return self.has_rows

        def compare(interval: Interval) -> Compared:
            self.questions.append(interval)
            return self.compared

        return decide("trades", mode, RunPlan(ahead, behind), WATERMARK, has_rows=has_rows, compare=compare)


EQUAL = Compared(Rows(1234), Rows(1234))
MISSING = Compared(Rows(4), Rows(3))
SURPLUS = Compared(Rows(2), Rows(3))
GONE = Compared(Rows(0), Rows(3), start=None)
EXPIRED = Compared(Rows(0), Rows(3), start=NOON)

NO_NEW_ROWS = Skip("No new data to offload", f"No new data to offload: trades has no row in {AHEAD}.", empty=AHEAD)
NOTHING_AHEAD = Skip("No new data to offload", f"No new data to offload: the watermark of trades is {WATERMARK}.")
NOTHING_BEHIND = Skip(
    "nothing offloaded there yet", f"nothing offloaded there yet: the watermark of trades is {WATERMARK}."
)
VERIFIED = Skip("verified, 1,234 rows equal", f"trades in {BEHIND}: verified, 1,234 rows equal; nothing to do.")
NOT_IN_CLICKHOUSE = Skip(
    "no longer in ClickHouse", f"ClickHouse no longer holds trades in {BEHIND}: nothing to compare."
)
LACKS_ONE = f"trades differs in {BEHIND}: ClickHouse has 4 rows, Iceberg has 3 rows."
HAS_ONE_TOO_MANY = f"trades differs in {BEHIND}: ClickHouse has 2 rows, Iceberg has 3 rows."


@pytest.mark.parametrize(
    ("mode", "ahead", "behind", "has_rows", "compared", "expected"),
    [
        (RunMode.OFFLOAD, AHEAD, None, True, EQUAL, Run(f"trades has new rows in {AHEAD}.")),
        (RunMode.OFFLOAD, AHEAD, None, False, EQUAL, NO_NEW_ROWS),
        (RunMode.OFFLOAD, None, None, False, EQUAL, NOTHING_AHEAD),
        (RunMode.OFFLOAD, AHEAD, BEHIND, True, EQUAL, Run(f"trades has new rows in {AHEAD}.")),
        (RunMode.OFFLOAD, AHEAD, BEHIND, False, EQUAL, VERIFIED),
        (RunMode.OFFLOAD, None, BEHIND, False, MISSING, Run(LACKS_ONE)),
        (RunMode.OFFLOAD, None, BEHIND, False, SURPLUS, Run(HAS_ONE_TOO_MANY)),
        (RunMode.OFFLOAD, None, BEHIND, False, GONE, NOT_IN_CLICKHOUSE),
        (RunMode.OFFLOAD, None, BEHIND, False, EXPIRED, NOT_IN_CLICKHOUSE),
        (RunMode.REPAIR, AHEAD, None, False, EQUAL, NOTHING_AHEAD),
        (RunMode.REPAIR, AHEAD, BEHIND, False, MISSING, Run(LACKS_ONE)),
        (RunMode.REPAIR, AHEAD, BEHIND, False, EQUAL, VERIFIED),
        (RunMode.RESTATE, None, BEHIND, False, EQUAL, Run(f"trades is to be restated in {BEHIND}.")),
        (RunMode.RESTATE, None, None, False, EQUAL, NOTHING_BEHIND),
        (RunMode.VERIFY, None, BEHIND, False, EQUAL, VERIFIED),
        (RunMode.VERIFY, None, BEHIND, False, MISSING, Differs(LACKS_ONE, is_incomplete=True)),
        (RunMode.VERIFY, None, BEHIND, False, SURPLUS, Differs(HAS_ONE_TOO_MANY, is_incomplete=False)),
        (RunMode.VERIFY, None, None, False, EQUAL, NOTHING_BEHIND),
    ],
)
def test_every_plan_leads_to_one_decision(mode, ahead, behind, has_rows, compared, expected):
    assert Servers(has_rows, compared).decide(mode, ahead, behind) == expected


@pytest.mark.parametrize(
    ("mode", "ahead", "behind", "has_rows", "questions"),
    [
        (RunMode.OFFLOAD, AHEAD, BEHIND, True, [AHEAD]),
        (RunMode.OFFLOAD, AHEAD, BEHIND, False, [AHEAD, BEHIND]),
        (RunMode.RESTATE, None, BEHIND, False, []),
        (RunMode.VERIFY, None, None, False, []),
    ],
)
def test_the_servers_are_asked_only_what_matters(mode, ahead, behind, has_rows, questions):
    servers = Servers(has_rows)
    servers.decide(mode, ahead, behind)
    assert servers.questions == questions


def test_a_difference_says_which_mode_resolves_it():
    incomplete, changed = Differs(LACKS_ONE, is_incomplete=True), Differs(HAS_ONE_TOO_MANY, is_incomplete=False)
    assert isinstance(incomplete.error(), RepairInterval)
    assert isinstance(changed.error(), RestateInterval)
    assert "mode repair" in str(incomplete.error())
    assert "mode restate" in str(changed.error())
