"""What a peer is to do. Nothing but the standard library: it is imported in every peer's environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

REQUEST_ENV = "BENCH_REQUEST"


@dataclass(frozen=True)
class Server:
    """A server and a login."""

    host: str
    port: int
    user: str
    password: str
    database: str


@dataclass(frozen=True)
class Request:
    """One load.

    Attributes:
        query: the SELECT whose rows are to be loaded; the same without its last condition names every column.
        timestamp: the column that partitions the table by day.
        day: the one day (YYYY-MM-DD, UTC) that all of its rows are of.
        namespace, name: of the Iceberg table.
        warehouse: the folder of all tables, an absolute path.
        clickhouse: over HTTP.
        catalog: the PostgreSQL with the Iceberg catalog `demo`.
    """

    query: str
    timestamp: str
    day: str
    namespace: str
    name: str
    warehouse: str
    clickhouse: Server
    catalog: Server

    @property
    def folder(self) -> Path:
        """Where the table's files belong."""
        return Path(self.warehouse, self.namespace, self.name)

    def to_environ(self) -> dict[str, str]:
        """The environment variable that `read` reads. It holds passwords."""
        return {REQUEST_ENV: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> Request:
        """The order in this process' environment."""
        data = json.loads(os.environ[REQUEST_ENV])
        clickhouse, catalog = Server(**data.pop("clickhouse")), Server(**data.pop("catalog"))
        return cls(**data, clickhouse=clickhouse, catalog=catalog)
