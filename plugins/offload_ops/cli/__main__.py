"""`python -m offload_ops.cli`: the operator's command without Airflow.

Everything comes from the environment. `OFFLOAD_CONNECTIONS` or `OFFLOAD_CONNECTIONS_FILE` name the servers.
`OFFLOAD_TABLES` and `OFFLOAD_SETTINGS` hold the same JSON as the Airflow Variables; the defaults are the shipped ones.
"""

from __future__ import annotations

import os
import sys

from offload_core.config.connections import load_connections
from offload_core.config.settings import Settings, parse_settings
from offload_core.config.tables import DEFAULT_TABLES, parse_tables
from offload_ops.cli.app import Context, run


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
