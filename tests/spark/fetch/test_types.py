"""Every ClickHouse type arrives exactly, or its column is refused by name. Three engines read the rows."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal

import pytest

from offload_core.config.tables import TableConfig
from offload_core.source.projection import project
from offload_core.source.table import describe
from offload_ops.tiers.cold_table import open_cold_table
from offload_ops.tiers.row_hash import RowHash, clickhouse_hash
from tests.support.spark.spark_reader import as_spark_text, spark_rows
from tests.support.spark.world import World

TABLE = TableConfig.model_validate(
    {
        "source": "every_type",
        "target": "cold.every_type",
        "layer": "bronze",
        "timestamp_col": "at",
        "sequence_col": "number",
        "keys": ["number"],
        "allow_precision_loss": ["nanoseconds"],
        "as_text": ["int128", "uint256", "decimal76", "numbers"],
    }
)
AT = "2026-11-01 12:00:00.000001"

# Column, ClickHouse type, and for each of three rows: the value in ClickHouse's SQL, and as readers must see it.
COLUMNS: dict[str, tuple[str, tuple[tuple[str, object], ...]]] = {
    "boolean": ("Bool", (("true", True), ("false", False), ("true", True))),
    "int8": ("Int8", (("-128", -128), ("127", 127), ("0", 0))),
    "int16": ("Int16", (("-32768", -32768), ("32767", 32767), ("0", 0))),
    "int32": ("Int32", (("-2147483648", -(2**31)), ("2147483647", 2**31 - 1), ("0", 0))),
    "int64": ("Int64", (("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1), ("0", 0))),
    "uint8": ("UInt8", (("0", 0), ("255", 255), ("1", 1))),
    "uint16": ("UInt16", (("0", 0), ("65535", 65535), ("1", 1))),
    "uint32": ("UInt32", (("0", 0), ("4294967295", 2**32 - 1), ("1", 1))),
    "uint64": ("UInt64", (("0", Decimal(0)), ("18446744073709551615", Decimal(2**64 - 1)), ("1", Decimal(1)))),
    "float32": ("Float32", (("-0.5", -0.5), ("inf", float("inf")), ("1.5", 1.5))),
    "float64": (
        "Float64",
        (("5e-324", 5e-324), ("-inf", float("-inf")), ("1.7976931348623157e308", 1.7976931348623157e308)),
    ),
    "decimal9": (
        "Decimal(9, 4)",
        (("'-99999.9999'", Decimal("-99999.9999")), ("'99999.9999'", Decimal("99999.9999")), ("0", Decimal("0.0000"))),
    ),
    "decimal18": (
        "Decimal(18, 8)",
        (
            ("'-0.00000001'", Decimal("-0.00000001")),
            ("'9999999999.99999999'", Decimal("9999999999.99999999")),
            ("1", Decimal("1.00000000")),
        ),
    ),
    "decimal38": (
        "Decimal(38, 8)",
        (
            ("'-999999999999999999999999999999.99999999'", Decimal("-999999999999999999999999999999.99999999")),
            ("'999999999999999999999999999999.99999999'", Decimal("999999999999999999999999999999.99999999")),
            ("'0.00000001'", Decimal("0.00000001")),
        ),
    ),
    "decimal76": (
        "Decimal(76, 20)",
        (("'1.5'", "1.5"), ("'-0.00000000000000000001'", "-0.00000000000000000001"), ("'0'", "0")),
    ),
    "int128": ("Int128", (("'-170141183460469231731687303715884105728'", str(-(2**127))), ("'1'", "1"), ("'0'", "0"))),
    "uint256": ("UInt256", ((f"'{2**256 - 1}'", str(2**256 - 1)), ("'1'", "1"), ("'0'", "0"))),
    "day": (
        "Date",
        (("'1970-01-01'", date(1970, 1, 1)), ("'2149-06-06'", date(2149, 6, 6)), ("'2026-11-01'", date(2026, 11, 1))),
    ),
    "day32": (
        "Date32",
        (
            ("'1900-01-01'", date(1900, 1, 1)),
            ("'2299-12-31'", date(2299, 12, 31)),
            ("'1969-12-31'", date(1969, 12, 31)),
        ),
    ),
    "second": (
        "DateTime('America/New_York')",
        (
            ("toDateTime('2026-11-01 05:30:00', 'UTC')", datetime(2026, 11, 1, 5, 30, tzinfo=timezone.utc)),
            ("toDateTime('2026-11-01 06:30:00', 'UTC')", datetime(2026, 11, 1, 6, 30, tzinfo=timezone.utc)),
            ("toDateTime('2106-02-07 06:28:15', 'UTC')", datetime(2106, 2, 7, 6, 28, 15, tzinfo=timezone.utc)),
        ),
    ),
    "millisecond": (
        "DateTime64(3, 'Asia/Kolkata')",
        (
            (
                "toDateTime64('1969-12-31 23:59:59.999', 3, 'UTC')",
                datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc),
            ),
            (
                "toDateTime64('2026-03-29 01:30:00.001', 3, 'UTC')",
                datetime(2026, 3, 29, 1, 30, 0, 1000, tzinfo=timezone.utc),
            ),
            ("toDateTime64('1900-01-01 00:00:00.000', 3, 'UTC')", datetime(1900, 1, 1, tzinfo=timezone.utc)),
        ),
    ),
    "nanoseconds": (
        "DateTime64(9, 'UTC')",
        (
            (
                "toDateTime64('2026-11-01 00:00:00.123456789', 9, 'UTC')",
                datetime(2026, 11, 1, 0, 0, 0, 123456, tzinfo=timezone.utc),
            ),
            ("toDateTime64('1970-01-01 00:00:00.000000000', 9, 'UTC')", datetime(1970, 1, 1, tzinfo=timezone.utc)),
            (
                "toDateTime64('2026-11-01 00:00:00.999999999', 9, 'UTC')",
                datetime(2026, 11, 1, 0, 0, 0, 999999, tzinfo=timezone.utc),
            ),
        ),
    ),
    "words": ("String", (("''", ""), ("'naïve ✓ 💹'", "naïve ✓ 💹"), ("'a|b\\n\"'", 'a|b\n"'))),
    "low": ("LowCardinality(String)", (("'x'", "x"), ("'y'", "y"), ("''", ""))),
    "low_null": ("LowCardinality(Nullable(String))", (("NULL", None), ("'y'", "y"), ("''", ""))),
    "fixed": ("FixedString(3)", (("'abc'", b"abc"), ("'a'", b"a\0\0"), ("unhex('ff00fe')", b"\xff\x00\xfe"))),
    "enum8": ("Enum8('buy' = -128, 'sell' = 2)", (("'buy'", "buy"), ("'sell'", "sell"), ("'buy'", "buy"))),
    "enum16": ("Nullable(Enum16('it''s' = 1000))", (("'it\\'s'", "it's"), ("NULL", None), ("'it\\'s'", "it's"))),
    "uuid": ("UUID", (("'61f0c404-5cb3-11e7-907b-a6006ad3dba0'", "61f0c404-5cb3-11e7-907b-a6006ad3dba0"),) * 3),
    "ipv4": ("IPv4", (("'255.255.255.255'", "255.255.255.255"), ("'1.0.0.1'", "1.0.0.1"), ("'10.0.0.1'", "10.0.0.1"))),
    "ipv6": ("IPv6", (("'2001:db8::1'", "2001:db8::1"), ("'::'", "::"), ("'::ffff:10.0.0.1'", "::ffff:10.0.0.1"))),
    "numbers": ("Array(UInt8)", (("[1, 2]", "[1,2]"), ("[]", "[]"), ("[255]", "[255]"))),
    "nullable_int": ("Nullable(Int64)", (("NULL", None), ("-1", -1), ("0", 0))),
    "nullable_uint64": (
        "Nullable(UInt64)",
        (("NULL", None), ("18446744073709551615", Decimal(2**64 - 1)), ("0", Decimal(0))),
    ),
    "nullable_decimal": (
        "Nullable(Decimal(38, 8))",
        (("NULL", None), ("'-0.00000001'", Decimal("-0.00000001")), ("'0'", Decimal("0.00000000"))),
    ),
    "nullable_time": (
        "Nullable(DateTime64(6, 'UTC'))",
        (("NULL", None), (f"'{AT}'", datetime(2026, 11, 1, 12, 0, 0, 1, tzinfo=timezone.utc)), ("NULL", None)),
    ),
    "nullable_float": ("Nullable(Float64)", (("NULL", None), ("0.1", 0.1), ("1e300", 1e300))),
    "nullable_bool": ("Nullable(Bool)", (("NULL", None), ("true", True), ("false", False))),
    "simple_sum": ("SimpleAggregateFunction(sum, UInt64)", (("1", Decimal(1)), ("2", Decimal(2)), ("3", Decimal(3)))),
}


def expected() -> list[dict[str, object]]:
    """The rows that every reader of Iceberg must see, in order of `number`."""
    moment = datetime(2026, 11, 1, 12, 0, 0, 1, tzinfo=timezone.utc)
    return [
        {"number": Decimal(row), "at": moment, **{name: values[row][1] for name, (_, values) in COLUMNS.items()}}
        for row in range(3)
    ]


@pytest.fixture
def filled(world: World) -> World:
    """A world with a table of all types, offloaded by a JVM in a time zone far from UTC."""
    columns = ", ".join(f"`{name}` {kind}" for name, (kind, _) in COLUMNS.items())
    world.hot.command(
        f"CREATE TABLE every_type (number UInt64, at DateTime64(6, 'Pacific/Auckland'), {columns}, "
        "computed UInt8 ALIAS 1) ENGINE = MergeTree ORDER BY number"
    )
    for row in range(3):
        values = ", ".join(values[row][0] for _, values in COLUMNS.values())
        world.hot.command(f"INSERT INTO every_type SELECT {row}, toDateTime64('{AT}', 6, 'UTC'), {values}")
    world.init(TABLE)
    world.run_well(TABLE, java_options="-Duser.timezone=America/St_Johns", environ={"TZ": "Asia/Kathmandu"})
    return world


def test_pyiceberg_reads_every_value_as_it_was(filled: World) -> None:
    table = open_cold_table(filled.connections.iceberg, TABLE.target)
    rows = table.scan().to_arrow().sort_by("number").to_pylist()
    assert rows == expected()
    assert table.scan(row_filter="at > '2026-11-01T12:00:00.000001+00:00'").to_arrow().num_rows == 0
    assert table.scan(row_filter="at >= '2026-11-01T12:00:00.000001+00:00'").to_arrow().num_rows == 3


def test_spark_reads_every_value_as_it_was(filled: World) -> None:
    found = spark_rows(filled, TABLE.target, f"at >= TIMESTAMP '{AT}+00:00'")
    assert sorted(found, key=lambda row: str(row["number"])) == [
        {name: as_spark_text(value) for name, value in row.items()} for row in expected()
    ]
    assert spark_rows(filled, TABLE.target, f"at > TIMESTAMP '{AT}+00:00'") == []


def test_clickhouse_reads_every_value_as_it_was(filled: World) -> None:
    columns = project(TABLE, describe(filled.hot, TABLE, filled.connections.clickhouse.database).columns)
    hashed = filled.hot.rows(f"SELECT count() AS rows, toString({clickhouse_hash(columns)}) AS hash FROM every_type")[0]
    assert filled.compare(TABLE).cold == RowHash(int(hashed["rows"]), int(hashed["hash"]))
    location = filled.warehouse / "cold" / "every_type"
    found = filled.hot.rows(
        f"SELECT count() AS rows, toString(sum(decimal38)) AS total, toString(min(millisecond)) AS oldest "
        f"FROM icebergLocal('{location}', 'Parquet') WHERE at >= toDateTime64('{AT}', 6, 'UTC')"
    )[0]
    assert found == {"rows": "3", "total": "0.00000001", "oldest": "1900-01-01 00:00:00.000000"}


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("Array(Int32)", "as_text"),
        ("Map(String, Int32)", "as_text"),
        ("Tuple(a Int32, b String)", "as_text"),
        ("Int256", "as_text"),
        ("Decimal(76, 10)", "as_text"),
        ("DateTime64(9, 'UTC')", "allow_precision_loss"),
        ("AggregateFunction(sum, UInt64)", "as_text"),
    ],
)
def test_a_type_that_iceberg_can_not_hold_is_refused_with_its_columns_name(
    world: World, kind: str, remedy: str
) -> None:
    world.hot.command(
        f"CREATE TABLE odd (id UInt64, at DateTime('UTC'), `the column` {kind}) ENGINE = MergeTree ORDER BY id"
    )
    odd = TableConfig.model_validate(
        {
            "source": "odd",
            "target": "cold.odd",
            "layer": "bronze",
            "timestamp_col": "at",
            "sequence_col": "id",
            "keys": ["id"],
        }
    )
    message = world.offload("init", environ={"OFFLOAD_TABLES": f"[{odd.model_dump_json()}]"}, status=2)
    assert "'the column'" in message
    assert remedy in message


def test_text_that_is_not_utf8_is_refused_with_its_columns_name(world: World) -> None:
    world.hot.command("CREATE TABLE odd (id UInt64, at DateTime('UTC'), words String) ENGINE = MergeTree ORDER BY id")
    world.hot.command(
        "INSERT INTO odd SELECT number, '2026-11-01 00:00:00', if(number = 7, unhex('ff'), 'fine') FROM numbers(100)"
    )
    odd = TableConfig.model_validate(
        {
            "source": "odd",
            "target": "cold.odd",
            "layer": "bronze",
            "timestamp_col": "at",
            "sequence_col": "id",
            "keys": ["id"],
        }
    )
    world.init(odd)
    result = world.run(odd)
    assert result.status == 20
    assert result.error["kind"] == "column"
    assert "'words'" in str(result.error["message"])
    assert world.history(odd)[0].kind == "failure"
    assert list((world.warehouse).rglob("*.parquet*")) == []
