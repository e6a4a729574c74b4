"""Work with a time limit."""

from __future__ import annotations

import threading
import time

import pytest

from offload_ops.timeouts import BackgroundWork, run_with_timeout


def test_the_result_of_work_that_ends_in_time_is_returned() -> None:
    assert run_with_timeout(5, lambda: "done") == "done"


def test_an_error_of_the_work_is_raised_to_the_caller() -> None:
    def fail() -> None:
        raise ValueError("It is wrong.")

    with pytest.raises(ValueError, match="It is wrong"):
        run_with_timeout(5, fail)


def test_work_that_takes_longer_is_left_behind() -> None:
    release = threading.Event()
    started = time.monotonic()

    with pytest.raises(TimeoutError, match=r"It took longer than 0\.1 seconds\."):
        run_with_timeout(0.1, lambda: release.wait(60))

    assert time.monotonic() - started < 5
    release.set()


def test_background_work_says_whether_and_when_it_ended() -> None:
    release = threading.Event()
    work = BackgroundWork(lambda: release.wait(60))

    assert not work.wait(0)
    assert work.ended_at is None
    release.set()
    assert work.wait(5)
    assert work.ended_at is not None
    assert work.ended_at <= time.monotonic()
    assert work.result() is True
