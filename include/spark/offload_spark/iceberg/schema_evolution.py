"""Lets an Iceberg table follow its ClickHouse table's columns; `offload_core.source.schema_drift` has the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from offload_core.config.tables import SchemaContract
from offload_core.source.projection import Column
from offload_core.source.schema_drift import (
    NAME_MAPPING,
    AddColumn,
    Change,
    IcebergField,
    MakeOptional,
    WidenColumn,
    complete_name_mapping,
    mapped_names,
    plan_changes,
)
from offload_spark.iceberg.errors import iceberg_errors
from offload_spark.iceberg.table import IcebergTable
from offload_spark.runtime.jvm import JavaObject


def evolve_schema(table: IcebergTable, columns: Sequence[Column], contract: SchemaContract) -> list[Change]:
    """Make every change that the projection's columns need, in one commit, and return the changes.

    `table.base` stays the same; `table.java` has the changes afterwards.

    Raises:
        FixColumn: Iceberg cannot follow a column, or the contract forbids it; nothing was changed.
        StartOver: another commit changed the table meanwhile; nothing was changed.
    """
    with iceberg_errors(f"changing the columns of {table.config.target}"):
        changes = plan_changes(table.config, columns, _fields(table.java), contract, _retired_names(table.java))
        if changes or _missing_name_mapping(table.java) is not None:
            _commit(table, changes)
    return changes


def with_field_ids(table: IcebergTable, columns: Sequence[Column]) -> list[Column]:
    """The projection's columns with the field ids that the table has given them."""
    with iceberg_errors(f"reading the columns of {table.config.target}"):
        ids = _field_ids(table.java)
    return [replace(column, field_id=ids[column.name]) for column in columns]


def _commit(table: IcebergTable, changes: Sequence[Change]) -> None:
    transaction = table.java.newTransaction()
    update = transaction.updateSchema()
    for change in changes:
        update = _apply(table.jvm, update, change)
    update.commit()
    # Iceberg maintains the name mapping itself, but a table created by others may lack entries. A column without an
    # entry would read as NULL from files without field ids.
    names = _missing_name_mapping(transaction.table())
    if names is not None:
        transaction.updateProperties().set(NAME_MAPPING, names).commit()
    transaction.commitTransaction()


def _field_ids(java: JavaObject) -> dict[str, int]:
    return {field.name(): field.fieldId() for field in java.schema().columns()}


def _fields(java: JavaObject) -> list[IcebergField]:
    identifiers = set(java.schema().identifierFieldIds())
    return [
        IcebergField(field.name(), str(field.type().toString()), field.isRequired(), field.fieldId() in identifiers)
        for field in java.schema().columns()
    ]


def _retired_names(java: JavaObject) -> set[str]:
    """Names that no column has any more but that older data files may still use."""
    known = mapped_names(java.properties().get(NAME_MAPPING))
    known.update(field.name() for schema in java.schemas().values() for field in schema.columns())
    return known - {field.name() for field in java.schema().columns()}


def _missing_name_mapping(java: JavaObject) -> str | None:
    """The complete name mapping, or None if the table has it already."""
    return complete_name_mapping(java.properties().get(NAME_MAPPING), _field_ids(java))


def _apply(jvm: JavaObject, update: JavaObject, change: Change) -> JavaObject:
    primitive = jvm.org.apache.iceberg.types.Types.fromPrimitiveString
    if isinstance(change, AddColumn):
        # The first argument is the parent: without it, Iceberg takes a dot in the name for a path.
        return update.addColumn(None, change.name, primitive(change.type))
    if isinstance(change, WidenColumn):
        return update.updateColumn(change.name, primitive(change.type))
    assert isinstance(change, MakeOptional)  # noqa: S101 - the last of the three
    return update.makeColumnOptional(change.name)
