"""The partitions of an Iceberg table: where they start and end, and how Iceberg calls them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.protocol.partition import Partition
from offload_core.protocol.window import MICROSECOND

partitions = st.sampled_from(Partition)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    # What ClickHouse's DateTime64 can hold, a day short so that every zone can show it.
    min_value=datetime(1900, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(2299, 12, 30),  # noqa: DTZ001
    timezones=zones,
)


@pytest.mark.parametrize(
    ("partition", "moment", "start", "following", "path"),
    [
        ("hour", "2026-11-19T23:59:59.999999", "2026-11-19T23:00", "2026-11-20T00:00", "2026-11-19-23"),
        ("day", "2024-02-28T23:59:59.999999", "2024-02-28T00:00", "2024-02-29T00:00", "2024-02-28"),
        ("day", "2024-02-29T12:00", "2024-02-29T00:00", "2024-03-01T00:00", "2024-02-29"),
        ("day", "2026-12-31T23:59:59.999999", "2026-12-31T00:00", "2027-01-01T00:00", "2026-12-31"),
        ("month", "2026-01-31T23:59:59.999999", "2026-01-01T00:00", "2026-02-01T00:00", "2026-01"),
        ("month", "2024-02-29T00:00", "2024-02-01T00:00", "2024-03-01T00:00", "2024-02"),
        ("month", "2026-12-31T23:59:59.999999", "2026-12-01T00:00", "2027-01-01T00:00", "2026-12"),
        ("year", "2024-02-29T00:00", "2024-01-01T00:00", "2025-01-01T00:00", "2024"),
        ("year", "1969-12-31T23:59:59.999999", "1969-01-01T00:00", "1970-01-01T00:00", "1969"),
    ],
)
def test_a_partition_starts_ends_and_is_called(partition, moment, start, following, path):
    moment, start, following = (datetime.fromisoformat(f"{text}+00:00") for text in (moment, start, following))

    assert Partition(partition).floor(moment) == start
    assert Partition(partition).next(moment) == following
    assert Partition(partition).path_value(moment) == path


def test_a_moment_lies_in_the_partition_of_its_utc_day_wherever_it_was_written():
    just_after_midnight_in_tokyo = datetime(2026, 11, 20, 0, 30, tzinfo=timezone(timedelta(hours=9)))

    assert Partition.DAY.path_value(just_after_midnight_in_tokyo) == "2026-11-19"
    assert Partition.DAY.floor(just_after_midnight_in_tokyo) == datetime(2026, 11, 19, tzinfo=timezone.utc)


@given(partition=partitions, moment=moments)
def test_every_moment_lies_in_exactly_one_partition(partition, moment):
    start, following = partition.floor(moment), partition.next(moment)

    assert start <= moment < following
    assert partition.floor(start) == start
    assert partition.floor(following - MICROSECOND) == start
    assert partition.floor(following) == following
    assert partition.path_value(moment) == partition.path_value(start) != partition.path_value(following)


@pytest.mark.parametrize(
    ("partition", "value", "start"),
    [
        (Partition.DAY, "2026-11-19", datetime(2026, 11, 19, tzinfo=timezone.utc)),
        (Partition.HOUR, "0", datetime(1970, 1, 1, tzinfo=timezone.utc)),
        (Partition.HOUR, "498443", datetime(2026, 11, 11, 11, tzinfo=timezone.utc)),
        (Partition.MONTH, "682", datetime(2026, 11, 1, tzinfo=timezone.utc)),
        (Partition.MONTH, "-1", datetime(1969, 12, 1, tzinfo=timezone.utc)),
        (Partition.YEAR, "56", datetime(2026, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_a_partitions_value_in_icebergs_metadata_says_when_it_starts(partition: Partition, value: str, start: datetime):
    assert partition.start_of(value) == start
    assert partition.metadata_value(start) == value


@given(partition=partitions, moment=moments)
def test_every_moment_has_the_metadata_value_of_its_partition(partition: Partition, moment: datetime):
    assert partition.start_of(partition.metadata_value(moment)) == partition.floor(moment)
