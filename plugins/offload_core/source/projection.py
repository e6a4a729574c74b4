"""The Iceberg type of each ClickHouse type, and the SELECT expression that carries its values over exactly.

A type that would lose something is refused with its column's name, unless the table's entry says how to convert it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from offload_core.config.tables import TableConfig
from offload_core.errors import FixColumn
from offload_core.source.quoting import quote_identifier, quote_text

_TYPE = re.compile(r"^(\w+)(?:\((.*)\))?$", re.DOTALL)

_UNCHANGED = {
    "Bool": "boolean",
    "Int8": "int",
    "Int16": "int",
    "Int32": "int",
    "Int64": "long",
    "UInt8": "int",
    "UInt16": "int",
    "UInt32": "long",
    "Float32": "float",
    "Float64": "double",
}
# Parquet has no unsigned or 8-bit type that all readers read alike: these become the next larger signed type.
_CASTS = {"Int8": "Int32", "Int16": "Int32", "UInt8": "Int32", "UInt16": "Int32", "UInt32": "Int64"}
_AS_TEXT = {"Enum8", "Enum16", "UUID", "IPv4", "IPv6"}
_SEQUENCES = {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_MAX_DECIMAL_DIGITS = 38
_MAX_TIME_DIGITS = 6


@dataclass(frozen=True)
class SourceColumn:
    """A column of the ClickHouse table, as in `system.columns`."""

    name: str
    type: str


@dataclass(frozen=True)
class Column:
    """A column of the projection.

    Attributes:
        name: its name on both sides.
        expression: the SELECT expression, without alias, identifiers quoted.
        iceberg_type: Iceberg's name of the type, such as `decimal(38, 8)`.
        required: True if it can't be NULL.
        field_id: the Iceberg column's id; None until the Iceberg table has been read. Comparisons ignore it.
    """

    name: str
    expression: str
    iceberg_type: str
    required: bool
    field_id: int | None = field(default=None, compare=False)

    @property
    def select_item(self) -> str:
        """The item for a SELECT list."""
        return f"{self.expression} AS {quote_identifier(self.name)}"


def project(table: TableConfig, columns: list[SourceColumn]) -> list[Column]:
    """The projection of a whole table, in the source's column order.

    Raises:
        FixColumn: a configured column is missing, or a column's type can't be carried over exactly.
    """
    names = {column.name for column in columns}
    configured = [table.timestamp_col, *table.keys, *filter(None, (table.sequence_col, table.closed_col))]
    missing = [name for name in (*configured, *table.allow_precision_loss, *table.as_text) if name not in names]
    if missing:
        raise FixColumn(
            f"{table.source} has no column {', '.join(map(repr, dict.fromkeys(missing)))}; "
            f"it has {', '.join(sorted(names))}.",
            f"Correct the entry of {table.name} in the Variable `iceberg_offload_tables`.",
        )
    _require_order(table, {column.name: column for column in columns})
    return [project_column(table, column) for column in columns]


def _require_order(table: TableConfig, columns: dict[str, SourceColumn]) -> None:
    """Require that the columns that select and identify rows compare exactly.

    A NULL or a lost digit would lose or repeat rows.
    """
    for option, name in (("timestamp_col", table.timestamp_col), ("closed_col", table.closed_col)):
        if name is not None:
            kind, arguments, nullable, _ = _unwrapped(columns[name].type)
            fine = kind == "DateTime" or (kind == "DateTime64" and int(arguments[0]) <= _MAX_TIME_DIGITS)
            if nullable or not fine or name in table.as_text:
                raise _unordered(
                    table, option, columns[name], f"DateTime or a DateTime64 of up to {_MAX_TIME_DIGITS} digits"
                )
    if table.sequence_col is not None:
        kind, _, nullable, _ = _unwrapped(columns[table.sequence_col].type)
        if nullable or kind not in _SEQUENCES or table.sequence_col in table.as_text:
            raise _unordered(table, "sequence_col", columns[table.sequence_col], "whole number of up to 64 bits")
    for name in table.keys:
        if _unwrapped(columns[name].type)[2]:
            raise _unordered(table, "key", columns[name], "column")


def _unordered(table: TableConfig, option: str, column: SourceColumn, wanted: str) -> FixColumn:
    return FixColumn(
        f"Column {column.name!r} of {table.source} can't be its {option}: it is {column.type}"
        f"{' carried as text' if column.name in table.as_text else ''}, and must be a {wanted} that is never NULL.",
        "Choose another column, or offload a view that converts it.",
    )


def project_column(table: TableConfig, column: SourceColumn) -> Column:
    """One column's projection. Raises FixColumn if its type can't be carried over exactly."""
    name, arguments, nullable, low_cardinality = _unwrapped(column.type)
    expression = quote_identifier(column.name)
    if low_cardinality and name != "String":
        kind = f"{name}({', '.join(arguments)})" if arguments else name
        expression = f"CAST({expression}, {quote_text(_maybe(kind, nullable))})"
    if column.name in table.as_text:
        return Column(column.name, _text(column.name, f"toString({expression})"), "string", required=not nullable)
    expression, iceberg_type = _carry(table, column, name, arguments, expression, nullable)
    return Column(column.name, expression, iceberg_type, required=not nullable)


def _unwrapped(kind: str) -> tuple[str, list[str], bool, bool]:
    """The innermost type's name and arguments, and whether it is wrapped in Nullable and in LowCardinality."""
    nullable = low_cardinality = False
    while True:
        name, arguments = _split(kind)
        if name == "LowCardinality":
            kind, low_cardinality = arguments[0], True
        elif name == "Nullable":
            kind, nullable = arguments[0], True
        elif name == "SimpleAggregateFunction":
            kind = arguments[1]
        else:
            return name, arguments, nullable, low_cardinality


