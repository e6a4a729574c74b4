"""Field ids are written into a Parquet footer, and nothing else in the file changes."""

from __future__ import annotations

import struct
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offload_core.errors import AuditFailed
from offload_spark.files.field_ids import assign_field_ids

ROWS = pa.table(
    {
        "ünïcode name": pa.array(["a", None, "c"]),
        "price": pa.array([Decimal("-1.5"), Decimal("2.25"), None], pa.decimal128(38, 8)),
        "at": pa.array([datetime(2026, 11, 1, tzinfo=timezone.utc)] * 3, pa.timestamp("us", "UTC")),
        "day": pa.array([date(2026, 11, 1)] * 3),
        "small": pa.array([1, 2, 3], pa.int8()),
        "unsigned": pa.array([1, 2, 3], pa.uint64()),
        "ratio": pa.array([0.5, float("-inf"), None]),
        "flag": pa.array([True, False, None]),
        "fixed": pa.array([b"1234", b"5678", None], pa.binary(4)),
        "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
    }
)


@pytest.mark.parametrize("page_index", [True, False])
# From 15 elements on, including the root, a list's head has no room for its length.
@pytest.mark.parametrize("more", [0, 3, 4, 5, 300])
def test_only_the_schema_changes(tmp_path: Path, more: int, page_index: bool) -> None:
    rows = ROWS
    for number in range(more):
        rows = rows.append_column(f"column {number}", pa.array([number] * 3))
    path = write(tmp_path, rows, write_page_index=page_index, row_group_size=2)
    table, before, data = pq.read_table(path), pq.read_metadata(path), pages(path)
    ids = {name: 7 * number + 1 for number, name in enumerate(rows.column_names)}

    assign_field_ids(path, ids)

    assert field_ids(path) == ids
    assert pages(path) == data
    assert pq.read_table(path).equals(table)
    after = pq.read_metadata(path)
    assert [after.row_group(number).to_dict() for number in range(after.num_row_groups)] == [
        before.row_group(number).to_dict() for number in range(before.num_row_groups)
    ]
    assert (after.num_rows, after.created_by, after.metadata) == (before.num_rows, before.created_by, before.metadata)


def test_ids_that_a_file_has_are_replaced(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    first = {name: number for number, name in enumerate(ROWS.column_names, start=1)}
    assign_field_ids(path, first)
    once = path.read_bytes()
    assign_field_ids(path, {name: 2**31 - 1 - number for name, number in first.items()})
    assert field_ids(path) == {name: 2**31 - 1 - number for name, number in first.items()}
    assign_field_ids(path, first)
    assert field_ids(path) == first
    assert path.read_bytes().startswith(once[: len(pages(path))])


def test_a_column_without_an_id_is_an_error_and_the_file_stays_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    before = path.read_bytes()
    with pytest.raises(AuditFailed, match="'price' has no field id"):
        assign_field_ids(path, {name: 1 for name in ROWS.column_names if name != "price"})
    nested = write(tmp_path / "nested", pa.table({"list": [[1], [2]]}))
    with pytest.raises(AuditFailed, match="'list' is nested"):
        assign_field_ids(nested, {"list": 1, "element": 2})
    assert path.read_bytes() == before


def test_what_is_no_whole_parquet_file_is_an_error_and_stays_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    whole = path.read_bytes()
    (length,) = struct.unpack("<I", whole[-8:-4])
    footer = whole[-8 - length : -8]
    broken = [b"", b"PAR1", whole[:-1], whole[:-4] + b"PARE", struct.pack("<I4s", 2**32 - 1, b"PAR1")]
    broken += [footer[:kept] + struct.pack("<I4s", kept, b"PAR1") for kept in range(30)]
    broken += [bytes([head]) + footer[1:] + whole[-8:] for head in (0x00, 0x05, 0x19, 0x1C, 0x2C)]
    for data in broken:
        path.write_bytes(data)
        with pytest.raises(AuditFailed):
            assign_field_ids(path, dict.fromkeys(ROWS.column_names, 1))
        assert path.read_bytes() == data


def write(folder: Path, rows: pa.Table, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(rows, folder / "rows.parquet", **options)
    return folder / "rows.parquet"


def pages(path: Path) -> bytes:
    """Everything before the footer."""
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[-8:-4])
    return data[: -8 - length]


def field_ids(path: Path) -> dict[str, int]:
    return {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in pq.read_schema(path)}
