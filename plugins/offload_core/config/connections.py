"""Where ClickHouse, PostgreSQL and the Iceberg catalog are, and how to log in there.

The Airflow side fills the models from Airflow Connections, commands in a shell from a file. Passwords are `SecretStr`,
which does not print them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from offload_core.config.json_text import explain
from offload_core.errors import FixConfiguration

CONNECTIONS_ENV = "OFFLOAD_CONNECTIONS"
CONNECTIONS_FILE_ENV = "OFFLOAD_CONNECTIONS_FILE"

Port = Annotated[int, Field(ge=1, le=65535)]
# Without hide_input_in_errors, a traceback would show the password of the connection that could not be read.
_CONFIG = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ClickHouseConnection(BaseModel):
    """The hot tier. The job uses `http_port`, the sensor `native_port`."""

    model_config = _CONFIG

    host: str
    http_port: Port = 8123
    native_port: Port = 9000
    user: str = "default"
    password: SecretStr = SecretStr("")
    database: str = "k2"
    secure: bool = False


class PostgresConnection(BaseModel):
    """The ledger's database."""

    model_config = _CONFIG

    host: str
    port: Port = 5432
    user: str
    password: SecretStr = SecretStr("")
    database: str
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "prefer"


JDBC_TIMEOUTS = {"jdbc.connectTimeout": "10", "jdbc.socketTimeout": "60", "jdbc.tcpKeepAlive": "true"}
"""Seconds after which a catalog in PostgreSQL that does not answer is given up; PostgreSQL's driver would wait forever.

https://jdbc.postgresql.org/documentation/use/#connection-parameters
"""


S3_FILES = "org.apache.iceberg.aws.s3.S3FileIO"
"""Iceberg's own way to S3, which needs neither Hadoop nor its settings.

https://iceberg.apache.org/docs/latest/aws/#s3-fileio
"""


class IcebergConnection(BaseModel):
    """The cold tier's catalog.

    `properties` go to Iceberg unchanged, `user` and `password` under the names of the catalog type.
    """

    model_config = _CONFIG

    name: str = "demo"
    type: Literal["jdbc", "rest", "hive", "glue", "hadoop"] = "jdbc"
    uri: str = ""
    warehouse: str
    user: str = ""
    password: SecretStr = SecretStr("")
    properties: Annotated[
        dict[str, str],
        Field(repr=False, description="Further catalog properties; an object store's keys may be among them."),
    ] = {}

    @model_validator(mode="after")
    def _commits_are_safe(self) -> IcebergConnection:
        scheme = urlsplit(self.warehouse).scheme
        if self.type == "hadoop" and scheme not in ("", "file", "hdfs"):
            raise ValueError(
                f"type: a hadoop catalog on {scheme}:// loses concurrent commits; use jdbc, rest, hive or glue for "
                "this "
                "warehouse"
            )
        return self

    @property
    def is_in_s3(self) -> bool:
        """Whether Iceberg's S3 client, which needs jars of its own, reads and writes the tables' files."""
        return self.warehouse.startswith("s3://") or self.properties.get("io-impl") == S3_FILES

    def catalog_properties(self) -> dict[str, str]:
        """The catalog's properties under Iceberg's names, including the password: keep them in memory only."""
        properties = {"type": self.type, "uri": self.uri, "warehouse": self.warehouse}
        password = self.password.get_secret_value()
        if self.type == "jdbc":
            properties |= {"jdbc.user": self.user, "jdbc.password": password, "jdbc.schema-version": "V1"}
            if self.uri.startswith("jdbc:postgresql:"):
                properties |= JDBC_TIMEOUTS
        elif password:
            properties["credential"] = f"{self.user}:{password}"
        if self.warehouse.startswith("s3://"):
            properties["io-impl"] = S3_FILES
        return {key: value for key, value in {**properties, **self.properties}.items() if value}


class Connections(BaseModel):
    """All three servers."""

    model_config = _CONFIG

    clickhouse: ClickHouseConnection
    postgres: PostgresConnection
    iceberg: IcebergConnection

    def with_secrets_json(self) -> str:
        """The JSON that `load_connections` reads.

        It holds the passwords: only for an environment variable or a file of mode 0600.
        """
        data = self.model_dump(mode="json")
        for part in ("clickhouse", "postgres", "iceberg"):
            data[part]["password"] = getattr(self, part).password.get_secret_value()
        return json.dumps(data)


def load_connections(environ: Mapping[str, str]) -> Connections:
    """Read the connections from `OFFLOAD_CONNECTIONS` (JSON) or from the file that `OFFLOAD_CONNECTIONS_FILE` names.

    Raises:
        FixConfiguration: neither is set, the file cannot be read, or a field is wrong. The message never shows a value.
    """
    return parse_connections(*_text_and_origin(environ, "clickhouse, postgres and iceberg"))


def load_postgres(environ: Mapping[str, str]) -> PostgresConnection:
    """Read the ledger's connection alone, for programs that need no other server; the JSON may lack the other parts.

    Raises:
        FixConfiguration: neither variable is set, the file cannot be read, or a field is wrong.
    """
    text, origin = _text_and_origin(environ, "postgres")
    try:
        return _OnlyPostgres.model_validate_json(text).postgres
    except ValidationError as error:
        raise _wrong(origin, error) from error


class _OnlyPostgres(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    postgres: PostgresConnection


def _text_and_origin(environ: Mapping[str, str], parts: str) -> tuple[str, str]:
    text = environ.get(CONNECTIONS_ENV)
    if text:
        return text, f"the environment variable {CONNECTIONS_ENV}"
    path = environ.get(CONNECTIONS_FILE_ENV)
    if not path:
        raise FixConfiguration(
            f"The addresses of the servers ({parts}) are not configured.",
            f"Set {CONNECTIONS_FILE_ENV} to a JSON file with the parts {parts} "
            "(`make up` writes one into its state folder).",
        )
    origin = f"the file {path}"
    try:
        return Path(path).read_text(encoding="utf-8"), origin
    except OSError as error:
        raise FixConfiguration(f"Can't read {origin}: {error.strerror}.", f"Correct {CONNECTIONS_FILE_ENV}.") from error
    except UnicodeDecodeError as error:
        raise FixConfiguration(f"Can't read {origin}: it is not UTF-8 text.", "Write it again.") from error


def parse_connections(text: str, origin: str) -> Connections:
    """Validate the connections' JSON text that came from `origin`.

    Raises:
        FixConfiguration: not JSON, or a field is missing or wrong.
    """
    try:
        return Connections.model_validate_json(text)
    except ValidationError as error:
        raise _wrong(origin, error) from error


def _wrong(origin: str, error: ValidationError) -> FixConfiguration:
    return FixConfiguration(f"The connections in {origin} are wrong: {explain(error)}.", "Correct them there.")
