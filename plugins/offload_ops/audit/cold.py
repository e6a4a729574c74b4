"""Iceberg's side of an audit: the files that may hold a window's rows, whether they exist, and their rows where needed.

All of it reads one snapshot; the manifests are read once per table.
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
from offload_ops.audit.files import UnreadableFile, file_defect, storage_errors
from offload_ops.audit.model import ColdSource
from offload_ops.audit.rows import Rows, concat_rows
from offload_ops.audit.scope import Scope
from offload_ops.audit.store import StoredAudit
from offload_ops.tiers.row_hash import NO_ROWS, RowHash, arrow_row_numbers

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import FileScanTask, Table

_READERS = min(4, os.cpu_count() or 1)
"""Files that are read at once; each needs memory for its rows in the span."""
_CHECKS = 16
"""Files that are checked at once, without reading them."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class ColdFile:
    """A data file with its delete files.

    Attributes:
        task: as pyiceberg plans it.
        first, last: the earliest and latest timestamp that it may hold, in microseconds since 1970; None if its
            metadata does not say.
    """

    task: FileScanTask
    first: int | None
    last: int | None

    @property
    def path(self) -> str:
        """The path of the data file."""
        return self.task.file.file_path

    def may_hold(self, span: Interval) -> bool:
        """Whether it may hold a row of a span."""
        starts_before = self.first is None or self.first < to_micros(span.end)
        ends_after = self.last is None or self.last >= to_micros(span.start)
        return starts_before and ends_after

    @property
    def identity(self) -> list[object]:
        """What distinguishes it from any other file; data files never change."""
        deletes = sorted(file.file_path for file in self.task.delete_files)
        return [self.path, self.task.file.record_count, self.task.file.file_size_in_bytes, deletes]


@dataclass(frozen=True)
class ColdHash:
    """Iceberg's count and hash of a window.

    Attributes:
        rows: count and hash.
        source: where they come from.
        fingerprint: identifies the files, bounds and projection behind them.
        unreadable: what is wrong with files that are missing or broken.
    """

    rows: RowHash
    source: ColdSource
    fingerprint: str
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class _WindowFiles:
    """A window before its rows are read: the compared part of it, and the files that may hold rows of that part."""

    window: Interval
    part: Interval
    files: tuple[ColdFile, ...]
    fingerprint: str

    def known_hash(self, earlier: StoredAudit | None, missing: Mapping[str, str]) -> ColdHash | None:
        """The hash as far as it is known without reading rows; None if the files must be read.

        Args:
            earlier: the newest earlier audit of the window.
            missing: paths of files that do not exist.
        """
        if not self.files:
            return ColdHash(NO_ROWS, ColdSource.METADATA, self.fingerprint)
        if earlier is None or earlier.fingerprint != self.fingerprint or earlier.unreadable:
            return None
        if any(file.path in missing for file in self.files):
            return None
        return ColdHash(earlier.cold, ColdSource.STORED, self.fingerprint)


