"""Random schedules of everything that operators, schedulers and crashes do to a table.

`make test-faults-random N=200 SEED=7` runs 200 of them. A schedule that fails prints what it did, and the same `SEED`
repeats it, except for the exact moment of a kill.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

import pytest

from offload_core.config.connections import Connections
from offload_core.config.tables import TableConfig
from offload_core.protocol.plan import RunMode
from offload_core.protocol.window import EPOCH, Cursor
from tests.support.spark.fault_tables import BUFFER, DAY, NOON, CandleTables, TradeTables
from tests.support.spark.faults import assert_exact
from tests.support.spark.foreign_writer import ForeignWriter, foreign_writer
from tests.support.spark.world import World, new_world

SCHEDULES = int(os.environ.get("OFFLOAD_SCHEDULES", "2"))
SEED = int(os.environ.get("OFFLOAD_SEED", "1"))
EVENTS = 7
"""Events of one schedule, after which everything is brought up to date and compared."""


@dataclass
class Feed:
    """The rows that arrive in ClickHouse, most of them in order; a unit is one row (a second or an hour).

    Attributes:
        start: the time of unit 0.
        unit: the length of a unit.
        per_run: how many units the interval of one run has.
        done: rows before this unit have arrived.
        delayed: ranges of rows that will arrive late.
    """

    tables: TradeTables | CandleTables
    table: TableConfig
    start: datetime
    unit: timedelta
    per_run: int
    done: int = 0
    delayed: list[tuple[int, int]] = field(default_factory=list)

    def arrive(self, chance: random.Random) -> None:
        """Insert the next rows and hold some back."""
        count = chance.randint(1, 2 * self.per_run)
        hole = chance.randint(0, count)
        self._insert(self.done, hole)
        late = min(chance.randint(0, self.per_run // 3), count - hole)
        if late:
            self.delayed.append((self.done + hole, late))
        self._insert(self.done + hole + late, count - hole - late)
        self.done += count

    def arrive_late(self, chance: random.Random) -> None:
        """Insert rows that were delayed; candles may change instead."""
        if isinstance(self.tables, CandleTables) and self.done and chance.random() < 0.5:
            self.tables.insert(self.table, chance.randrange(self.done), 1, version=chance.randint(2, 250))
        elif self.delayed:
            self._insert(*self.delayed.pop(chance.randrange(len(self.delayed))))

    def _insert(self, first: int, count: int) -> None:
        if count:
            self.tables.insert(self.table, first, count)

    def time(self, unit: int) -> datetime:
        """When a unit begins (UTC)."""
        return self.start + unit * self.unit

    @property
    def runs(self) -> int:
        """How many intervals have rows."""
        return self.done // self.per_run + 1


class Schedule:
    """One random schedule on a table of its own."""

    def __init__(self, stage: Stage, feed: Feed, chance: random.Random) -> None:
        self.world = stage.world
        self.feed = feed
        self.stage = stage
        self.chance = chance
        self.record: list[str] = []
        self._next_run = 0

    def play(self) -> None:
        """Let random events happen; then bring everything up to date and check that both tiers are equal."""
        events = {
            self.arrive: 4,
            self.run: 3,
            self.run_and_kill: 4,
            self.two_at_once: 1,
            self.arrive_late: 3,
            self.reset: 1,
            self.clear: 2,
            self.backfill: 1,
            self.compact: 1,
        }
        self.arrive()
        for _ in range(EVENTS):
            self.chance.choices(list(events), list(events.values()))[0]()
        self.world.run_well(self.feed.table)
        end = self.feed.time(self.feed.done + self.feed.per_run)
        self._run_well("repair everything", RunMode.REPAIR, self.feed.start - timedelta(days=1), end)
        assert_exact(self.world, self.feed.table)

    def arrive(self) -> None:
        self.feed.arrive(self.chance)
        self.record.append(f"rows up to {self.feed.done}, delayed {self.feed.delayed}")

    def arrive_late(self) -> None:
        self.feed.arrive_late(self.chance)
        self.record.append(f"late rows, delayed {self.feed.delayed}")

    def run(self) -> None:
        """Run the scheduler's next interval."""
        self._run_well("run", RunMode.OFFLOAD, *self._next_interval())

    def run_and_kill(self) -> None:
        """Kill the next run, or one over an old interval, at some moment; sometimes retry it at once."""
        interval = self._next_interval() if self.chance.random() < 0.7 else self._old_interval()
        after = self.chance.choice((self.chance.uniform(0.3, 2), self.chance.uniform(1, 6)))
        job = self._start(RunMode.OFFLOAD, *interval)
        try:
            job.communicate(timeout=after)
            how = f"ended with {job.returncode} before it was killed"
        except subprocess.TimeoutExpired:
            os.killpg(job.pid, signal.SIGKILL)
            job.communicate()
            how = "killed"
        self.record.append(f"run {interval} {how} after {after:.2f} s")
        if self.chance.random() < 0.5:
            self._run_well("next attempt", RunMode.OFFLOAD, *interval)

    def two_at_once(self) -> None:
        """Run the same interval twice at once; one of the runs may find the lock taken."""
        interval = self._next_interval()
        jobs = [self._start(RunMode.OFFLOAD, *interval, run_id=f"twin {number}") for number in range(2)]
        results = [self.world.finish(job) for job in jobs]
        self.record.append(f"twins {interval}: {[result.status for result in results]}")
        assert min(result.status for result in results) == 0, results

    def reset(self) -> None:
        """Set the watermark back, as an operator does."""
        with self.world.ledger() as ledger:
            now = ledger.cursor(self.feed.table.name).timestamp
        earlier = [self.feed.time(self.chance.randint(0, max(self.feed.done, 1))), EPOCH]
        to = min(self.chance.choice(earlier), now)
        self.world.reset(self.feed.table, Cursor(to))
        self.record.append(f"reset to {to}")

    def clear(self) -> None:
        """Re-run an old run."""
        self._run_well("clear", RunMode.OFFLOAD, *self._old_interval())

    def backfill(self) -> None:
        """Re-run adjacent old runs, one after another."""
        first = self.chance.randrange(self.feed.runs)
        for number in range(first, min(first + 2, self.feed.runs)):
            self._run_well("backfill", RunMode.OFFLOAD, *self._interval(number))

    def compact(self) -> None:
        """Rewrite the data files, as another user does."""
        with self.stage.foreign_lock:
            options = "options => map('min-input-files', '2')"
            self.stage.foreign.call("rewrite_data_files", self.feed.table, options)
        self.record.append("compaction")

    def _next_interval(self) -> tuple[datetime, datetime]:
        self._next_run = max(self._next_run + 1, self.feed.runs)
        return self._interval(self._next_run - 1)

    def _old_interval(self) -> tuple[datetime, datetime]:
        return self._interval(self.chance.randrange(self.feed.runs))

    def _interval(self, number: int) -> tuple[datetime, datetime]:
        # Shifted by the buffer, so that the rows of the newest interval are old enough to be moved.
        start = self.feed.time(number * self.feed.per_run) + BUFFER
        return start, start + self.feed.per_run * self.feed.unit

    def _start(self, mode: RunMode, start: datetime, end: datetime, run_id: str = "schedule") -> subprocess.Popen[str]:
        return self.world.start(self.feed.table, mode=mode, interval_start=start, interval_end=end, run_id=run_id)

    def _run_well(self, what: str, mode: RunMode, start: datetime, end: datetime) -> None:
        result = self.world.finish(self._start(mode, start, end))
        self.record.append(f"{what} [{start}, {end}): {result.status}")
        assert result.status == 0, result.output


