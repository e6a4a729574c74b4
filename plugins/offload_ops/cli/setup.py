"""The command `offload init`: create what is missing, from the ledger to the first watermarks."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from offload_core.config.tables import SchemaContract, TableConfig
from offload_core.errors import FixConfiguration, FixSource, OffloadError, RunInit, TargetTableMissing
from offload_core.jobs import spark_submit
from offload_core.jobs.spark_run import run_application
from offload_core.ledger.ddl import statements
from offload_core.ledger.rows import LedgerRow
from offload_core.source.clickhouse import ClickHouse
from offload_core.source.projection import project
from offload_core.source.schema_drift import plan_changes
from offload_core.source.table import describe
from offload_ops.cli.context import Context, DryRun, context_of
from offload_ops.tiers.cold_table import open_cold_table
from offload_ops.tiers.verify import cold_fields

_CREATED = re.compile(r"CREATE\s+(?:TABLE|MATERIALIZED VIEW|VIEW)\s+IF NOT EXISTS\s+(\w+)")


def init(
    ctx: typer.Context,
    hot_tier: Annotated[bool, typer.Option(help="Also create the example hot tier in ClickHouse.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Create what is missing: ledger, Iceberg tables, first watermarks. The command can be repeated at any time.

    Existing Iceberg tables get the columns that ClickHouse has added, widened or made Nullable. Existing watermarks
    stay.
    """
    context = context_of(ctx)
    tables = context.chosen(None)
    if dry_run:
        for line in _missing(context, tables, hot_tier):
            print(line)
        return
    sql = _sql_folder()
    if hot_tier:
        with context.clickhouse() as client:
            for statement in statements(sql / "clickhouse"):
                client.command(statement)
        print("ClickHouse: the hot tier exists")
    with context.ledger() as ledger:
        ledger.create(sql / "postgres")
        print("PostgreSQL: the ledger exists")
        _create_iceberg_tables(context, tables)
        for table in tables:
            effect = "watermark starts in 1970" if ledger.initialize(table.name) else "keeps its watermark"
            print(f"{table.name}: {effect}")


def _create_iceberg_tables(context: Context, tables: Sequence[TableConfig]) -> None:
    """Run the Spark job `offload_init.py` and print its result."""
    application = spark_submit.application(os.environ).with_name("offload_init.py")
    listed = json.dumps([table.model_dump(mode="json") for table in tables])
    lines: list[str] = []
    try:
        run_application(application, [listed], context.connections, context.settings, lines.append)
    except FixConfiguration:
        raise
    except OffloadError as error:
        output = "\n".join(lines).strip()
        raise FixConfiguration(
            f"The Iceberg tables could not be created:\n{output}\n{error}", "Fix that and run `offload init` again."
        ) from error
    for line in lines:
        if line.startswith("{"):
            report = json.loads(line)
            what = f"Iceberg: {report['table']} {'created' if report['created'] else 'exists'}"
            print("; ".join([what, *report["changes"]]))


def _missing(context: Context, tables: Sequence[TableConfig], hot_tier: bool) -> Iterator[str]:
    """The effects that `init` would have, one per line."""
    with context.clickhouse() as client:
        if hot_tier:
            yield _missing_hot_tier(context, client)
        with context.ledger() as ledger:
            newest: dict[str, LedgerRow] = {}
            try:
                newest = ledger.newest_rows()
                yield "PostgreSQL: the ledger exists"
            except RunInit:
                yield "PostgreSQL: the ledger would be created"
        for table in tables:
            yield f"Iceberg: {_missing_in_iceberg(context, client, table)}"
    for table in tables:
        effect = "keeps its watermark" if table.name in newest else "its watermark would start in 1970"
        yield f"{table.name}: {effect}"


def _missing_hot_tier(context: Context, client: ClickHouse) -> str:
    names = [name for text in statements(_sql_folder() / "clickhouse") for name in _CREATED.findall(text)]
    rows = client.rows(
        "SELECT name FROM system.tables WHERE database = {database:String}",
        {"database": context.connections.clickhouse.database},
    )
    existing = {row["name"] for row in rows}
    missing = [name for name in names if name not in existing]
    if not missing:
        return "ClickHouse: the hot tier exists"
    return f"ClickHouse: {len(missing)} tables and views would be created: {', '.join(missing)}"


def _missing_in_iceberg(context: Context, client: ClickHouse, table: TableConfig) -> str:
    try:
        cold = open_cold_table(context.connections.iceberg, table.target)
    except TargetTableMissing:
        return f"{table.target} would be created{_without_source(context, client, table)}"
    columns = project(table, describe(client, table, context.connections.clickhouse.database).columns)
    changes = plan_changes(table, columns, cold_fields(cold), SchemaContract.EVOLVE)
    return "; ".join([f"{table.target} exists", *(f"would be changed: {change}" for change in changes)])


def _without_source(context: Context, client: ClickHouse, table: TableConfig) -> str:
    try:
        describe(client, table, context.connections.clickhouse.database)
    except FixSource:
        return f", once ClickHouse has the table {table.source}"
    return ""


def _sql_folder() -> Path:
    return spark_submit.application(os.environ).parent.parent / "sql"
