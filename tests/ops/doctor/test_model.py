"""How the checks of `offload doctor` run: side by side, each with a time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from offload_core.errors import FixConfiguration
from offload_ops.doctor.model import Check, CheckResult, Health, examine


class TestExamine:
    def test_checks_run_side_by_side_and_are_reported_in_their_order(self):
        meet = threading.Barrier(3, timeout=5)

        def check(name: str) -> Callable[[], list[CheckResult]]:
            def meet_the_others() -> list[CheckResult]:
                meet.wait()
                return [CheckResult(name, Health.GREEN, "fine")]

            return meet_the_others

        found = examine([Check(name, check(name), "") for name in "abc"])

        assert [(result.check, result.message) for result in found] == [("a", "fine"), ("b", "fine"), ("c", "fine")]

    def test_a_check_that_does_not_answer_is_red_and_holds_up_no_other(self):
        never = threading.Event()
        started = time.monotonic()

        def hang() -> list[CheckResult]:
            never.wait(60)
            return []

        found = examine(
            [
                Check("hung", hang, "Check the server."),
                Check("healthy", lambda: [CheckResult("healthy", Health.GREEN, "fine")], ""),
            ],
            0.2,
        )
        never.set()

        assert time.monotonic() - started < 5
        assert (found[0].health, found[0].message, found[0].remedy) == (
            Health.RED,
            "No answer within 0.2 seconds.",
            "Check the server.",
        )
        assert found[1].health is Health.GREEN

    def test_an_error_is_reported_with_its_own_remedy(self):
        def fail() -> list[CheckResult]:
            raise FixConfiguration("It is wrong.", "Fix it.")

        (found,) = examine([Check("x", fail, "Check the server.")])

        assert (found.health, found.message, found.remedy) == (Health.RED, "It is wrong.", "Fix it.")

    def test_an_error_without_a_remedy_is_reported_with_that_of_the_check(self):
        def fail() -> list[CheckResult]:
            raise ValueError("line 1\nline 2")

        (found,) = examine([Check("x", fail, "Check the server.")])

        assert (found.health, found.message, found.remedy) == (Health.RED, "line 1 line 2", "Check the server.")
