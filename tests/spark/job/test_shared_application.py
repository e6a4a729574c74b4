"""One Spark application for the jobs of several tables: each ends as it would alone, whatever happens to the others."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import psutil
import pytest

from offload_core.jobs.shared_jvm import connect, stop_all
from offload_core.protocol.plan import RunMode
from tests.support.spark.trades import HOUR, NOON, TRADES, create_trades, insert_minutes
from tests.support.spark.world import World
from tests.support.waiting import wait_until

OTHER = TRADES.model_copy(update={"source": "others", "target": "cold.others"})


@pytest.fixture
def shared(world: World) -> Iterator[World]:
    """Two small tables with new rows, whose jobs share an application."""
    create_trades(world, TRADES, OTHER)
    insert_minutes(world, NOON, 60, first_id=1)
    world.hot.command("INSERT INTO others SELECT * FROM trades")
    world = replace(world, keep_seconds=30.0, share=world.folder / "share")
    yield world
    stop_all(world.share)
    assert not applications(world)


def applications(world: World) -> list[psutil.Process]:
    """The JVMs that run for this world's jobs, each with one shared application."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "java" and str(world.share) in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def only(world: World) -> psutil.Process:
    (process,) = applications(world)
    return process


def jobs(world: World) -> list[psutil.Process]:
    """The processes of the running jobs."""
    return server(world).children()


def server(world: World) -> psutil.Process:
    """The Python process that accepts jobs; the JVM also has a dead child of spark-submit."""
    (found,) = [child for child in only(world).children() if child.status() != psutil.STATUS_ZOMBIE]
    return found


def test_tables_share_one_application_that_knows_no_password(shared: World) -> None:
    first, second = shared.start(TRADES), shared.start(OTHER)
    results = [shared.finish(first), shared.finish(second)]
    application = only(shared)
    environs = [process.environ() for process in (application, server(shared))]

    insert_minutes(shared, NOON + HOUR, 5, first_id=1_000)
    results.append(shared.run(TRADES))

    assert [result.status for result in results] == [0, 0, 0], results
    assert [
        f"ATTEMPT table={name} " in result.output
        for name, result in zip(["trades", "others", "trades"], results, strict=True)
    ] == [True] * 3
    assert "others" not in results[0].output
    assert only(shared).pid == application.pid
    assert not [name for environ in environs for name in environ if name.startswith("OFFLOAD_CONN")]
    secret = shared.connections.postgres.password.get_secret_value()
    assert secret not in json.dumps([*environs, application.cmdline()])
    shared.require_equal(TRADES, rows=65)
    shared.require_equal(OTHER, rows=60)


def test_a_job_ends_with_its_own_status_and_error(shared: World) -> None:
    missing = TRADES.model_copy(update={"source": "nowhere"})

    result, well = shared.run(missing), shared.run(TRADES)

    assert (result.status, result.error["retryable"]) == (20, False), result.output
    assert "nowhere" in result.output
    assert well.status == 0, well.output


def test_a_job_whose_caller_is_killed_ends_and_the_next_one_carries_on(shared: World) -> None:
    with shared.paused(TRADES, "after-branch-commit") as job:
        (process,) = jobs(shared)
        os.killpg(job.pid, signal.SIGKILL)
        job.communicate()
        wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "the end of the job")
        application = only(shared)

    shared.run_well(TRADES)

    shared.require_equal(TRADES, rows=60)
    assert only(shared).pid == application.pid


def test_when_the_jvm_dies_its_jobs_fail_and_their_next_attempts_carry_on(shared: World) -> None:
    with shared.paused(TRADES, "after-branch-commit") as job:
        before = only(shared)
        before.kill()
        before.wait()
    result = shared.finish(job)

    assert result.status != 0, result.output
    shared.run_well(TRADES)
    shared.require_equal(TRADES, rows=60)
    assert only(shared).pid != before.pid


