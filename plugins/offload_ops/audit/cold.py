"""Iceberg's side of an audit: which files may hold a window's rows, whether they are there, and their rows where nothing else will do.

One snapshot is looked at throughout; its plan is made once per table from the manifests.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from offload_core.errors import FixConfiguration
from offload_core.protocol.window import MICROSECOND, Interval, to_micros
from offload_ops.audit.files import Unreadable, presence, reading
from offload_ops.audit.model import ColdSource
from offload_ops.audit.rows import Rows, joined_rows
from offload_ops.audit.scope import Scope
from offload_ops.audit.store import StoredAudit
from offload_ops.tiers.row_hash import NO_ROWS, RowHash, arrow_row_numbers

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import FileScanTask, Table

_READERS = min(4, os.cpu_count() or 1)
"""Files read at once; each takes the memory of its rows in the span."""
_CHECKS = 16
_T = TypeVar("_T")


@dataclass(frozen=True)
class ColdFile:
    """A data file with its delete files.

    Attributes:
        task: as pyiceberg plans it.
        first, last: the earliest and latest timestamp that it may hold, in microseconds since 1970; None where its metadata doesn't say.
    """

    task: FileScanTask
    first: int | None
    last: int | None

    @property
    def path(self) -> str:
        """Where it is."""
        return self.task.file.file_path

    def may_hold(self, span: Interval) -> bool:
        """Whether it may hold a row of a span."""
        starts_before = self.first is None or self.first < to_micros(span.end)
        ends_after = self.last is None or self.last >= to_micros(span.start)
        return starts_before and ends_after

    @property
    def identity(self) -> list[object]:
        """What tells it from any other; data files never change."""
        deletes = sorted(file.file_path for file in self.task.delete_files)
        return [self.path, self.task.file.record_count, self.task.file.file_size_in_bytes, deletes]


@dataclass(frozen=True)
class ColdFigures:
    """A window's count and hash, and where they come from; see `audit_model.WindowAudit`."""

    rows: RowHash
    source: ColdSource
    fingerprint: str
    unreadable: tuple[str, ...] = ()


