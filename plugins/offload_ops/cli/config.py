"""`offload config`: the configuration that applies, in the form in which it is written."""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated

import typer

from offload_ops.cli.context import context_of


class Part(str, Enum):
    """One of the two Variables."""

    TABLES = "tables"
    SETTINGS = "settings"


def config(
    ctx: typer.Context,
    part: Annotated[Part, typer.Argument(help="The Variable iceberg_offload_tables, or iceberg_offload_settings.")],
    everything: Annotated[bool, typer.Option("--all", help="Fields that have their defaults too.")] = False,
) -> None:
    """Print what applies now as JSON: a value for the Variable, to begin a change with.

    docs/configuration.md says what the fields mean. The shipped tables apply while the Variable `iceberg_offload_tables` is not set; once
    it is, only what it lists is offloaded.
    """
    context = context_of(ctx)
    models = context.chosen(None) if part is Part.TABLES else [context.settings]
    values = [model.model_dump(mode="json", exclude_defaults=not everything) for model in models]
    if part is Part.SETTINGS:
        print(json.dumps(values[0], indent=2))
        return
    # An entry a line: a list of tables is read and edited like a table.
    print("[\n" + ",\n".join(f"  {json.dumps(value)}" for value in values) + "\n]")
