"""The marker in an Iceberg snapshot's summary, which the ledger is repaired from."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.errors import WatermarkInvalid
from offload_core.protocol.marker import Marker
from offload_core.protocol.window import Cursor, Window

moments = st.datetimes(
    min_value=datetime(1900, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(2299, 12, 30),  # noqa: DTZ001
    timezones=st.just(timezone.utc),
)
cursors = st.builds(Cursor, moments, st.integers(0, 2**64 - 1))
markers = st.builds(
    Marker,
    pipeline=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    source_uuid=st.uuids(),
    generation=st.integers(0, 2**31 - 1),
    window=st.builds(Window, cursors, moments),
    cursor=cursors,
    rows=st.integers(0, 2**63 - 1),
    run_id=st.text(max_size=40),
    attempt=st.integers(1, 99),
    attempt_id=st.uuids().map(lambda value: value.hex),
    ledger_id=st.integers(1, 2**63 - 1),
    kind=st.sampled_from(("increment", "repair", "restate")),
)
MARKER = Marker(
    pipeline="iceberg_offload",
    source_uuid=uuid.UUID("11111111-2222-3333-4444-555555555555"),
    generation=2,
    window=Window(
        Cursor(datetime(2026, 11, 19, 12, 0, 0, 5, tzinfo=timezone.utc), 7),
        datetime(2026, 11, 19, 12, 10, tzinfo=timezone.utc),
    ),
    cursor=Cursor(datetime(2026, 11, 19, 12, 9, 59, 999999, tzinfo=timezone.utc), 2**64 - 1),
    rows=12,
    run_id="scheduled__2026-11-19T12:00:00+00:00",
    attempt=1,
    attempt_id="a1",
    ledger_id=41,
)


@given(markers)
def test_a_marker_is_read_back_as_it_was_written(marker):
    assert Marker.from_summary(marker.to_summary(), marker.pipeline) == marker


@given(markers)
def test_a_summary_holds_text_only_and_nothing_that_clashes_with_icebergs_own(marker):
    summary = marker.to_summary()

    assert all(isinstance(value, str) for value in summary.values())
    assert all(key.startswith("offload.") for key in summary)


def test_the_summarys_names_and_texts_are_a_contract_with_snapshots_already_written():
    assert MARKER.to_summary() == {
        "offload.pipeline": "iceberg_offload",
        "offload.source-uuid": "11111111-2222-3333-4444-555555555555",
        "offload.generation": "2",
        "offload.window-lower": "2026-11-19T12:00:00.000005+00:00",
        "offload.window-lower-sequence": "7",
        "offload.window-upper": "2026-11-19T12:10:00.000000+00:00",
        "offload.max-timestamp": "2026-11-19T12:09:59.999999+00:00",
        "offload.max-sequence": "18446744073709551615",
        "offload.rows": "12",
        "offload.run-id": "scheduled__2026-11-19T12:00:00+00:00",
        "offload.attempt": "1",
        "offload.attempt-id": "a1",
        "offload.ledger-id": "41",
        "offload.kind": "increment",
    }


def test_icebergs_own_properties_beside_the_marker_do_not_disturb():
    summary = {**MARKER.to_summary(), "operation": "append", "added-records": "12", "spark.app.id": "local-1"}

    assert Marker.from_summary(summary, "iceberg_offload") == MARKER


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"operation": "replace", "added-records": "12"},
        {**MARKER.to_summary(), "offload.pipeline": "another"},
        {key: value for key, value in MARKER.to_summary().items() if key != "offload.pipeline"},
    ],
)
def test_a_snapshot_of_somebody_else_has_no_marker(summary):
    assert Marker.from_summary(summary, "iceberg_offload") is None


@pytest.mark.parametrize("key", sorted(MARKER.to_summary().keys() - {"offload.pipeline", "offload.kind"}))
def test_a_marker_with_a_missing_property_is_an_error(key):
    summary = {name: value for name, value in MARKER.to_summary().items() if name != key}

    with pytest.raises(WatermarkInvalid, match=key.removeprefix("offload.")):
        Marker.from_summary(summary, "iceberg_offload")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source-uuid", "trades"),
        ("generation", "second"),
        ("window-lower", "yesterday"),
        ("window-lower", "2026-11-19T12:00:00"),
        ("window-upper", "2026-11-19T12:10:00"),
        ("max-timestamp", "2026-11-19T12:09:59"),
        ("max-timestamp", "0001-01-01T00:00:00+10:00"),
        ("max-timestamp", ""),
        ("max-sequence", "1e3"),
        ("rows", ""),
        ("attempt", "first"),
        ("ledger-id", "None"),
    ],
)
def test_an_unreadable_property_is_an_error_with_a_remedy(key, value):
    summary = {**MARKER.to_summary(), f"offload.{key}": value}

    with pytest.raises(WatermarkInvalid, match="unreadable marker") as caught:
        Marker.from_summary(summary, "iceberg_offload")

    assert "offload reset" in caught.value.remedy