@dataclass
class ColdTier:
    """One snapshot of one table.

    Attributes:
        table: as its catalog had it when the audit began; None if nothing of it can be read.
        gone: why that is.
        scope: what is compared.
        nulls: what NULL stands for in some columns (`offload_ops.tiers.verify.meaning_of_null`).
        files: those that may hold rows of the span; filled by `plan`.
    """

    table: Table | None
    scope: Scope
    nulls: Mapping[str, Sequence[int]]
    gone: str | None = None
    files: list[ColdFile] = field(default_factory=list)

    @property
    def snapshot_id(self) -> int | None:
        """The snapshot that is looked at, None if there is none."""
        snapshot = self.table.current_snapshot() if self.table is not None else None
        return snapshot.snapshot_id if snapshot is not None else None

    def plan(self, span: Interval) -> None:
        """Find the span's files in the manifests. Raises CatalogUnavailable, FixCredentials, FixConfiguration."""
        if self.table is None:
            return
        try:
            with reading(f"a manifest of {self.scope.table.target}"):
                tasks = list(self.table.scan(row_filter=self.scope.cold_condition(span)).plan_files())
        except Unreadable as error:
            self.gone = str(error)
            return
        except (ValueError, NotImplementedError) as error:
            raise FixConfiguration(
                f"The files of {self.scope.table.target} can't be planned: {error}.",
                "Where another writer leaves equality deletes, compact the table first (`offload maintain`).",
            ) from error
        number = self.table.schema().find_field(self.scope.table.timestamp_col).field_id
        self.files = [_cold_file(task, number) for task in tasks]

    def figures(
        self, windows: Sequence[Interval], parts: Sequence[Interval], stored: Mapping[Interval, StoredAudit]
    ) -> list[ColdFigures]:
        """Count and hash of the compared parts of windows.

        Args:
            windows: of the same width and in order of time.
            parts: of each, what is compared.
            stored: earlier audits by their window; their figures are taken where they are of the very same files.
        """
        if self.table is None or self.gone is not None:
            return [ColdFigures(NO_ROWS, ColdSource.METADATA, "", (str(self.gone),)) for _ in windows]
        prints = [self._fingerprint(self.table, part) for part in parts]
        unreadable = self._absent(self.table, parts)
        found: dict[int, ColdFigures] = {}
        for number, (window, part) in enumerate(zip(windows, parts, strict=True)):
            files, earlier = self._files_of(part), stored.get(window)
            if not files:
                found[number] = ColdFigures(NO_ROWS, ColdSource.METADATA, prints[number])
            elif (
                earlier is not None
                and earlier.fingerprint == prints[number]
                and not earlier.unreadable
                and not any(file.path in unreadable for file in files)
            ):
                found[number] = ColdFigures(earlier.cold, ColdSource.STORED, prints[number])
        open_windows = [number for number in range(len(windows)) if number not in found]
        hashes, broken = self._read_hashes(windows, parts, open_windows, unreadable)
        for number in open_windows:
            names = tuple(broken[file.path] for file in self._files_of(parts[number]) if file.path in broken)
            found[number] = ColdFigures(hashes[number], ColdSource.DATA, prints[number], names)
        return [found[number] for number in range(len(windows))]

    def rows(self, part: Interval) -> tuple[Rows, tuple[str, ...]]:
        """The numbers of a part's rows, and what is wrong with files that can't be read."""
        if self.gone is not None:
            return joined_rows([]), (self.gone,)
        numbers_of = partial(_row_numbers, scope=self.scope, nulls=self.nulls)
        found, broken = self._read(self._files_of(part), part, numbers_of)
        return joined_rows([rows for parts in found for rows in parts]), tuple(broken.values())

    def batches(self, part: Interval) -> list[pa.RecordBatch]:
        """The part's rows themselves; for small parts. Files that can't be read are left out."""
        found, _ = self._read(self._files_of(part), part, lambda batch: batch)
        return [batch for batches in found for batch in batches]

    def _files_of(self, span: Interval) -> list[ColdFile]:
        return [file for file in self.files if file.may_hold(span)]

    def _absent(self, table: Table, parts: Sequence[Interval]) -> dict[str, str]:
        """The files of some parts that are missing or were cut off, by their paths with the reason; nothing is read."""
        files = {file.path: file for part in parts for file in self._files_of(part)}
        check = partial(presence, table.io)
        with ThreadPoolExecutor(_CHECKS) as pool:
            reasons = list(pool.map(check, (file.task.file for file in files.values())))
        return {path: reason for path, reason in zip(files, reasons, strict=True) if reason is not None}

    def _fingerprint(self, table: Table, part: Interval) -> str:
        scope = self.scope
        ends_at_watermark = part.end == scope.watermark.timestamp + MICROSECOND
        parts: list[object] = [
            sorted((file.identity for file in self._files_of(part)), key=str),
            str(part),
            scope.watermark.sequence if ends_at_watermark else None,
            str(scope.closed_by),
            [str(skip) for skip in scope.skipped],
            [[column.name, column.iceberg_type, column.required] for column in scope.columns],
            table.metadata.current_schema_id,
            {name: list(numbers) for name, numbers in self.nulls.items()},
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _read_hashes(
        self, windows: Sequence[Interval], parts: Sequence[Interval], wanted: Sequence[int], absent: Mapping[str, str]
    ) -> tuple[list[RowHash], dict[str, str]]:
        """The hashes of some windows, and the files that can't be read by their paths with the reason; each file is read once."""
        hashes = [NO_ROWS] * len(windows)
        if not wanted:
            return hashes, dict(absent)
        chosen = {
            file.path: file for number in wanted for file in self._files_of(parts[number]) if file.path not in absent
        }
        span = Interval(parts[wanted[0]].start, parts[wanted[-1]].end)
        sums_of = partial(_hashes_by_window, scope=self.scope, nulls=self.nulls, windows=windows)
        found, broken = self._read(list(chosen.values()), span, sums_of)
        place = {
            (window.start - windows[0].start) // (window.end - window.start): at for at, window in enumerate(windows)
        }
        for by_window in (sums for parts_of_file in found for sums in parts_of_file):
            for number, rows in by_window.items():
                if number in place:
                    hashes[place[number]] += rows
        return hashes, {**absent, **broken}

    def _read(
        self, files: Sequence[ColdFile], span: Interval, work: Callable[[pa.RecordBatch], _T]
    ) -> tuple[list[list[_T]], dict[str, str]]:
        """Do some work with every batch of a span's rows, file by file, and say of the other files what is wrong with them."""

        def read(file: ColdFile) -> list[_T] | Unreadable:
            try:
                with reading(file.path):
                    return [work(batch) for batch in self._batches_of(file, span)]
            except Unreadable as error:
                return error

        with ThreadPoolExecutor(_READERS) as pool:
            results = list(pool.map(read, files))
        broken = {
            file.path: str(result)
            for file, result in zip(files, results, strict=True)
            if isinstance(result, Unreadable)
        }
        return [result for result in results if not isinstance(result, Unreadable)], broken

    def _batches_of(self, file: ColdFile, span: Interval) -> Iterable[pa.RecordBatch]:
        from pyiceberg.io.pyarrow import ArrowScan

        if self.table is None:
            return []
        schema = self.table.schema()
        names = {column.name for column in self.scope.columns} & {found.name for found in schema.fields}
        projected = schema.select(*names)
        scan = ArrowScan(
            self.table.metadata,
            self.table.io,
            projected,
            self.scope.cold_condition(span),
        )
        return scan.to_record_batches([file.task])


def _cold_file(task: FileScanTask, timestamp: int) -> ColdFile:
    from pyiceberg.conversions import from_bytes
    from pyiceberg.types import TimestamptzType

    def bound(bounds: Mapping[int, bytes] | None) -> int | None:
        raw = (bounds or {}).get(timestamp)
        return int(from_bytes(TimestamptzType(), raw)) if raw is not None else None

    return ColdFile(task, bound(task.file.lower_bounds), bound(task.file.upper_bounds))


def _row_numbers(batch: pa.RecordBatch, scope: Scope, nulls: Mapping[str, Sequence[int]]) -> Rows:
    return Rows(arrow_row_numbers(batch, scope.columns, nulls), arrow_row_numbers(batch, scope.key_columns, nulls))


def _hashes_by_window(
    batch: pa.RecordBatch, scope: Scope, nulls: Mapping[str, Sequence[int]], windows: Sequence[Interval]
) -> dict[int, RowHash]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = arrow_row_numbers(batch, scope.columns, nulls)
    moments = pc.cast(batch.column(scope.table.timestamp_col), pa.timestamp("us", "UTC")).cast(pa.int64())
    width = (windows[0].end - windows[0].start) // MICROSECOND
    at = (moments.to_numpy(zero_copy_only=False) - to_micros(windows[0].start)) // width
    order = np.argsort(at, kind="stable") if len(at) and at.min() != at.max() else np.arange(len(at))
    which, first, counts = np.unique(at[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(numbers[order], first) if len(first) else first
    return {
        int(window): RowHash(int(rows), int(total)) for window, rows, total in zip(which, counts, sums, strict=True)
    }
