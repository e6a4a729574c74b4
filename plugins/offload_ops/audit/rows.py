"""Rows as pairs of numbers, one for the whole row and one for its key, and the differences of two sets of them."""

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
    """Rows of one tier, in any order.

    Attributes:
        rows: the number of each row (`offload_ops.tiers.row_hash`).
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
    """The numbers of the rows that differ; see `offload_ops.audit.model.Differences`.

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


def concat_rows(parts: list[Rows]) -> Rows:
    """Several sets of rows as one set."""
    import numpy as np

    nothing = np.empty(0, np.uint64)
    return Rows(
        np.concatenate([nothing, *(part.rows for part in parts)]),
        np.concatenate([nothing, *(part.keys for part in parts)]),
    )


def label_differences(hot: Rows, cold: Rows) -> Labels:
    """Find the differences of two sets, by row and by key. Each row is matched at most once."""
    import numpy as np

    only_hot, only_cold = unmatched(hot.rows, cold.rows), unmatched(cold.rows, hot.rows)
    hot_keys, cold_keys = hot.keys[only_hot], cold.keys[only_cold]
    # Rows that match neither by row nor by key are missing or additional; those that match by key alone have changed.
    missing, added = unmatched(hot_keys, cold_keys), unmatched(cold_keys, hot_keys)
    is_duplicate = np.isin(cold_keys[added], hot.keys)
    return Labels(
        missing=hot.rows[only_hot[missing]],
        changed=hot.rows[np.delete(only_hot, missing)],
        surplus=cold.rows[only_cold[added[~is_duplicate]]],
        duplicates=cold.rows[only_cold[added[is_duplicate]]],
    )


def unmatched(numbers: Numbers, others: Numbers) -> Positions:
    """The positions at which `numbers` holds what `others` lacks. Each occurrence is matched once."""
    import numpy as np

    order = np.argsort(numbers, kind="stable")
    ordered, others = numbers[order], np.sort(others)
    # Of equal numbers, the first ones match: as many as `others` holds. The rank counts equal numbers from 0.
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered, side="left")
    count = np.searchsorted(others, ordered, side="right") - np.searchsorted(others, ordered, side="left")
    positions: Positions = order[rank >= count]
    return positions
