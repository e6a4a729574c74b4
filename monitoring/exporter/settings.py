"""The exporter's settings, all of them environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from offload_core.config.connections import PostgresConnection, load_postgres
from offload_core.config.json_text import explain
from offload_core.config.settings import Settings, parse_settings
from offload_core.config.tables import parse_tables, switched_on
from offload_core.errors import FixConfiguration

_VARIABLES = {
    "port": "OFFLOAD_PORT_EXPORTER",
    "address": "OFFLOAD_EXPORTER_ADDRESS",
    "airflow_url": "OFFLOAD_AIRFLOW_URL",
    "cache_seconds": "OFFLOAD_EXPORTER_CACHE_SECONDS",
    "timeout_seconds": "OFFLOAD_EXPORTER_TIMEOUT_SECONDS",
    "scheduler_silence_seconds": "OFFLOAD_SCHEDULER_SILENCE_SECONDS",
}


class ExporterSettings(BaseModel):
    """The exporter's settings; `_VARIABLES` names the environment variables.

    `postgres` comes from `OFFLOAD_CONNECTIONS` or `OFFLOAD_CONNECTIONS_FILE`, of which only the part `postgres` is
    needed. The pipeline comes from `OFFLOAD_SETTINGS` and the tables from `OFFLOAD_TABLES`, which hold the same JSON as
    the Airflow Variables.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    postgres: PostgresConnection
    pipeline: str = Settings().pipeline_id
    tables: Annotated[
        frozenset[str] | None,
        Field(description="Names of the tables to report; None: all that were not switched off in the newest cycle."),
    ] = None
    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of /metrics and /scheduler.")] = 8000
    address: Annotated[str, Field(min_length=1, description="Address to listen on; 0.0.0.0: every interface.")] = (
        "127.0.0.1"
    )
    airflow_url: Annotated[
        str, Field(pattern=r"^https?://", description="Airflow's web interface, whose health page is read.")
    ] = "http://localhost:8080"
    cache_seconds: Annotated[
        float, Field(ge=0, le=60, description="Scrapes this close together share one reading.")
    ] = 5
    timeout_seconds: Annotated[
        float, Field(gt=0, le=60, description="Longest wait for a server; Prometheus itself waits 10 seconds.")
    ] = 5
    scheduler_silence_seconds: Annotated[
        float,
        Field(gt=0, le=3600, description="A scheduler with an older heartbeat is down; Airflow's own limit is 30."),
    ] = 30


def load_settings(environ: Mapping[str, str]) -> ExporterSettings:
    """The settings of an environment; a variable that is not set has its default.

    Raises:
        FixConfiguration: a value is wrong, or PostgreSQL is missing; the message says which variable to correct.
    """
    given = {field: environ[variable] for field, variable in _VARIABLES.items() if environ.get(variable)}
    settings, tables = environ.get("OFFLOAD_SETTINGS"), environ.get("OFFLOAD_TABLES")
    try:
        return ExporterSettings(
            postgres=load_postgres(environ),
            pipeline=parse_settings(settings).pipeline_id if settings else Settings().pipeline_id,
            tables=frozenset(table.name for table in switched_on(parse_tables(tables))) if tables else None,
            **given,  # type: ignore[arg-type]
        )
    except ValidationError as error:
        wrong = ", ".join(_VARIABLES.get(str(item["loc"][0]), str(item["loc"][0])) for item in error.errors())
        raise FixConfiguration(f"{wrong}: {explain(error)}.", f"Correct {wrong}, or unset it.") from error