@dataclass
class ColdTier:
    """One snapshot of one table.

    Attributes:
        table: as its catalog had it when the audit began; None if it cannot be read.
        scope: what is compared.
        nulls: what NULL stands for in some columns (`offload_ops.tiers.verify.meaning_of_null`).
        unreadable_reason: why the table or its manifests cannot be read; None if they can.
        files: the files that may hold rows of the span; set by `plan`.
    """

    table: Table | None
    scope: Scope
    nulls: Mapping[str, Sequence[int]]
    unreadable_reason: str | None = None
    files: list[ColdFile] = field(default_factory=list)

    @property
    def snapshot_id(self) -> int | None:
        """The snapshot that is read; None if there is none."""
        snapshot = self.table.current_snapshot() if self.table is not None else None
        return snapshot.snapshot_id if snapshot is not None else None

    def plan(self, span: Interval) -> None:
        """Find the files of a span in the manifests.

        Raises:
            CatalogUnavailable, FixCredentials: the file store cannot be read.
            FixConfiguration: pyiceberg cannot plan the files.
        """
        if self.table is None:
            return
        try:
            with storage_errors(f"a manifest of {self.scope.table.target}"):
                tasks = list(self.table.scan(row_filter=self.scope.cold_condition(span)).plan_files())
        except UnreadableFile as error:
            self.unreadable_reason = str(error)
            return
        except (ValueError, NotImplementedError) as error:
            raise FixConfiguration(
                f"The files of {self.scope.table.target} cannot be planned: {error}.",
                "If another writer leaves equality deletes, compact the table first (`offload maintain`).",
            ) from error
        timestamp = self.table.schema().find_field(self.scope.table.timestamp_col).field_id
        self.files = [_cold_file(task, timestamp) for task in tasks]

    def hash_windows(
        self, parts: Mapping[Interval, Interval], stored: Mapping[Interval, StoredAudit]
    ) -> dict[Interval, ColdHash]:
        """Count and hash of the compared part of each window.

        Args:
            parts: the windows, of the same width and in order of time, and the part of each that is compared.
            stored: earlier audits by their window. The hash of one that read the very same files is used again.
        """
        if self.table is None or self.unreadable_reason is not None:
            nothing = ColdHash(NO_ROWS, ColdSource.METADATA, "", (str(self.unreadable_reason),))
            return dict.fromkeys(parts, nothing)
        requested = [self._window_files(self.table, window, part) for window, part in parts.items()]
        missing = self._missing_files(self.table, requested)
        known = {wanted.window: wanted.known_hash(stored.get(wanted.window), missing) for wanted in requested}
        unresolved = [wanted for wanted in requested if known[wanted.window] is None]
        read = self._read_hashes(unresolved, missing)
        return {window: cold or read[window] for window, cold in known.items()}

    def rows(self, part: Interval) -> tuple[Rows, tuple[str, ...]]:
        """The numbers of a part's rows, and what is wrong with files that cannot be read."""
        if self.unreadable_reason is not None:
            return concat_rows([]), (self.unreadable_reason,)
        numbers_of = partial(_row_numbers, scope=self.scope, nulls=self.nulls)
        results, broken = self._map_batches(self._files_in(part), part, numbers_of)
        return concat_rows([rows for rows_of_file in results for rows in rows_of_file]), tuple(broken.values())

    def batches(self, part: Interval) -> list[pa.RecordBatch]:
        """The rows of a part, which must be small. Files that cannot be read are left out."""
        results, _ = self._map_batches(self._files_in(part), part, lambda batch: batch)
        return [batch for batches in results for batch in batches]

    def _files_in(self, span: Interval) -> list[ColdFile]:
        return [file for file in self.files if file.may_hold(span)]

    def _window_files(self, table: Table, window: Interval, part: Interval) -> _WindowFiles:
        files = self._files_in(part)
        return _WindowFiles(window, part, tuple(files), self._fingerprint(table, part, files))

    def _fingerprint(self, table: Table, part: Interval, files: Sequence[ColdFile]) -> str:
        scope = self.scope
        ends_at_watermark = part.end == scope.watermark.timestamp + MICROSECOND
        inputs: list[object] = [
            sorted((file.identity for file in files), key=str),
            str(part),
            scope.watermark.sequence if ends_at_watermark else None,
            str(scope.closed_by),
            [str(skip) for skip in scope.skipped],
            [[column.name, column.iceberg_type, column.required] for column in scope.columns],
            table.metadata.current_schema_id,
            {name: list(numbers) for name, numbers in self.nulls.items()},
        ]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()

    def _missing_files(self, table: Table, windows: Sequence[_WindowFiles]) -> dict[str, str]:
        """The files of some windows that are missing or truncated: path and reason. Their content is not read."""
        files = {file.path: file for window in windows for file in window.files}
        check = partial(file_defect, table.io)
        with ThreadPoolExecutor(_CHECKS) as pool:
            defects = list(pool.map(check, (file.task.file for file in files.values())))
        return {path: defect for path, defect in zip(files, defects, strict=True) if defect is not None}

    def _read_hashes(self, windows: Sequence[_WindowFiles], missing: Mapping[str, str]) -> dict[Interval, ColdHash]:
        """Hash the rows of some windows. Each file is read once, except those that are missing."""
        if not windows:
            return {}
        files = {file.path: file for window in windows for file in window.files if file.path not in missing}
        span = Interval(windows[0].part.start, windows[-1].part.end)
        hash_batch = partial(_hashes_by_start, scope=self.scope, nulls=self.nulls, window=windows[0].window)
        results, broken = self._map_batches(list(files.values()), span, hash_batch)
        sums = {to_micros(window.window.start): NO_ROWS for window in windows}
        for by_start in (batch for batches in results for batch in batches):
            for start in by_start.keys() & sums.keys():
                sums[start] += by_start[start]
        defects = {**missing, **broken}
        return {
            window.window: ColdHash(
                rows=sums[to_micros(window.window.start)],
                source=ColdSource.DATA,
                fingerprint=window.fingerprint,
                unreadable=tuple(defects[file.path] for file in window.files if file.path in defects),
            )
            for window in windows
        }

    def _map_batches(
        self, files: Sequence[ColdFile], span: Interval, work: Callable[[pa.RecordBatch], _T]
    ) -> tuple[list[list[_T]], dict[str, str]]:
        """Apply a function to every batch of a span's rows.

        Returns:
            Its results, file by file, and the reason for each file that cannot be read, by its path.
        """

        def read(file: ColdFile) -> list[_T] | UnreadableFile:
            try:
                with storage_errors(file.path):
                    return [work(batch) for batch in self._read_batches(file, span)]
            except UnreadableFile as error:
                return error

        with ThreadPoolExecutor(_READERS) as pool:
            results = list(pool.map(read, files))
        broken = {
            file.path: str(result)
            for file, result in zip(files, results, strict=True)
            if isinstance(result, UnreadableFile)
        }
        return [result for result in results if not isinstance(result, UnreadableFile)], broken

    def _read_batches(self, file: ColdFile, span: Interval) -> Iterable[pa.RecordBatch]:
        from pyiceberg.io.pyarrow import ArrowScan

        if self.table is None:
            return []
        schema = self.table.schema()
        names = {column.name for column in self.scope.columns} & {column.name for column in schema.fields}
        scan = ArrowScan(
            self.table.metadata,
            self.table.io,
            schema.select(*names),
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


def _hashes_by_start(
    batch: pa.RecordBatch, scope: Scope, nulls: Mapping[str, Sequence[int]], window: Interval
) -> dict[int, RowHash]:
    """Count and hash of a batch's rows by the start of their windows, in microseconds since 1970.

    Args:
        batch: the rows.
        scope: what is compared.
        nulls: as of `ColdTier`.
        window: one of the windows; all have its width.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = arrow_row_numbers(batch, scope.columns, nulls)
    column = pc.cast(batch.column(scope.table.timestamp_col), pa.timestamp("us", "UTC")).cast(pa.int64())
    width, origin = (window.end - window.start) // MICROSECOND, to_micros(window.start)
    moments = column.to_numpy(zero_copy_only=False)
    starts = moments - (moments - origin) % width
    # Most batches lie in one window and need no sorting.
    is_mixed = len(starts) > 0 and starts.min() != starts.max()
    order = np.argsort(starts, kind="stable") if is_mixed else np.arange(len(starts))
    unique, first, counts = np.unique(starts[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(numbers[order], first) if len(first) else first
    return {int(start): RowHash(int(rows), int(total)) for start, rows, total in zip(unique, counts, sums, strict=True)}
