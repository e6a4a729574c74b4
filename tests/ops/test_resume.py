"""A halted table is resumed only if it is still halted for the reason that the operator has read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from offload_core.errors import StartOver
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.session import LedgerConnection
from offload_ops.resume import resume_table
from tests.support.ledger.alert_tables import KRAKEN, AlertTables

pytestmark = pytest.mark.integration


@pytest.fixture
def tables(session: LedgerConnection, pipeline: str) -> AlertTables:
    """A ledger to write rows into."""
    return AlertTables(session, pipeline)


class TestResumeTable:
    def test_the_reason_that_was_read_is_accepted(self, tables: AlertTables, ledger: Ledger):
        tables.halted(KRAKEN)
        cause = ledger.halts()[KRAKEN]

        row = resume_table(ledger, KRAKEN, cause.id)

        assert (row.kind, row.cursor) == ("resume", cause.cursor)
        assert KRAKEN not in ledger.halts()

    def test_a_table_that_was_halted_again_since_is_not_resumed(self, tables: AlertTables, ledger: Ledger):
        tables.halted(KRAKEN)
        read_before = ledger.halts()[KRAKEN].id
        tables.row(KRAKEN, timedelta(), "halt", error=("source_replaced", "It was recreated."))

        with pytest.raises(StartOver, match="was halted again after you read the reason: It was recreated"):
            resume_table(ledger, KRAKEN, read_before)

        assert KRAKEN in ledger.halts()

    def test_a_table_that_is_already_resumed_is_not_resumed_twice(self, tables: AlertTables, ledger: Ledger):
        tables.halted(KRAKEN)
        cause = ledger.halts()[KRAKEN].id
        resume_table(ledger, KRAKEN, cause)

        with pytest.raises(StartOver, match="no longer halted"):
            resume_table(ledger, KRAKEN, cause)
