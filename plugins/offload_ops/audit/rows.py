"""Rows as pairs of numbers, one for the whole row and one for its key, and what two sets of them differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from offload_ops.audit.model import Differences
from offload_ops.tiers.row_hash import RowHash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.uint64]
    Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Rows:
    """Rows of one tier in any order.

    Attributes:
        rows: each row's number (`offload_ops.tiers.row_hash`).
        keys: the number of the same row's key.
    """

    rows: Numbers
    keys: Numbers

    @property
    def hash(self) -> RowHash:
        """Count and hash."""
        import numpy as np

        return RowHash(len(self.rows), int(self.rows.sum(dtype=np.uint64)))


@dataclass(frozen=True)
class Labels:
    """The numbers of the rows in which two sets differ; see `audit_model.Differences`.

    Attributes:
        missing, changed: rows of the hot tier.
        surplus, duplicates: rows of the cold tier.
    """

    missing: Numbers
    changed: Numbers
    surplus: Numbers
    duplicates: Numbers

    @property
    def counts(self) -> Differences:
        """How many there are of each."""
        return Differences(len(self.missing), len(self.surplus), len(self.changed), len(self.duplicates))


def joined_rows(parts: list[Rows]) -> Rows:
    """Several sets of rows as one."""
    import numpy as np

    nothing = np.empty(0, np.uint64)
    return Rows(
        np.concatenate([nothing, *(part.rows for part in parts)]),
        np.concatenate([nothing, *(part.keys for part in parts)]),
    )


def labelled(hot: Rows, cold: Rows) -> Labels:
    """Tell by row and by key in what two sets differ, each row matched once."""
    import numpy as np

    only_hot, only_cold = unmatched(hot.rows, cold.rows), unmatched(cold.rows, hot.rows)
    hot_keys, cold_keys = hot.keys[only_hot], cold.keys[only_cold]
    gone, added = unmatched(hot_keys, cold_keys), unmatched(cold_keys, hot_keys)
    is_double = np.isin(cold_keys[added], hot.keys)
    return Labels(
        missing=hot.rows[only_hot[gone]],
        changed=hot.rows[np.delete(only_hot, gone)],
        surplus=cold.rows[only_cold[added[~is_double]]],
        duplicates=cold.rows[only_cold[added[is_double]]],
    )


def unmatched(numbers: Numbers, others: Numbers) -> Positions:
    """Where `numbers` holds what `others` doesn't, each occurrence matched once: positions."""
    import numpy as np

    order = np.argsort(numbers, kind="stable")
    ordered, there = numbers[order], np.sort(others)
    # The how-manieth of its kind each number is, from 0, against how often the others have it.
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered, side="left")
    count = np.searchsorted(there, ordered, side="right") - np.searchsorted(there, ordered, side="left")
    found: Positions = order[rank >= count]
    return found
