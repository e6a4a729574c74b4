"""`python -m offload_core`: the operator's command without Airflow; connections, tables and settings come from the environment.

`OFFLOAD_CONNECTIONS` or `OFFLOAD_CONNECTIONS_FILE` say where the servers are; `OFFLOAD_TABLES` and `OFFLOAD_SETTINGS` hold the same JSON as
the Airflow Variables and default to what is shipped.
"""

from __future__ import annotations

import os
import sys

from offload_core.cli import Context, run
from offload_core.connections import load_connections
from offload_core.settings import Settings, parse_settings
from offload_core.table_config import DEFAULT_TABLES, parse_tables


def load() -> Context:
    """The context from this process's environment."""
    tables, settings = os.environ.get("OFFLOAD_TABLES"), os.environ.get("OFFLOAD_SETTINGS")
    return Context(
        connections=load_connections(os.environ),
        tables=parse_tables(tables) if tables else DEFAULT_TABLES,
        settings=parse_settings(settings) if settings else Settings(),
    )


if __name__ == "__main__":
    sys.exit(run(load))
