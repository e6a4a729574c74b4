"""The ledger's statuses and kinds: the enums and the database's constraints list the same ones."""

from __future__ import annotations

import json
import re
import uuid
from decimal import Decimal
from enum import Enum

import pytest

from offload_core.errors import WatermarkInvalid
from offload_core.ledger.ledger import Ledger
from offload_core.ledger.rows import (
    ACCEPTING_KINDS,
    AHEAD_KINDS,
    BEHIND_KINDS,
    FAILED_KINDS,
    OFFLOADED_KINDS,
    POSITION_KINDS,
    LedgerRow,
    RowStatus,
    StepKind,
    sql_list,
)
from offload_core.ledger.session import LedgerConnection
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import ORIGIN, Window


def allowed(session: LedgerConnection, column: str) -> set[str]:
    """The values that the CHECK constraint on a column of `offload_watermarks` allows."""
    query = (
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint "
        "WHERE conrelid = 'offload_watermarks'::regclass AND conname = %s"
    )
    (record,) = session.execute(query, (f"offload_watermarks_{column}_check",)).fetchall()
    return set(re.findall(r"'(\w+)'", record["text"]))


@pytest.mark.integration
@pytest.mark.parametrize(("column", "words"), [("status", RowStatus), ("kind", StepKind)])
def test_the_database_allows_exactly_the_words_of_the_enum(
    session: LedgerConnection, column: str, words: type[Enum]
) -> None:
    assert allowed(session, column) == {word.value for word in words}


@pytest.mark.integration
def test_a_row_is_read_with_its_status_and_kind(ledger: Ledger) -> None:
    ledger.initialize("trades")

    row = ledger.watermark("trades")

    assert (row.status, row.kind) == (RowStatus.INITIALIZED, StepKind.INIT)
    assert isinstance(row.status, RowStatus)
    assert isinstance(row.kind, StepKind)


@pytest.mark.parametrize("word", [*RowStatus, *StepKind])
def test_a_word_is_its_value_wherever_it_becomes_text(word: RowStatus | StepKind) -> None:
    assert str(word) == f"{word}" == "%s" % word == word.value  # noqa: UP031 - as log lines do
    assert json.dumps([word]) == f'["{word.value}"]'
    assert {word.value: 1}[word] == 1


def test_every_kind_of_step_has_its_place() -> None:
    groups = (POSITION_KINDS, AHEAD_KINDS, BEHIND_KINDS, FAILED_KINDS)

    assert sorted(kind for group in groups for kind in group) == sorted(StepKind)
    assert {*ACCEPTING_KINDS} < {*POSITION_KINDS}
    assert {*OFFLOADED_KINDS} < {*AHEAD_KINDS}


def test_sql_lists_the_values() -> None:
    assert sql_list(BEHIND_KINDS) == "('repair', 'restate')"


def test_the_kind_of_a_marker_that_somebody_edited_is_refused() -> None:
    def marked(kind: str) -> Marker:
        return Marker("p", uuid.UUID(int=1), 0, Window(ORIGIN, ORIGIN.timestamp), ORIGIN, 0, "run", 1, "a", 1, kind)

    assert StepKind.of_marker(marked("restate")) is StepKind.RESTATE
    with pytest.raises(WatermarkInvalid, match="names the kind 'restated'"):
        StepKind.of_marker(marked("restated"))


@pytest.mark.parametrize(("column", "word"), [("kind", "compared"), ("status", "waiting")])
def test_a_row_of_a_newer_version_is_an_error_that_names_it(column: str, word: str) -> None:
    record = {"id": 7, "max_timestamp": ORIGIN.timestamp, "max_sequence_number": Decimal(0)}
    record |= {"status": "success", "kind": "increment", column: word}

    with pytest.raises(WatermarkInvalid, match=rf"Row 7 of the ledger .*{word}.* install that version again"):
        LedgerRow.from_record(record)