@dataclass
class Stage:
    """The world and the tables of the schedules."""

    world: World
    trades: TradeTables
    candles: CandleTables
    foreign: ForeignWriter
    foreign_lock: Lock = field(default_factory=Lock)

    def schedule(self, number: int) -> Schedule:
        """The schedule with this number: even ones use trades, odd ones candles."""
        chance = random.Random(f"{SEED}/{number}")  # noqa: S311 - not for secrets
        if number % 2:
            feed = Feed(self.candles, self.candles.take(0), DAY, timedelta(hours=1), per_run=6)
        else:
            feed = Feed(self.trades, self.trades.take(0), NOON, timedelta(seconds=1), per_run=900)
        return Schedule(self, feed, chance)


@pytest.fixture(scope="module")
def stage(servers: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A world with a table for every schedule."""
    with ExitStack() as stack:
        world = stack.enter_context(new_world(servers, tmp_path_factory.mktemp("world")))
        # Small enough that a window often has several chunks.
        small = world.with_settings(max_rows_per_commit=500)
        trades, candles = TradeTables(small, (SCHEDULES + 1) // 2), CandleTables(small, SCHEDULES // 2)
        yield Stage(small, trades, candles, stack.enter_context(foreign_writer(small)))


@dataclass
class Performance:
    """A schedule and its result, which may be pending."""

    schedule: Schedule
    result: Future[None]


@pytest.fixture(scope="module")
def performances(stage: Stage) -> Iterator[list[Performance]]:
    """All schedules, two at a time."""
    schedules = [stage.schedule(number) for number in range(SCHEDULES)]
    with ThreadPoolExecutor(2) as pool:
        try:
            yield [Performance(schedule, pool.submit(schedule.play)) for schedule in schedules]
        finally:
            pool.shutdown(cancel_futures=True)


@pytest.mark.full
@pytest.mark.parametrize("number", range(SCHEDULES))
def test_a_random_schedule_ends_with_both_sides_the_same(performances: list[Performance], number: int) -> None:
    try:
        performances[number].result.result()
    finally:
        # Shown by pytest if the test fails.
        print("\n".join(performances[number].schedule.record))
