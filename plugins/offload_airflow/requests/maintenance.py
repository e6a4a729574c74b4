"""What somebody asks of a run of the maintenance: the field of its trigger form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from offload_airflow.compat.context import run_conf
from offload_airflow.compat.sdk import Context, Param
from offload_airflow.requests.run import several
from offload_core.config.json_text import explain
from offload_core.errors import FixConfiguration


class MaintenanceRequest(BaseModel):
    """The `conf` of one run: only these tables, by their names; none are all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: Annotated[tuple[str, ...], BeforeValidator(lambda value: () if value is None else value)] = ()


def requested_tables(context: Context, known: Sequence[str]) -> tuple[str, ...]:
    """The names of the tables that a task's run is about.

    Raises:
        FixConfiguration: the conf has another field, or names a table that is not there.
    """
    try:
        asked = MaintenanceRequest.model_validate(run_conf(context)).tables
    except ValidationError as error:
        raise FixConfiguration(
            f"This run's conf is wrong: {explain(error)}.", "Trigger the DAG again with `tables` only, or without conf."
        ) from error
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise FixConfiguration(
            f"This run's conf names tables that are unknown or disabled: {', '.join(unknown)}.",
            f"Choose from {', '.join(known)}.",
        )
    return asked or tuple(known)


def maintenance_params(tables: Sequence[str]) -> dict[str, Param]:
    """The field of the trigger form."""
    return {"tables": several("Tables", tables)}
