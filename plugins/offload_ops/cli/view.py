"""The command `offload view`: ClickHouse views that show hot and cold rows as one table."""

from __future__ import annotations

from typing import Annotated

import typer

from offload_core.config.tables import TableConfig
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.table import describe
from offload_ops.cli.context import Context, Names, context_of
from offload_ops.tiers.cold_table import open_cold_table
from offload_ops.tiers.verify import cold_fields
from offload_ops.tiers.view import (
    DEFAULT_COLLECTION,
    iceberg_source,
    require_collection,
    require_view_name_free,
    view_name,
    view_statement,
)


def view(
    ctx: typer.Context,
    tables: Names = None,
    create: Annotated[
        bool, typer.Option("--create/--print", help="Create the views, or only print their SQL.")
    ] = False,
    collection: Annotated[
        str, typer.Option(help="Named collection in ClickHouse with URL and keys of an S3 warehouse.")
    ] = DEFAULT_COLLECTION,
) -> None:
    """Create a ClickHouse view per table, SOURCE_all, that shows its whole history.

    The view shows Iceberg's rows up to the watermark, and ClickHouse's rows past it, so it contains every row once.
    Create the views again after a table's columns have changed; existing views are replaced.
    """
    context = context_of(ctx)
    database = context.connections.clickhouse.database
    with context.clickhouse() as client:
        for table in context.chosen(tables):
            statement = _statement(context, client, table, collection, create=create)
            if create:
                client.command(statement)
                print(f"ClickHouse: {view_name(table, database)} created", flush=True)
            else:
                print(f"{statement};\n", flush=True)


def _statement(context: Context, client: ClickHouse, table: TableConfig, collection: str, *, create: bool) -> str:
    database, connection = context.connections.clickhouse.database, context.connections.iceberg
    cold = open_cold_table(connection, table.target)
    source = iceberg_source(cold, connection, collection)
    statement = view_statement(table, database, describe(client, table, database).columns, cold_fields(cold), source)
    if create:
        require_view_name_free(client, table, database)
        require_collection(client, source, connection)
    return statement
