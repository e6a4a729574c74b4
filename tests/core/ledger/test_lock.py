"""The lock of each table: one holder, who is named, and nobody keeps it beyond death."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from offload_core.config.connections import PostgresConnection
from offload_core.errors import WaitForOtherRun
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection, connect
from tests.support.stack.servers import postgres_database

pytestmark = pytest.mark.integration

OpenLedger = Callable[..., Ledger]


@pytest.fixture
def open_ledger(open_session: Callable[..., LedgerConnection], pipeline: str) -> OpenLedger:
    """Opens the test's ledger over a session of its own."""
    return lambda name="a test": Ledger(open_session(name), pipeline)


def test_only_one_run_holds_a_tables_lock(open_ledger):
    one, other = open_ledger(), open_ledger()

    with one.locked("trades", 0), pytest.raises(WaitForOtherRun), other.locked("trades", 0):
        pytest.fail("two runs hold the lock")

    with other.locked("trades", 0):
        pass


def test_other_tables_and_other_pipelines_are_free(open_ledger, open_session):
    other = open_ledger()
    stranger = Ledger(open_session(), "another pipeline")

    with open_ledger().locked("trades", 0), other.locked("candles", 0), stranger.locked("trades", 0):
        pass


def test_the_holder_is_named_with_its_host_and_since_when(open_ledger, open_session, pipeline):
    holder = open_session("offload trades scheduled__2026-11-19 try 2")
    record = holder.execute("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone()

    with Ledger(holder, pipeline).locked("trades", 0), pytest.raises(WaitForOtherRun) as caught:
        open_ledger().locked("trades", 0).__enter__()

    since = record["backend_start"].isoformat(sep=" ", timespec="seconds")
    assert caught.value.problem == (
        "Another run holds the lock of trades: offload trades scheduled__2026-11-19 try 2 "
        f"from 127.0.0.1 since {since} (PostgreSQL session {record['pid']})."
    )
    assert since.endswith("+00:00")


def test_a_lock_of_the_same_name_in_another_database_is_somebody_elses(
    open_ledger, open_session, ledger_database: PostgresConnection, pipeline
):
    with (
        postgres_database(ledger_database, "offload_other") as elsewhere,
        connect(elsewhere, "elsewhere") as stranger,
        Ledger(stranger, pipeline).locked("trades", 0),
        Ledger(open_session("the holder"), pipeline).locked("trades", 0),
        pytest.raises(WaitForOtherRun, match="the holder"),
        open_ledger().locked("trades", 0),
    ):
        pytest.fail("two runs hold the lock")


def test_a_run_waits_for_the_lock_and_gets_it_once_it_is_free(open_ledger):
    one, other = open_ledger(), open_ledger()
    tried = threading.Event()

    def wait() -> float:
        started = time.monotonic()
        tried.set()
        with other.locked("trades", 10):
            return time.monotonic() - started

    with ThreadPoolExecutor(1) as pool:
        with one.locked("trades", 0):
            waiting = pool.submit(wait)
            assert tried.wait(5)
            time.sleep(0.5)
            assert not waiting.done()
        assert 0.4 < waiting.result(timeout=5) < 5


def test_a_run_waits_no_longer_than_it_may(open_ledger):
    with open_ledger().locked("trades", 0):
        started = time.monotonic()
        with pytest.raises(WaitForOtherRun):
            open_ledger().locked("trades", 0.5).__enter__()

        assert 0.4 < time.monotonic() - started < 5


def test_a_run_that_dies_frees_its_lock(open_session, open_ledger, pipeline):
    holder = open_session("a run that dies")
    with ExitStack() as run:
        run.enter_context(Ledger(holder, pipeline).locked("trades", 0))
        open_session().execute("SELECT pg_terminate_backend(%s)", (holder.info.backend_pid,))

        with open_ledger().locked("trades", 5):
            pass


def test_what_happened_under_the_lock_counts_more_than_a_session_that_died_since(open_session, pipeline):
    holder = open_session("a run that dies")

    def work() -> None:
        with Ledger(holder, pipeline).locked("trades", 0):
            open_session().execute("SELECT pg_terminate_backend(%s)", (holder.info.backend_pid,))
            raise ValueError("what happened")

    with pytest.raises(ValueError, match="what happened"):
        work()

    with pytest.raises(psycopg.OperationalError):
        holder.execute("SELECT 1")


def test_an_error_under_the_lock_frees_it(open_ledger):
    with pytest.raises(ValueError, match="oops"), open_ledger().locked("trades", 0):
        raise ValueError("oops")

    with open_ledger().locked("trades", 0):
        pass


def test_of_many_runs_never_two_are_inside(open_ledger):
    inside, most, lock = 0, 0, threading.Lock()

    def run(ledger: Ledger) -> None:
        nonlocal inside, most
        with ledger.locked("trades", 20):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.02)
            with lock:
                inside -= 1

    ledgers = [open_ledger() for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(run, ledgers))

    assert most == 1
