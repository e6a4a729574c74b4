"""The command `offload config`: the current configuration, in the form in which it is written."""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated

import typer

from offload_ops.cli.context import context_of


class Part(str, Enum):
    """The part of the configuration that is in one Variable."""

    TABLES = "tables"
    SETTINGS = "settings"


def config(
    ctx: typer.Context,
    part: Annotated[Part, typer.Argument(help="The Variable iceberg_offload_tables or iceberg_offload_settings.")],
    everything: Annotated[bool, typer.Option("--all", help="Also print fields with default values.")] = False,
) -> None:
    """Print the current configuration as JSON, as a starting point for a new value of the Variable.

    docs/configuration.md explains the fields. While the Variable `iceberg_offload_tables` is not set, the shipped
    tables apply. Once it is set, only the tables in it are offloaded.
    """
    context = context_of(ctx)
    models = context.chosen(None) if part is Part.TABLES else [context.settings]
    values = [model.model_dump(mode="json", exclude_defaults=not everything) for model in models]
    if part is Part.SETTINGS:
        print(json.dumps(values[0], indent=2))
        return
    # One entry per line, so that the list of tables reads like a table.
    print("[\n" + ",\n".join(f"  {json.dumps(value)}" for value in values) + "\n]")
