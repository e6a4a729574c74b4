"""Which type each ClickHouse type becomes, and which columns are refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.tables import TableConfig
from offload_core.errors import FixColumn
from offload_core.source.projection import SourceColumn, project, project_column

TABLE = TableConfig(source="trades", target="cold.trades", layer="bronze", timestamp_col="at", sequence_col="n")
ROW = [SourceColumn("at", "DateTime64(6, 'UTC')"), SourceColumn("n", "UInt64")]
UTF8 = "if(throwIf(ifNull(NOT isValidUTF8({0}), 0), 'column holds bytes that are not UTF-8: c') = 0, {0}, '')"

TYPES = {
    "Bool": ("`c`", "boolean"),
    "Int8": ("toInt32(`c`)", "int"),
    "Int16": ("toInt32(`c`)", "int"),
    "Int32": ("`c`", "int"),
    "Int64": ("`c`", "long"),
    "UInt8": ("toInt32(`c`)", "int"),
    "UInt16": ("toInt32(`c`)", "int"),
    "UInt32": ("toInt64(`c`)", "long"),
    "UInt64": ("CAST(`c`, 'Decimal(20, 0)')", "decimal(20, 0)"),
    "Float32": ("`c`", "float"),
    "Float64": ("`c`", "double"),
    "Decimal(9, 4)": ("`c`", "decimal(9, 4)"),
    "Decimal(38, 8)": ("`c`", "decimal(38, 8)"),
    "Date": ("toDate32(`c`)", "date"),
    "Date32": ("toDate32(`c`)", "date"),
    "DateTime": ("toDateTime64(`c`, 6, 'UTC')", "timestamptz"),
    "DateTime('Asia/Tokyo')": ("toDateTime64(`c`, 6, 'UTC')", "timestamptz"),
    "DateTime64(3)": ("toDateTime64(`c`, 6, 'UTC')", "timestamptz"),
    "DateTime64(6, 'UTC')": ("toDateTime64(`c`, 6, 'UTC')", "timestamptz"),
    "String": (UTF8.format("`c`"), "string"),
    "FixedString(16)": ("`c`", "fixed[16]"),
    "Enum8('buy' = 1, 'sell' = 2)": ("toString(`c`)", "string"),
    "Enum16('it\\'s, (odd' = -300)": ("toString(`c`)", "string"),
    "UUID": ("toString(`c`)", "string"),
    "IPv4": ("toString(`c`)", "string"),
    "IPv6": ("toString(`c`)", "string"),
}
REFUSED = [
    "Int128",
    "Int256",
    "UInt128",
    "UInt256",
    "BFloat16",
    "Array(String)",
    "Array(Nullable(Int32))",
    "Map(String, UInt64)",
    "Tuple(a Int32, b String)",
    "Nested(a Int32)",
    "JSON",
    "Variant(Int32, String)",
    "Dynamic",
    "Point",
    "Time",
    "Time64(3)",
    "IntervalDay",
    "Nothing",
    "AggregateFunction(argMin, Decimal(38, 8), Int128)",
    "SomethingNew",
    "",
]


def projected(kind: str, **options: object):
    return project_column(TABLE.model_copy(update=options), SourceColumn("c", kind))


@pytest.mark.parametrize(("kind", "expected"), TYPES.items())
class TestEveryTypeThatFits:
    def test_is_carried_exactly(self, kind, expected):
        column = projected(kind)

        assert (column.expression, column.iceberg_type) == expected
        assert column.required

    def test_may_be_null_if_it_may_in_clickhouse(self, kind, expected):
        column = projected(f"Nullable({kind})")

        assert column.iceberg_type == expected[1]
        assert not column.required

    def test_is_the_same_as_the_result_of_a_simple_aggregate(self, kind, expected):
        for function in ("max", "groupArrayLast(5)", "quantiles(0.5, 0.9)"):
            column = projected(f"SimpleAggregateFunction({function}, {kind})")

            assert (column.expression, column.iceberg_type) == expected


class TestWrappers:
    @pytest.mark.parametrize("kind", ["LowCardinality(String)", "SimpleAggregateFunction(any, LowCardinality(String))"])
    def test_a_dictionary_of_text_needs_no_cast(self, kind):
        assert projected(kind).expression == UTF8.format("`c`")
        assert projected(kind).required

    def test_a_dictionary_of_nullable_text_may_be_null(self):
        assert not projected("LowCardinality(Nullable(String))").required

    @pytest.mark.parametrize(
        ("kind", "expression", "iceberg_type"),
        [
            ("UInt32", "toInt64(CAST(`c`, '{}'))", "long"),
            ("Date", "toDate32(CAST(`c`, '{}'))", "date"),
            ("DateTime('UTC')", "toDateTime64(CAST(`c`, '{}'), 6, 'UTC')", "timestamptz"),
            ("FixedString(3)", "CAST(`c`, '{}')", "fixed[3]"),
            ("UUID", "toString(CAST(`c`, '{}'))", "string"),
        ],
    )
    def test_any_other_dictionary_is_opened_first(self, kind, expression, iceberg_type):
        quoted = kind.replace("'", "\\'")
        plain, nullable = projected(f"LowCardinality({kind})"), projected(f"LowCardinality(Nullable({kind}))")

        assert (plain.expression, plain.iceberg_type) == (expression.format(quoted), iceberg_type)
        assert (nullable.expression, nullable.required) == (expression.format(f"Nullable({quoted})"), False)

    def test_a_nullable_uint64_stays_nullable_through_its_cast(self):
        assert projected("Nullable(UInt64)").expression == "CAST(`c`, 'Nullable(Decimal(20, 0))')"


class TestWhatDoesNotFit:
    @pytest.mark.parametrize("kind", REFUSED)
    def test_it_is_refused_with_column_type_and_way_out(self, kind):
        with pytest.raises(FixColumn) as caught:
            projected(kind)

        assert caught.value.problem == (
            f"Column 'c' of trades can't be offloaded exactly: {kind} has no exact counterpart in Iceberg."
        )
        assert "`as_text`" in caught.value.remedy

    @pytest.mark.parametrize("kind", [kind for kind in REFUSED if kind])
    def test_it_is_carried_as_text_once_the_entry_says_so(self, kind):
        column = projected(kind, as_text=("c",))

        assert (column.expression, column.iceberg_type) == (UTF8.format("toString(`c`)"), "string")

    @pytest.mark.parametrize("kind", ["Decimal(39, 0)", "Decimal(76, 20)", "Nullable(Decimal(76, 0))"])
    def test_a_decimal_of_more_than_38_digits_is_refused(self, kind):
        with pytest.raises(FixColumn, match=r"'c' of trades .* has more than the 38 digits of Iceberg's decimals"):
            projected(kind)

    @pytest.mark.parametrize("digits", [7, 9])
    def test_time_finer_than_microseconds_is_refused_unless_the_entry_lets_it_go(self, digits):
        kind = f"DateTime64({digits}, 'UTC')"
        with pytest.raises(FixColumn, match=r"'c' of trades .* is finer than Iceberg's microseconds") as caught:
            projected(kind)

        assert "`allow_precision_loss`" in caught.value.remedy
        assert projected(kind, allow_precision_loss=("c",)).iceberg_type == "timestamptz"

    def test_what_may_be_null_may_be_null_as_text(self):
        assert projected("Int256", as_text=("c",)).required
        assert not projected("Nullable(Int256)", as_text=("c",)).required

    def test_text_stays_checked_when_it_is_carried_as_text(self):
        assert "isValidUTF8" in projected("String", as_text=("c",)).expression


class TestTheWholeTable:
    def test_columns_keep_their_order_and_names(self):
        columns = project(TABLE, [SourceColumn("z", "Int64"), *ROW, SourceColumn("a", "Bool")])

        assert [column.name for column in columns] == ["z", "at", "n", "a"]
        assert columns[0].select_item == "`z` AS `z`"

    def test_one_column_that_does_not_fit_refuses_the_table(self):
        with pytest.raises(FixColumn, match="'bad'"):
            project(TABLE, [*ROW, SourceColumn("bad", "Int256")])

    @pytest.mark.parametrize(
        "change",
        [
            {"timestamp_col": "gone"},
            {"sequence_col": "gone"},
            {"keys": ("n", "gone")},
            {"closed_col": "gone"},
            {"as_text": ("gone",)},
            {"allow_precision_loss": ("gone",)},
        ],
    )
    def test_a_configured_column_that_is_missing_is_named_beside_those_that_exist(self, change):
        with pytest.raises(FixColumn, match="trades has no column 'gone'; it has at, n") as caught:
            project(TABLE.model_copy(update=change), ROW)

        assert "entry of trades" in caught.value.remedy

    @pytest.mark.parametrize("kind", ["DateTime", "DateTime('Asia/Tokyo')", "DateTime64(0)", "DateTime64(6, 'UTC')"])
    @pytest.mark.parametrize("wrapper", ["{}", "LowCardinality({})", "SimpleAggregateFunction(max, {})"])
    def test_rows_can_be_ordered_by_any_time_that_fits(self, kind, wrapper):
        columns = [SourceColumn("at", wrapper.format(kind)), SourceColumn("closes", wrapper.format(kind))]
        table = TABLE.model_copy(update={"sequence_col": None, "closed_col": "closes"})

        assert [column.iceberg_type for column in project(table, columns)] == ["timestamptz", "timestamptz"]

    @pytest.mark.parametrize("option", ["timestamp_col", "closed_col"])
    @pytest.mark.parametrize(
        "kind", ["Nullable(DateTime)", "DateTime64(9, 'UTC')", "Date", "UInt64", "String", "LowCardinality(String)"]
    )
    def test_rows_are_not_ordered_by_what_would_lose_or_repeat_some(self, option, kind):
        table = TABLE.model_copy(update={option: "when", "allow_precision_loss": ("when",)})

        with pytest.raises(FixColumn) as caught:
            project(table, [*ROW, SourceColumn("when", kind)])

        assert f"Column 'when' of trades can't be its {option}: it is {kind}, and must be" in caught.value.problem

    @pytest.mark.parametrize("kind", ["Int8", "Int64", "UInt16", "UInt64", "SimpleAggregateFunction(max, UInt64)"])
    def test_a_sequence_is_a_whole_number(self, kind):
        assert project(TABLE, [ROW[0], SourceColumn("n", kind)])

    @pytest.mark.parametrize("kind", ["Nullable(UInt64)", "Int128", "UInt256", "Float64", "String", "Decimal(20, 0)"])
    def test_nothing_else_is_a_sequence(self, kind):
        with pytest.raises(FixColumn, match="'n' of trades can't be its sequence_col"):
            project(TABLE, [ROW[0], SourceColumn("n", kind)])

    @pytest.mark.parametrize("name", ["at", "n"])
    def test_what_orders_the_rows_is_not_carried_as_text(self, name):
        with pytest.raises(FixColumn, match=f"'{name}' of trades .* carried as text, and must be"):
            project(TABLE.model_copy(update={"as_text": (name,)}), ROW)

    def test_a_key_is_never_null(self):
        table = TABLE.model_copy(update={"keys": ("id",)})

        with pytest.raises(
            FixColumn, match=r"'id' of trades can't be its key: it is LowCardinality\(Nullable\(String\)\)"
        ):
            project(table, [*ROW, SourceColumn("id", "LowCardinality(Nullable(String))")])

    @given(st.text(min_size=1, max_size=20))
    def test_every_column_name_is_quoted(self, name):
        column = project_column(TABLE, SourceColumn(name, "Int64"))

        inside = column.expression[1:-1]
        assert column.expression[0] == column.expression[-1] == "`"
        assert "`" not in inside.replace("\\\\", "").replace("\\`", "")
        assert inside.replace("\\`", "`").replace("\\\\", "\\") == name
