"""A halted table goes on only if it is halted as the operator saw it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from offload_core.errors import StartOver
from offload_core.ledger.ledger import Ledger
from offload_ops.resume import let_go_on
from tests.support.ledger.alert_tables import KRAKEN, ToldTables

pytestmark = pytest.mark.integration


class TestLettingGoOn:
    def test_what_was_read_is_what_is_accepted(self, told: ToldTables, ledger: Ledger):
        told.halted(KRAKEN)
        cause = ledger.halts()[KRAKEN]

        row = let_go_on(ledger, (KRAKEN, cause.id))

        assert (row.kind, row.cursor) == ("resume", cause.cursor)
        assert KRAKEN not in ledger.halts()

    def test_a_table_that_was_stopped_again_since_is_not_resumed(self, told: ToldTables, ledger: Ledger):
        told.halted(KRAKEN)
        read_before = ledger.halts()[KRAKEN].id
        told.row(KRAKEN, timedelta(), "halt", error=("source_replaced", "It was made again."))

        with pytest.raises(StartOver, match="was stopped again since you looked: It was made again"):
            let_go_on(ledger, (KRAKEN, read_before))

        assert KRAKEN in ledger.halts()

    def test_a_table_that_somebody_else_has_resumed_is_not_resumed_twice(self, told: ToldTables, ledger: Ledger):
        told.halted(KRAKEN)
        cause = ledger.halts()[KRAKEN].id
        let_go_on(ledger, (KRAKEN, cause))

        with pytest.raises(StartOver, match="no longer stopped"):
            let_go_on(ledger, (KRAKEN, cause))
