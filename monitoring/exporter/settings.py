"""What can be set about the exporter, all of it in its environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from offload_core.config.connections import PostgresConnection, load_postgres
from offload_core.config.json_text import explain
from offload_core.config.settings import Settings, parse_settings
from offload_core.config.tables import TableConfig, parse_tables
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
    """How the exporter works; each field has an environment variable, named in `_VARIABLES`.

    `postgres` comes from `OFFLOAD_CONNECTIONS` or `OFFLOAD_CONNECTIONS_FILE`, of which only the part `postgres` is needed; the pipeline
    from `OFFLOAD_SETTINGS`, the tables from `OFFLOAD_TABLES`: the same JSON as the Airflow Variables.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    postgres: PostgresConnection
    pipeline: str = Settings().pipeline_id
    tables: Annotated[
        frozenset[str] | None,
        Field(
            description="Names of the tables to tell of; None: all but those that the newest cycle found switched off."
        ),
    ] = None
    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of /metrics and /scheduler (R71).")] = 8000
    address: Annotated[str, Field(min_length=1, description="Address to listen on; 0.0.0.0: all of the machine's.")] = (
        "127.0.0.1"
    )
    airflow_url: Annotated[
        str, Field(pattern=r"^https?://", description="Airflow's web interface, whose health page is asked.")
    ] = "http://localhost:8080"
    cache_seconds: Annotated[
        float, Field(ge=0, le=60, description="Scrapes this close together are served by one look.")
    ] = 5
    timeout_seconds: Annotated[
        float, Field(gt=0, le=60, description="Longest wait for a server; Prometheus' own limit is 10 seconds.")
    ] = 5
    scheduler_silence_seconds: Annotated[
        float,
        Field(
            gt=0, le=3600, description="A scheduler whose newest heartbeat is older is down; Airflow itself says 30."
        ),
    ] = 30


def load_settings(environ: Mapping[str, str]) -> ExporterSettings:
    """The settings in an environment; what is not there has its default.

    Raises:
        FixConfiguration: a value is wrong, or PostgreSQL is not named; the message says which variable to correct.
    """
    given = {field: environ[variable] for field, variable in _VARIABLES.items() if environ.get(variable)}
    told, tables = environ.get("OFFLOAD_SETTINGS"), environ.get("OFFLOAD_TABLES")
    try:
        return ExporterSettings(
            postgres=load_postgres(environ),
            pipeline=parse_settings(told).pipeline_id if told else Settings().pipeline_id,
            tables=_enabled(tables) if tables else None,
            **given,  # type: ignore[arg-type]
        )
    except ValidationError as error:
        wrong = ", ".join(_VARIABLES.get(str(item["loc"][0]), str(item["loc"][0])) for item in error.errors())
        raise FixConfiguration(f"{wrong}: {explain(error)}.", f"Correct {wrong}, or unset it.") from error


def _enabled(tables: str) -> frozenset[str]:
    return frozenset(
        table.name for table in parse_tables(tables) if not isinstance(table, TableConfig) or table.enabled
    )
