"""What a run of the maintenance was triggered for: the field of its trigger form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from offload_airflow.compat.context import run_conf
from offload_airflow.compat.sdk import Context, Param
from offload_airflow.requests.run import require_known, several_of
from offload_core.config.json_text import explain
from offload_core.errors import FixConfiguration


class MaintenanceRequest(BaseModel):
    """The `conf` of one run: the names of its tables; empty means all tables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: Annotated[tuple[str, ...], BeforeValidator(lambda value: () if value is None else value)] = ()


def requested_tables(context: Context, known: Sequence[str]) -> tuple[str, ...]:
    """The names of the tables of a task's run.

    Raises:
        FixConfiguration: the conf has another field, or names an unknown or disabled table.
    """
    try:
        requested = MaintenanceRequest.model_validate(run_conf(context)).tables
    except ValidationError as error:
        raise FixConfiguration(
            f"This run's conf is wrong: {explain(error)}.", "Trigger the DAG again with `tables` only, or without conf."
        ) from error
    require_known(requested, known)
    return requested or tuple(known)


def maintenance_params(tables: Sequence[str]) -> dict[str, Param]:
    """The field of the trigger form."""
    return {"tables": several_of("Tables", tables)}
