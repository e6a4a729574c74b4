"""The differences of two sets of rows, by row and by key."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from offload_ops.audit.model import Differences
from offload_ops.audit.rows import Rows, concat_rows, label_differences, unmatched
from offload_ops.tiers.row_hash import RowHash


def rows(*pairs: tuple[int, int]) -> Rows:
    """Rows given as pairs of key and value; the number of a row is made of both."""
    return Rows(
        np.array([1_000 * key + value for key, value in pairs], np.uint64),
        np.array([key for key, _ in pairs], np.uint64),
    )


def test_equal_sets_in_different_orders_do_not_differ() -> None:
    assert not label_differences(rows((1, 1), (2, 1)), rows((2, 1), (1, 1))).counts


def test_each_kind_of_difference_is_counted_separately() -> None:
    hot = rows((1, 1), (2, 1), (3, 1), (4, 1))
    cold = rows((1, 1), (2, 7), (4, 1), (4, 1), (5, 1))

    found = label_differences(hot, cold)

    assert found.counts == Differences(missing=1, changed=1, surplus=1, duplicates=1)
    assert (found.missing, found.changed, found.surplus, found.duplicates) == ([3_001], [2_001], [5_001], [4_001])


def test_a_duplicate_with_other_values_is_a_duplicate() -> None:
    assert label_differences(rows((1, 1)), rows((1, 1), (1, 2))).counts == Differences(duplicates=1)


def test_compared_with_no_rows_all_are_missing_or_surplus() -> None:
    nothing = rows()

    assert label_differences(rows((1, 1), (2, 1)), nothing).counts == Differences(missing=2)
    assert label_differences(nothing, rows((1, 1), (2, 1))).counts == Differences(surplus=2)
    assert nothing.hash == RowHash(0, 0)


def test_parts_of_rows_add_up() -> None:
    parts = [rows((1, 1)), rows(), rows((2, 2))]

    assert concat_rows(parts).hash == parts[0].hash + parts[2].hash
    assert concat_rows([]).hash == RowHash(0, 0)


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_unmatched_rows_are_the_difference_of_the_multisets(left: list[int], right: list[int]) -> None:
    numbers = np.array(left, np.uint64)

    found = Counter(int(number) for number in numbers[unmatched(numbers, np.array(right, np.uint64))])

    assert found == Counter(left) - Counter(right)


_PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=12)


@given(st.lists(st.integers(0, 4), unique=True), _PAIRS)
def test_the_differences_explain_the_counts(keys: list[int], cold_pairs: list[tuple[int, int]]) -> None:
    hot, cold = rows(*((key, 0) for key in keys)), rows(*cold_pairs)

    found = label_differences(hot, cold).counts

    assert len(cold.rows) - len(hot.rows) == found.surplus + found.duplicates - found.missing
    assert bool(found) == (Counter(hot.rows.tolist()) != Counter(cold.rows.tolist()))
    assert found.missing == len(set(keys) - {key for key, _ in cold_pairs})
    assert found.surplus == sum(key not in keys for key, _ in cold_pairs)
