"""The places where a test may make a run die: harmless unless armed, and then exactly what was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from offload_core.errors import FixConfiguration, RetryLater
from offload_core.failpoints import Failpoint, reach
from tests.support.checkout import CHECKOUT

PLUGINS = CHECKOUT / "plugins"


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch):
    """Arms a failpoint for this test."""

    def arm(value: str, **more: str) -> None:
        monkeypatch.setenv("OFFLOAD_FAILPOINT", value)
        for name, text in more.items():
            monkeypatch.setenv(name, text)

    monkeypatch.delenv("OFFLOAD_FAILPOINT", raising=False)
    monkeypatch.delenv("OFFLOAD_FAILPOINT_FILE", raising=False)
    return arm


@pytest.mark.parametrize("point", Failpoint)
def test_an_unarmed_point_does_nothing(arm, point):  # noqa: ARG001 - takes the environment's own away
    reach(point)


@pytest.mark.parametrize("point", Failpoint)
def test_an_armed_point_raises_and_no_other_does(arm, point):
    arm(f"{point.value}:raise")

    for other in set(Failpoint) - {point}:
        reach(other)
    with pytest.raises(RetryLater, match=f"The failpoint {point.value} is armed"):
        reach(point)


def test_a_point_armed_for_its_third_time_lets_two_pass(arm):
    arm("mid-read:raise:3")

    reach(Failpoint.MID_READ)
    reach(Failpoint.BEFORE_READ)
    reach(Failpoint.MID_READ)
    with pytest.raises(RetryLater):
        reach(Failpoint.MID_READ)


def test_a_killed_process_cleans_nothing_up():
    code = (
        "from offload_core.failpoints import Failpoint, reach\n"
        "try:\n    reach(Failpoint.AFTER_PUBLISH)\nfinally:\n    print('cleaned up')\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(PLUGINS), "OFFLOAD_FAILPOINT": "after-publish:kill"}

    result = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=False)

    assert result.returncode == -signal.SIGKILL
    assert result.stdout == b""


def test_a_pause_lasts_until_its_file_is_gone(arm, tmp_path):
    file = tmp_path / "waiting"
    arm("mid-read:pause", OFFLOAD_FAILPOINT_FILE=str(file))
    run = threading.Thread(target=reach, args=(Failpoint.MID_READ,))
    run.start()
    deadline = time.monotonic() + 5
    while not file.exists():
        assert time.monotonic() < deadline, "the pause has not begun"
        time.sleep(0.01)

    assert run.is_alive()
    file.unlink()
    run.join(timeout=5)

    assert not run.is_alive()


def test_a_pause_without_a_file_is_an_error(arm):
    arm("mid-read:pause")

    with pytest.raises(FixConfiguration, match="Name it in OFFLOAD_FAILPOINT_FILE"):
        reach(Failpoint.MID_READ)


@pytest.mark.parametrize(
    "armed",
    [
        "nowhere:raise",
        "mid-read",
        "mid-read:explode",
        "mid-read:",
        ":raise",
        "MID_READ:raise",
        "mid-read:raise:0",
        "mid-read:raise:",
    ],
)
@pytest.mark.parametrize("point", [Failpoint.BEFORE_READ, Failpoint.MID_READ])
def test_a_mistyped_failpoint_is_an_error_and_not_a_test_that_tests_nothing(arm, armed, point):
    arm(armed)

    with pytest.raises(FixConfiguration, match="names no failpoint and action"):
        reach(point)
