"""How an Iceberg table follows its ClickHouse table when columns change there. Pure functions.

| in ClickHouse | `evolve` | `freeze` |
|---|---|---|
| a column is added | added to Iceberg, NULL in the rows before it | error |
| a type is widened as Iceberg allows it (int to long, float to double, a decimal to more digits) | widened | error |
| a column becomes Nullable | optional in Iceberg | error |
| a column is no longer Nullable, or columns change places | nothing: columns are matched by name | nothing |
| a column is renamed or dropped, or gets any other type | error | error |

An error names the column. `offload init` is the operator's decision: it applies the rules of `evolve` whatever the
contract.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offload_core.config.tables import SchemaContract, TableConfig
from offload_core.errors import FixColumn
from offload_core.source.projection import Column

NAME_MAPPING = "schema.name-mapping.default"
"""The table property that maps names to field ids, for files without ids: older ones of ours, and those of others."""

_PROMOTIONS = {("int", "long"), ("float", "double")}
_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")


@dataclass(frozen=True)
class IcebergField:
    """A column of the Iceberg table.

    Attributes:
        name: its name now.
        type: Iceberg's name of the type, such as `decimal(38, 8)`.
        required: True if it can't be NULL.
        identifier: True if it is one of the table's identifier fields.
    """

    name: str
    type: str
    required: bool
    identifier: bool = False


@dataclass(frozen=True)
class AddColumn:
    """Add an optional column: the rows before it have no value."""

    name: str
    type: str

    def __str__(self) -> str:
        return f"Column {self.name} added as {self.type}"


@dataclass(frozen=True)
class WidenColumn:
    """Give a column a wider type; existing files keep theirs, and readers convert."""

    name: str
    before: str
    type: str

    def __str__(self) -> str:
        return f"Column {self.name} widened from {self.before} to {self.type}"


@dataclass(frozen=True)
class MakeOptional:
    """Let a column be NULL."""

    name: str

    def __str__(self) -> str:
        return f"Column {self.name} made optional"


Change = AddColumn | WidenColumn | MakeOptional


@dataclass(frozen=True)
class _Refusal:
    problem: str
    remedy: str


def plan_changes(
    table: TableConfig,
    columns: Sequence[Column],
    fields: Sequence[IcebergField],
    contract: SchemaContract,
    retired: Collection[str] = (),
) -> list[Change]:
    """The changes that the Iceberg table needs to hold the projection's rows; an empty list if it needs none.

    Args:
        table: the table's entry, for its names.
        columns: the projection, in any order.
        fields: the Iceberg table's columns now.
        contract: whether it may be changed.
        retired: names that columns had before they were renamed or dropped in Iceberg; older data files still use them.

    Raises:
        FixColumn: some changes are impossible, or the contract forbids them; the message names every such column.
    """
    cold = {field.name: field for field in fields}
    changes: list[Change] = []
    refused = _dropped(table, columns, cold)
    for column in columns:
        field = cold.get(column.name)
        problem = _not_addable(table, column, cold, retired) if field is None else _not_followable(table, column, field)
        if problem is not None:
            refused.append(problem)
        elif field is None:
            changes.append(AddColumn(column.name, column.iceberg_type))
        else:
            changes += _changes(column, field)
    if not refused and changes and contract is SchemaContract.FREEZE:
        refused = [_frozen(table, changes)]
    if refused:
        problems = " ".join(refusal.problem for refusal in refused)
        raise FixColumn(problems, " ".join(dict.fromkeys(refusal.remedy for refusal in refused)))
    return changes


def complete_name_mapping(text: str | None, fields: Mapping[str, int]) -> str | None:
    """The name mapping with every column in it, or None if nothing is missing.

    A column that is not in it would read as NULL from every file without field ids. Earlier names of a column stay.

    Args:
        text: the table's property `NAME_MAPPING`, None if it has none.
        fields: the columns' field ids by their names.
    """
    entries: list[dict[str, Any]] = json.loads(text) if text else []
    known = {name: entry.get("field-id") for entry in entries for name in entry["names"]}
    wrong = {name for name, number in fields.items() if known.get(name) != number}
    if not wrong:
        return None
    kept = [{**entry, "names": [name for name in entry["names"] if name not in wrong]} for entry in entries]
    by_id = {entry.get("field-id"): entry for entry in kept}
    for name in sorted(wrong):
        by_id.setdefault(fields[name], {"field-id": fields[name], "names": []})["names"].append(name)
    return json.dumps([entry for entry in by_id.values() if entry["names"]])


def mapped_names(text: str | None) -> set[str]:
    """Every name in a name mapping, including those that no column has any more."""
    return {name for entry in (json.loads(text) if text else []) for name in entry["names"]}


def _changes(column: Column, field: IcebergField) -> list[Change]:
    changes: list[Change] = []
    if field.type != column.iceberg_type:
        changes.append(WidenColumn(column.name, field.type, column.iceberg_type))
    if field.required and not column.required:
        changes.append(MakeOptional(column.name))
    return changes


def _not_addable(
    table: TableConfig, column: Column, cold: Mapping[str, IcebergField], retired: Collection[str]
) -> _Refusal | None:
    if column.name in retired:
        # Files without field ids are read by name: their values under this name would become the new column's.
        return _Refusal(
            f"Column {column.name!r} of {table.source} can't be added to Iceberg's {table.target}: a column of that "
            "name was "
            "dropped or renamed there, and the old values in its files would come back as the new column's.",
            "Give the column another name in ClickHouse, or offload a view that does.",
        )
    alike = next((name for name in cold if name.casefold() == column.name.casefold()), None)
    if alike is not None:
        return _Refusal(
            f"Column {column.name!r} of {table.source} can't be added to Iceberg's {table.target}: it differs from "
            f"{alike!r} "
            "only in case, which Spark ignores.",
            "Give the column another name in ClickHouse, or offload a view that does.",
        )
    return None


def _not_followable(table: TableConfig, column: Column, field: IcebergField) -> _Refusal | None:
    if field.type != column.iceberg_type and not _is_promotion(field.type, column.iceberg_type):
        return _Refusal(
            f"Column {column.name!r} is {field.type} in Iceberg's {table.target}, but ClickHouse's type needs "
            f"{column.iceberg_type}, and Iceberg can't change the one into the other.",
            f"Change the column back in ClickHouse, or offload a view that converts it to {field.type}.",
        )
    if field.required and not column.required and field.identifier:
        return _Refusal(
            f"Column {column.name!r} of {table.source} may be NULL now, but it identifies the rows of Iceberg's "
            f"{table.target}.",
            f"Change it back in ClickHouse, or run `ALTER TABLE … DROP IDENTIFIER FIELDS {column.name}` on the Iceberg "
            "table.",
        )
    return None


def _is_promotion(before: str, after: str) -> bool:
    """Whether Iceberg can read files of the type `before` as the type `after`."""
    narrow, wide = _DECIMAL.fullmatch(before), _DECIMAL.fullmatch(after)
    if narrow and wide:
        return narrow[2] == wide[2] and int(narrow[1]) < int(wide[1])
    return (before, after) in _PROMOTIONS


def _dropped(table: TableConfig, columns: Sequence[Column], cold: Mapping[str, IcebergField]) -> list[_Refusal]:
    """A refusal for each column that only Iceberg has; it mentions if the column looks renamed."""
    names = {column.name for column in columns}
    added = [column for column in columns if column.name not in cold]
    gone = [field for name, field in cold.items() if name not in names]
    refused = []
    for field in gone:
        problem = f"Column {field.name!r} of Iceberg's {table.target} is gone from {table.source}."
        same = [column.name for column in added if column.iceberg_type == field.type]
        if len(same) == 1 and [other.type for other in gone].count(field.type) == 1:
            refused.append(
                _Refusal(
                    f"{problem} It looks as if it was renamed to {same[0]!r}.",
                    f"If so, rename it in Iceberg, too (`ALTER TABLE … RENAME COLUMN {field.name} TO {same[0]}`), "
                    "which keeps "
                    "its values; if not, add the old column again in ClickHouse.",
                )
            )
        else:
            refused.append(
                _Refusal(
                    problem,
                    "Add it again in ClickHouse (as a Nullable column that stays empty, to keep Iceberg's past "
                    "values), or "
                    f"drop it in Iceberg (`ALTER TABLE … DROP COLUMN {field.name}`).",
                )
            )
    return refused


def _frozen(table: TableConfig, changes: Sequence[Change]) -> _Refusal:
    wanted = "; ".join(map(str, changes))
    return _Refusal(
        f"The columns of {table.source} have changed, and the contract of {table.target} is `freeze`. Needed: "
        f"{wanted}.",
        "Run `offload init` to let Iceberg follow this once, or set `schema_contract` of the table's entry to "
        "`evolve`.",
    )
