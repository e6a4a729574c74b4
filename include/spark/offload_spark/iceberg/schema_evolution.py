"""Changing the columns of an Iceberg table as `offload_core.source.schema_drift` decided, to follow its ClickHouse table."""

from __future__ import annotations

from collections.abc import Sequence

from offload_core.config.tables import SchemaContract, TableConfig
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
from offload_spark.runtime.jvm import JavaObject


def follow(
    jvm: JavaObject, table: JavaObject, config: TableConfig, columns: Sequence[Column], contract: SchemaContract
) -> list[Change]:
    """Make every change that the projection's columns need, in one commit; none is made where one of them can't be.

    Args:
        table: Iceberg's table; it has the changes afterwards.

    Raises:
        FixColumn: a column can't be followed, or the contract forbids it.
        py4j.protocol.Py4JJavaError: the commit failed; nothing was changed.
    """
    changes = plan_changes(config, columns, _fields(table), contract, _retired_names(table))
    if changes or _name_mapping(table) is not None:
        transaction = table.newTransaction()
        update = transaction.updateSchema()
        for change in changes:
            update = _applied(jvm, update, change)
        update.commit()
        # Iceberg keeps the mapping up to date by itself, but a table made elsewhere may lack it: files without ids would seem to be empty.
        names = _name_mapping(transaction.table())
        if names is not None:
            transaction.updateProperties().set(NAME_MAPPING, names).commit()
        transaction.commitTransaction()
    return changes


def field_ids(table: JavaObject) -> dict[str, int]:
    """The field ids of a table's columns by their names."""
    return {field.name(): field.fieldId() for field in table.schema().columns()}


def _fields(table: JavaObject) -> list[IcebergField]:
    identifiers = set(table.schema().identifierFieldIds())
    return [
        IcebergField(field.name(), str(field.type().toString()), field.isRequired(), field.fieldId() in identifiers)
        for field in table.schema().columns()
    ]


def _retired_names(table: JavaObject) -> set[str]:
    """Names that older data files may hold and no column has any more."""
    known = mapped_names(table.properties().get(NAME_MAPPING))
    known.update(field.name() for schema in table.schemas().values() for field in schema.columns())
    return known - {field.name() for field in table.schema().columns()}


def _name_mapping(table: JavaObject) -> str | None:
    return complete_name_mapping(table.properties().get(NAME_MAPPING), field_ids(table))


def _applied(jvm: JavaObject, update: JavaObject, change: Change) -> JavaObject:
    primitive = jvm.org.apache.iceberg.types.Types.fromPrimitiveString
    if isinstance(change, AddColumn):
        # The first argument is the parent: without it, a dot in the name would be taken for a path.
        return update.addColumn(None, change.name, primitive(change.type))
    if isinstance(change, WidenColumn):
        return update.updateColumn(change.name, primitive(change.type))
    assert isinstance(change, MakeOptional)  # noqa: S101 - the last of the three
    return update.makeColumnOptional(change.name)
