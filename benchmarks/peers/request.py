"""The request to a peer. Standard library only, because every peer's environment imports it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

REQUEST_ENV = "BENCH_REQUEST"


@dataclass(frozen=True)
class ServerLogin:
    """The address of a server and a login."""

    host: str
    port: int
    user: str
    password: str
    database: str


@dataclass(frozen=True)
class Request:
    """The request for one load.

    Attributes:
        query: the SELECT whose rows the peer loads.
        timestamp: the column that partitions the table by day.
        day: the day (YYYY-MM-DD, UTC) of all rows.
        namespace, name: the name of the Iceberg table.
        warehouse: the folder of all tables, an absolute path.
        clickhouse: ClickHouse over HTTP.
        catalog: the PostgreSQL with the Iceberg catalog `demo`.
    """

    query: str
    timestamp: str
    day: str
    namespace: str
    name: str
    warehouse: str
    clickhouse: ServerLogin
    catalog: ServerLogin

    @property
    def folder(self) -> Path:
        """The folder of the table's files."""
        return Path(self.warehouse, self.namespace, self.name)

    def to_environ(self) -> dict[str, str]:
        """Return the environment variable that `read` reads; it contains passwords."""
        return {REQUEST_ENV: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> Request:
        """Read the request from this process's environment."""
        data = json.loads(os.environ[REQUEST_ENV])
        clickhouse, catalog = ServerLogin(**data.pop("clickhouse")), ServerLogin(**data.pop("catalog"))
        return cls(**data, clickhouse=clickhouse, catalog=catalog)