def _carry(
    table: TableConfig, column: SourceColumn, name: str, arguments: list[str], expression: str, nullable: bool
) -> tuple[str, str]:
    if name in _UNCHANGED:
        cast = _CASTS.get(name)
        return (f"to{cast}({expression})" if cast else expression), _UNCHANGED[name]
    if name == "UInt64":
        return f"CAST({expression}, {quote_text(_maybe('Decimal(20, 0)', nullable))})", "decimal(20, 0)"
    if name.startswith("Decimal"):
        return _decimal(table, column, arguments, expression)
    if name in ("Date", "Date32"):
        return f"toDate32({expression})", "date"
    if name in ("DateTime", "DateTime64"):
        return _time(table, column, name, arguments, expression)
    if name == "String":
        return _text(column.name, expression), "string"
    if name == "FixedString":
        return expression, f"fixed[{int(arguments[0])}]"
    if name in _AS_TEXT:
        return f"toString({expression})", "string"
    raise _refused(table, column, "has no exact counterpart in Iceberg", "as_text")


def _decimal(table: TableConfig, column: SourceColumn, arguments: list[str], expression: str) -> tuple[str, str]:
    digits, scale = (int(argument) for argument in arguments)
    if digits > _MAX_DECIMAL_DIGITS:
        raise _refused(
            table, column, f"has more than the {_MAX_DECIMAL_DIGITS} digits of Iceberg's decimals", "as_text"
        )
    return expression, f"decimal({digits}, {scale})"


def _time(
    table: TableConfig, column: SourceColumn, name: str, arguments: list[str], expression: str
) -> tuple[str, str]:
    digits = int(arguments[0]) if name == "DateTime64" else 0
    if digits > _MAX_TIME_DIGITS and column.name not in table.allow_precision_loss:
        raise _refused(table, column, "is finer than Iceberg's microseconds", "allow_precision_loss")
    return f"toDateTime64({expression}, {_MAX_TIME_DIGITS}, 'UTC')", "timestamptz"


def _text(name: str, expression: str) -> str:
    # ClickHouse's strings are bytes, Iceberg's are UTF-8: bytes that are not UTF-8 must not arrive as something else.
    message = quote_text(f"{INVALID_TEXT} {name}")
    return f"if(throwIf(ifNull(NOT isValidUTF8({expression}), 0), {message}) = 0, {expression}, '')"


INVALID_TEXT = "column holds bytes that are not UTF-8:"
"""The text of ClickHouse's error for a text column that cannot be carried over; the column's name follows."""


def _refused(table: TableConfig, column: SourceColumn, reason: str, option: str) -> FixColumn:
    return FixColumn(
        f"Column {column.name!r} of {table.source} can't be offloaded exactly: {column.type} {reason}.",
        f"Name it in `{option}` of the table's entry to convert it that way, or leave it out with a view.",
    )


def _split(kind: str) -> tuple[str, list[str]]:
    """The name and the arguments of a type such as `Decimal(38, 8)`; arguments may be types themselves."""
    match = _TYPE.match(kind.strip())
    if match is None:
        return kind, []
    arguments, depth, current, quoted = [], 0, "", False
    for character in match.group(2) or "":
        quoted ^= character == "'"
        depth += 0 if quoted else (character == "(") - (character == ")")
        if character == "," and depth == 0 and not quoted:
            arguments.append(current.strip())
            current = ""
        else:
            current += character
    return match.group(1), [*arguments, current.strip()] if current.strip() else arguments


def _maybe(kind: str, nullable: bool) -> str:
    return f"Nullable({kind})" if nullable else kind
