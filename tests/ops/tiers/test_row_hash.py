"""The hash of a set of rows, by a real ClickHouse and from its Parquet: equal for equal rows, different for others."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.tables import TableConfig
from offload_core.source.projection import Column, SourceColumn, project_column
from offload_core.source.quoting import quote_table
from offload_ops.tiers.row_hash import NO_ROWS, RowHash, arrow_hash, clickhouse_hash, default_numbers_query
from tests.support.stack.servers import HotTier, unique_name

TABLE = TableConfig(
    source="t",
    target="cold.t",
    layer="bronze",
    timestamp_col="c",
    allow_precision_loss=("c",),
    as_text=("text",),
)
# What the job asks ClickHouse for.
PARQUET = {
    "output_format_parquet_string_as_string": "1",
    "output_format_parquet_fixed_string_as_fixed_byte_array": "1",
}
BYTES = "unhex('{}')"

VALUES = {
    "Bool": ["true", "false"],
    "Int8": ["-128", "0", "127"],
    "Int16": ["-32768", "0", "32767"],
    "Int32": ["-2147483648", "0", "2147483647"],
    "Int64": ["-9223372036854775808", "-1", "0", "9223372036854775807"],
    "UInt8": ["0", "255"],
    "UInt16": ["0", "65535"],
    "UInt32": ["0", "4294967295"],
    "UInt64": ["0", "1", "9223372036854775808", "18446744073709551615"],
    "Float32": ["0", "-0.", "1.5", "inf", "-inf", "1e-45"],
    "Float64": ["0", "-0.", "0.1", "inf", "-inf", "5e-324", "1.7976931348623157e308"],
    "Decimal(9, 4)": ["'-99999.9999'", "'0'", "'0.0001'", "'99999.9999'"],
    "Decimal(18, 0)": ["'-999999999999999999'", "'0'", "'999999999999999999'"],
    "Decimal(38, 8)": [
        "'-999999999999999999999999999999.99999999'",
        "'-0.00000001'",
        "'0'",
        "'999999999999999999999999999999.99999999'",
    ],
    "Decimal(38, 38)": ["'-0.99999999999999999999999999999999999999'", "'0'"],
    "Date": ["'1970-01-01'", "'2024-02-29'", "'2149-06-06'"],
    "Date32": ["'1900-01-01'", "'1969-12-31'", "'2299-12-31'"],
    "DateTime('UTC')": ["'1970-01-01 00:00:00'", "'2106-02-07 06:28:15'"],
    "DateTime('Asia/Tokyo')": ["'2026-11-19 12:00:00'"],
    "DateTime64(3, 'America/Lima')": ["'1900-01-02 00:00:00.001'", "'2026-11-19 12:00:00.999'"],
    "DateTime64(6, 'UTC')": [
        "'1900-01-01 00:00:00.000001'",
        "'1969-12-31 23:59:59.999999'",
        "'2299-12-31 23:59:59.999999'",
    ],
    "DateTime64(9, 'UTC')": ["'2026-11-19 12:00:00.123456789'"],
    "String": ["''", "'a'", "'a|b'", "'3:abc'", "'N'", "'N|'", "'ü🧊'", BYTES.format("00"), "repeat('x', 100000)"],
    "FixedString(3)": ["'abc'", "'ab'", "''", BYTES.format("00FF80")],
    "LowCardinality(String)": ["''", "'a'", "'ü'"],
    "LowCardinality(FixedString(2))": ["'ab'", "'a'"],
    "Enum8('buy' = 1, 'it\\'s' = -2)": ["'buy'", "'it\\'s'"],
    "Enum16('a' = 300)": ["'a'"],
    "UUID": ["'00000000-0000-0000-0000-000000000000'", "'f47ac10b-58cc-4372-a567-0e02b2c3d479'"],
    "IPv4": ["'0.0.0.0'", "'255.255.255.255'"],
    "IPv6": ["'::'", "'2001:db8::1'"],
}
AS_TEXT = {
    "Int256": ["'-1'", "'57896044618658097711785492504343953926634992332820282019728792003956564819967'"],
    "Decimal(76, 20)": ["'-0.00000000000000000001'"],
    "Array(Nullable(String))": ["['a', NULL, '']", "[]"],
    "Map(String, UInt8)": ["map('k', 1)"],
    "Tuple(a Int32, b String)": ["(1, 'x')"],
}
NOT_NULLABLE = ("Array", "Map", "Tuple", "LowCardinality")

Both = Callable[[str, str, list[str]], tuple[RowHash, RowHash]]


@pytest.fixture
def both(clickhouse: HotTier, tmp_path: Path) -> Both:
    """Inserts values into a table of one column and computes the hash on both sides."""

    def both(name: str, kind: str, values: list[str]) -> tuple[RowHash, RowHash]:
        client, source = clickhouse.client, quote_table(unique_name("hashed"))
        client.command(f"CREATE TABLE {source} (`{name}` {kind}) ENGINE = Memory")
        for value in values:
            # One statement each: a list of values would be given one common type.
            client.command(f"INSERT INTO {source} SELECT {value}")
        column = project_column(TABLE, SourceColumn(name, kind))
        (row,) = client.rows(f"SELECT count() AS rows, toString({clickhouse_hash([column])}) AS hash FROM {source}")
        path = tmp_path / "rows.parquet"
        client.download(f"SELECT {column.select_item} FROM {source} FORMAT Parquet", {}, PARQUET, path)
        client.command(f"DROP TABLE {source}")
        cold = arrow_hash(pq.ParquetFile(path).iter_batches(batch_size=2), [column])
        return RowHash(int(row["rows"]), int(row["hash"])), cold

    return both


@pytest.mark.integration
class TestBothSides:
    @pytest.mark.parametrize("kind", VALUES)
    def test_agree_on_every_type_at_its_limits(self, both: Both, kind):
        hot, cold = both("c", kind, VALUES[kind])

        assert hot == cold
        assert hot.rows == len(VALUES[kind])

    @pytest.mark.parametrize("kind", [kind for kind in VALUES if not kind.startswith(NOT_NULLABLE)])
    def test_agree_on_null_among_the_values(self, both: Both, kind):
        hot, cold = both("c", f"Nullable({kind})", [*VALUES[kind], "NULL"])

        assert hot == cold
        assert hot.rows == len(VALUES[kind]) + 1

    def test_agree_on_a_nullable_dictionary(self, both: Both):
        hot, cold = both("c", "LowCardinality(Nullable(String))", ["''", "NULL", "'a'"])

        assert hot == cold

    @pytest.mark.parametrize("kind", AS_TEXT)
    def test_agree_on_types_that_are_stored_as_text(self, both: Both, kind):
        hot, cold = both("text", kind, AS_TEXT[kind])

        assert hot == cold

    @pytest.mark.parametrize("kind", VALUES)
    def test_distinguish_all_values(self, both: Both, kind):
        hashes = [both("c", kind, [value])[0].hash for value in VALUES[kind]]

        assert len(set(hashes)) == len(hashes)

    @pytest.mark.parametrize(
        ("kind", "zero"),
        [
            ("Int64", "0"),
            ("String", "''"),
            ("Float64", "0"),
            ("Decimal(38, 8)", "0"),
            ("Date", "'1970-01-01'"),
            ("DateTime64(6, 'UTC')", "'1970-01-01 00:00:00'"),
        ],
    )
    def test_distinguish_null_from_zero_and_from_no_row(self, both: Both, kind, zero):
        null, _ = both("c", f"Nullable({kind})", ["NULL"])
        zeros, _ = both("c", f"Nullable({kind})", [zero])

        assert null.hash not in (zeros.hash, NO_ROWS.hash)

    def test_have_the_same_hash_of_no_rows(self, both: Both):
        assert both("c", "Int64", []) == (NO_ROWS, NO_ROWS)

    def test_distinguish_two_equal_rows_from_one(self, both: Both):
        once, twice = both("c", "String", ["'a'"]), both("c", "String", ["'a'", "'a'"])

        assert once[0] == once[1]
        assert twice[0] == twice[1]
        assert twice[0].hash not in (0, once[0].hash)

    @pytest.mark.parametrize("kind", VALUES)
    def test_agree_that_a_missing_value_is_the_default_of_an_added_column(self, clickhouse: HotTier, kind):
        client, source = clickhouse.client, quote_table(unique_name("hashed"))
        client.command(f"CREATE TABLE {source} (id UInt8) ENGINE = MergeTree ORDER BY id")
        client.command(f"INSERT INTO {source} VALUES (1), (2)")
        client.command(f"ALTER TABLE {source} ADD COLUMN c {kind}")
        column = project_column(TABLE, SourceColumn("c", kind))
        (row,) = client.rows(f"SELECT toString({clickhouse_hash([column])}) AS hash FROM {source}")
        client.command(f"DROP TABLE {source}")

        query, parameters = default_numbers_query([column], {"c": kind})
        nulls = {"c": [int(number) for number in client.rows(query, parameters)[0]["offload_numbers"][0]]}

        assert arrow_hash([batch(c=pa.nulls(2))], [column], nulls) == RowHash(2, int(row["hash"]))
        assert arrow_hash([batch(id=[1, 2])], [column], nulls) == RowHash(2, int(row["hash"]))

    def test_detect_one_changed_digit(self, both: Both):
        before, _ = both("c", "Decimal(38, 8)", ["'1'", "'100.00000001'", "'2'"])
        after, _ = both("c", "Decimal(38, 8)", ["'1'", "'100.00000002'", "'2'"])

        assert before.rows == after.rows
        assert before.hash != after.hash

    def test_agree_on_the_name_of_a_column_that_needs_quotes(self, both: Both):
        hot, cold = both("toString(", "Nullable(Int64)", ["1", "NULL"])

        assert hot == cold


def batch(**columns: object) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def columns(**kinds: str) -> list[Column]:
    return [Column(name, f"`{name}`", kind, required=False) for name, kind in kinds.items()]


class TestTheHash:
    @given(
        st.lists(st.tuples(st.none() | st.text(max_size=5), st.integers(-(2**63), 2**63 - 1)), max_size=20),
        st.randoms(),
    )
    def test_the_order_and_the_batches_of_the_rows_do_not_matter(self, rows, random):
        kinds = columns(s="string", n="long")
        schema = pa.schema([("s", pa.string()), ("n", pa.int64())])

        def hash_of(rows: list[tuple[str | None, int]], size: int) -> RowHash:
            parts = [rows[at : at + size] for at in range(0, len(rows), size)]
            return arrow_hash(
                (
                    pa.RecordBatch.from_pydict({"s": [s for s, _ in part], "n": [n for _, n in part]}, schema)
                    for part in parts
                ),
                kinds,
            )

        shuffled = random.sample(rows, len(rows))

        assert hash_of(rows, 7) == hash_of(shuffled, 3)
        assert hash_of(rows, 7).rows == len(rows)

    @given(
        st.lists(st.text("ab|:N12", max_size=6), min_size=2, max_size=2),
        st.lists(st.text("ab|:N12", max_size=6), min_size=2, max_size=2),
    )
    def test_neighbouring_values_never_run_into_each_other(self, one, other):
        kinds = columns(a="string", b="string")

        same = arrow_hash([batch(a=[one[0]], b=[one[1]])], kinds) == arrow_hash(
            [batch(a=[other[0]], b=[other[1]])], kinds
        )

        assert same == (one == other)

    def test_a_value_in_another_column_is_another_row(self):
        kinds = columns(a="string", b="string")

        assert arrow_hash([batch(a=["x"], b=["y"])], kinds) != arrow_hash([batch(a=["y"], b=["x"])], kinds)

    def test_columns_are_found_by_name_in_any_order(self):
        kinds = columns(a="long", b="long")

        assert arrow_hash([batch(a=[1], b=[2])], kinds) == arrow_hash([batch(b=[2], a=[1])], kinds)

    def test_a_missing_column_is_null_in_every_row(self):
        kinds = columns(a="long", b="string")

        assert arrow_hash([batch(a=[1, 2])], kinds) == arrow_hash([batch(a=[1, 2], b=pa.nulls(2, pa.string()))], kinds)

    def test_null_can_stand_for_another_value_in_one_column_only(self):
        kinds = columns(a="long", b="long")

        found = arrow_hash([batch(a=pa.nulls(1, pa.int64()), b=pa.nulls(1, pa.int64()))], kinds, {"a": [0]})

        assert found == arrow_hash([batch(a=[0], b=pa.nulls(1, pa.int64()))], kinds)

    @pytest.mark.parametrize(
        ("narrow", "wide"), [("int", "long"), ("float", "double"), ("decimal(9, 4)", "decimal(18, 4)")]
    )
    def test_a_value_is_the_same_in_a_wider_type(self, narrow, wide):
        arrow = {"int": pa.int32(), "float": pa.float32(), "decimal(9, 4)": pa.decimal128(9, 4)}
        wider = {"long": pa.int64(), "double": pa.float64(), "decimal(18, 4)": pa.decimal128(18, 4)}
        values = pa.array([Decimal(-1), Decimal(3)] if "dec" in narrow else [-1, 3], arrow[narrow])
        kinds = columns(a=wide)

        assert arrow_hash([batch(a=values)], kinds) == arrow_hash([batch(a=values.cast(wider[wide]))], kinds)

    def test_a_slice_of_a_batch_counts_only_its_own_rows(self):
        kinds = columns(d="decimal(38, 8)")
        whole = pa.RecordBatch.from_arrays([pa.array([1, 2, 3]).cast(pa.decimal128(38, 8))], ["d"])

        assert arrow_hash([whole.slice(1, 1)], kinds) + arrow_hash(
            [whole.slice(0, 1), whole.slice(2)], kinds
        ) == arrow_hash([whole], kinds)

    def test_hashes_of_parts_add_up_to_that_of_the_whole(self):
        largest = RowHash(1, 2**64 - 1)

        assert largest + RowHash(2, 2) == RowHash(3, 1)
        assert largest + NO_ROWS == largest

    def test_the_hash_of_a_row_never_changes(self):
        """The number of a row is a contract: hashes of two versions of this software are compared with each other."""
        kinds = columns(s="string", n="long")

        assert arrow_hash([batch(s=["BTC", None], n=[1, -2])], kinds) == RowHash(2, 16_655_434_740_288_277_610)

    def test_it_is_shown_with_all_digits(self):
        assert str(RowHash(3, 255)) == "3 rows, 00000000000000ff"