@pytest.mark.parametrize("point", ["before-read:kill", "after-publish:kill"])
def test_a_job_that_is_killed_takes_no_other_with_it(shared: World, point: str) -> None:
    with shared.paused(OTHER, "after-files") as other:
        killed = shared.run_armed(TRADES, point)
    well = shared.finish(other)

    assert killed.status != 0
    assert well.status == 0, well.output
    shared.run_well(TRADES)
    shared.require_equal(TRADES, rows=60)
    shared.require_equal(OTHER, rows=60)


def test_jobs_that_need_a_spark_session_take_turns_and_one_that_a_killed_job_left_is_stopped(shared: World) -> None:
    for table in (TRADES, OTHER):
        shared.run_well(table)
    late = NOON + timedelta(seconds=30)
    insert_minutes(shared, late, 3, first_id=2_000)
    shared.hot.command("INSERT INTO others SELECT * FROM trades WHERE id >= 2000")
    span = {"mode": RunMode.REPAIR, "interval_start": NOON, "interval_end": NOON + HOUR}

    # It has a session, and its rows on the branch.
    killed = shared.run(TRADES, environ={"OFFLOAD_FAILPOINT": "after-branch-commit:kill"}, **span)
    first, second = shared.start(TRADES, **span), shared.start(OTHER, **span)  # type: ignore[arg-type]
    results = [shared.finish(first), shared.finish(second)]

    assert killed.status != 0
    assert [result.status for result in results] == [0, 0], results
    shared.require_equal(TRADES, rows=63)
    shared.require_equal(OTHER, rows=63)
    only(shared)


def test_it_ends_by_itself_soon_after_the_last_job(shared: World) -> None:
    brief = replace(shared, keep_seconds=0.5)

    brief.run_well(TRADES)

    wait_until(lambda: not applications(brief), "the end of the application", 30)
    assert not list(brief.share.glob("*.sock"))
    assert not list(brief.share.glob("*.session"))


def test_a_caller_that_says_nothing_or_nonsense_harms_nobody(shared: World) -> None:
    shared.run_well(TRADES)
    (path,) = shared.share.glob("*.sock")
    for text in (b"", b"nonsense\n", b"[1]\n"):
        with connect(shared.share, path.stem) as caller:
            caller.sendall(text)
    before = only(shared).pid

    shared.run_well(OTHER)

    assert only(shared).pid == before


def test_other_options_mean_another_application(shared: World) -> None:
    shared.run_well(TRADES)
    before = only(shared).pid

    shared.run_well(OTHER, java_options="-Dother=yes")

    assert before in {process.pid for process in applications(shared)}
    assert len(applications(shared)) == 2


def test_one_that_is_stuck_is_ended_all_the_same(shared: World) -> None:
    shared.run_well(TRADES)
    server(shared).suspend()

    stop_all(shared.share, seconds=0.5)

    wait_until(lambda: not applications(shared), "the end of the application", 30)


@pytest.mark.full
def test_one_that_is_stuck_holds_up_nobody_for_long_and_never_begins_what_it_was_asked(shared: World) -> None:
    shared.run_well(OTHER)
    stuck = server(shared)
    stuck.suspend()
    try:
        result = shared.run(TRADES)
    finally:
        stuck.resume()

    assert result.status == 0, result.output
    assert "accepted nothing within 60 seconds" in result.output
    shared.run_well(OTHER)
    assert [row.kind for row in shared.history(TRADES)] == ["increment", "init"]
    shared.require_equal(TRADES, rows=60)


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_folder_that_others_may_enter_is_not_used(shared: World, mode: int) -> None:
    shared.share.mkdir()
    shared.share.chmod(mode)

    result = shared.run(TRADES)

    assert result.status == 0, result.output
    assert "is not a folder that only this user may enter" in result.output
    assert not list(shared.share.iterdir())


def test_where_none_can_be_started_the_job_gets_its_own(shared: World) -> None:
    result = shared.run(TRADES, java_options="-agentlib:nowhere")

    assert result.status != 0
    assert "This job gets a Spark application of its own: the shared one ended when it was started" in result.output
    assert result.output.count("nowhere") >= 2
