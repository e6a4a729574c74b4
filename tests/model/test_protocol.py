"""The offload protocol, walked through every state: with all rules nothing goes wrong, without any one of them
something does.

Two writers run the eight steps in every interleaving; runs die, lose their lock, get no answer; rows come late or
expire; operators reset and resume; others append, delete, compact and roll back; the source is made again; the ledger
is restored. In every state the invariants of `walk.py` hold, and an undisturbed run brings both tiers to agree. All
walks together see more than 60,000 states.
"""

from __future__ import annotations

import pytest

from tests.model import scenarios
from tests.model.rules import Rule
from tests.model.run import Scenario
from tests.model.walk import walk

STATES = {
    scenarios.DEATHS: 2_500,
    scenarios.ZOMBIES: 11_000,
    scenarios.CHUNKS: 6_500,
    scenarios.OPERATOR: 9_500,
    scenarios.REPAIRS: 5_500,
    scenarios.REPAIRS_OF_ALL: 5_500,
    scenarios.EXPIRY: 4_000,
    scenarios.RESET_AND_EXPIRY: 7_000,
    scenarios.OTHERS: 6_500,
    scenarios.NEW_SOURCE: 4_000,
    scenarios.RESTORED: 7_000,
}
"""At least so many states are walked, so that a walk can't shrink unnoticed."""

FOUND_BY = {
    Rule.LOCK: (scenarios.ZOMBIES, "a run failed though nothing had happened"),
    Rule.SESSION: (scenarios.ZOMBIES, "the table was halted"),
    Rule.RECOVER: (scenarios.EXPIRY, "the table was halted"),
    Rule.RESET_COUNTS: (scenarios.OPERATOR, "lies past rows that Iceberg lacks"),
    Rule.MARKER_SEARCH: (scenarios.DEATHS, "the table was halted"),
    Rule.HALT_LEDGER_AHEAD: (scenarios.OTHERS, "Iceberg lacks rows"),
    Rule.HALT_SOURCE_REPLACED: (scenarios.NEW_SOURCE, "Iceberg lacks rows"),
    Rule.HALT_ROWS_LOST: (scenarios.OTHERS, "Iceberg lacks rows"),
    Rule.HALT_GAP: (scenarios.EXPIRY, "Iceberg lacks rows"),
    Rule.GAP_AFTER_FETCH: (scenarios.EXPIRY, "lies past rows that Iceberg lacks"),
    Rule.UPPER_ONCE: (scenarios.DEATHS, "a run failed though nothing had happened"),
    Rule.LOWER_EXCLUSIVE: (scenarios.DEATHS, "a row is in Iceberg twice"),
    Rule.PAIR: (scenarios.DEATHS, "Iceberg lacks rows"),
    Rule.INSERT_MISSING: (scenarios.OPERATOR, "a row is in Iceberg twice"),
    Rule.OVERLAP_AT_WATERMARK: (scenarios.OPERATOR, "a row is in Iceberg twice"),
    Rule.BRANCH_FROM_BASE: (scenarios.ZOMBIES, "published over a commit that it had not looked at"),
    Rule.AUDIT_ROWS: (scenarios.DEATHS, "lies past rows that Iceberg lacks"),
    Rule.AUDIT_BRANCH: (scenarios.ZOMBIES, "a row is in Iceberg twice"),
    Rule.ONE_PUBLISH: (scenarios.DEATHS, "readers see a part of a window"),
    Rule.PUBLISH_CAS: (scenarios.ZOMBIES, "lies past rows that Iceberg lacks"),
    Rule.OWN_MARKER: (scenarios.DEATHS, "lies past rows that Iceberg lacks"),
    Rule.LEDGER_LAST: (scenarios.DEATHS, "lies past rows that Iceberg lacks"),
    Rule.LEDGER_CAS: (scenarios.OPERATOR, "lies past rows that Iceberg lacks"),
    Rule.REPROCESSING_KEEPS_WATERMARK: (scenarios.REPAIRS, "the watermark moved back"),
    Rule.RESTATE_REFUSED: (scenarios.EXPIRY, "lies past rows that Iceberg lacks"),
}
"""For every rule the walk that misses it, and what it sees.

Rules that others stand in for are tried in pairs, below.
"""


@pytest.mark.parametrize("scenario", STATES, ids=lambda scenario: scenario.name)
def test_with_all_rules_no_state_is_wrong(scenario: Scenario) -> None:
    found = walk(scenario)

    assert found.violation is None, str(found)
    assert found.states >= STATES[scenario], "the walk has shrunk: what can't happen any more?"


def test_every_walk_is_walked_and_every_rule_is_tried() -> None:
    assert set(STATES) == set(scenarios.ALL)
    assert set(FOUND_BY) == set(Rule) - {Rule.REPROCESSING_STOPS_AT_WATERMARK}


@pytest.mark.parametrize("rule", FOUND_BY, ids=lambda rule: rule.name.lower())
def test_without_any_one_rule_the_walk_finds_a_violation(rule: Rule) -> None:
    scenario, violation = FOUND_BY[rule]

    found = walk(scenario, frozenset({rule}))

    print(f"Without the rule that {rule.value}: {found}")
    assert found.violation is not None, f"nothing goes wrong without the rule that {rule.value}"
    assert violation in found.violation


class TestRulesThatStandInForEachOther:
    @pytest.mark.parametrize("rule", [Rule.LOCK, Rule.PUBLISH_CAS], ids=lambda rule: rule.name.lower())
    def test_while_no_lock_is_lost_either_lock_or_fast_forward_protects_the_data(self, rule: Rule) -> None:
        assert walk(scenarios.SOUND_LOCKS, frozenset({rule})).violation is None

    def test_without_lock_and_fast_forward_two_runs_overwrite_each_other(self) -> None:
        found = walk(scenarios.SOUND_LOCKS, frozenset({Rule.LOCK, Rule.PUBLISH_CAS}))

        print(found)
        assert found.violation is not None
        assert "Iceberg lacks" in found.violation

    def test_a_row_repaired_past_the_watermark_is_found_there_by_the_next_run(self) -> None:
        assert walk(scenarios.REPAIRS_OF_ALL, frozenset({Rule.REPROCESSING_STOPS_AT_WATERMARK})).violation is None

    def test_a_row_repaired_past_the_watermark_comes_twice_where_the_next_run_does_not_look(self) -> None:
        rules = frozenset({Rule.REPROCESSING_STOPS_AT_WATERMARK, Rule.OVERLAP_AT_WATERMARK})

        found = walk(scenarios.REPAIRS_OF_ALL, rules)

        print(found)
        assert found.violation is not None
        assert "a row is in Iceberg twice" in found.violation
