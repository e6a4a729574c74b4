"""Prepares Airflow's database in one process, so that Airflow is loaded only once.

The Python of the Airflow environment runs it. It reads JSON with passwords from standard input: `connections`
(id → fields), `pools` (name → slots) and `admin` (username, password; null if Airflow has its logins elsewhere).
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.models import Connection, Pool
from airflow.utils import db
from airflow.utils.session import create_session

from offload_core.config.settings import POOL_DESCRIPTION


def main() -> None:
    """Migrate the database, then store the requested connections, pools and admin user."""
    requested = json.load(sys.stdin)
    db.upgradedb()
    _store_connections(requested["connections"])
    for name, slots in requested["pools"].items():
        Pool.create_or_update_pool(name, slots, description=POOL_DESCRIPTION, include_deferred=False)
    if requested["admin"]:
        _store_admin(**requested["admin"])


def _store_connections(connections: dict[str, dict[str, Any]]) -> None:
    with create_session() as session:
        for conn_id, fields in connections.items():
            session.query(Connection).filter(Connection.conn_id == conn_id).delete()
            session.add(Connection(conn_id=conn_id, **fields))


def _store_admin(username: str, password: str) -> None:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        user = manager.find_user(username)
        if user:
            manager.reset_password(user.id, password)
            return
        address = f"{username}@localhost"
        if not manager.add_user(username, "Offload", "Admin", address, manager.find_role("Admin"), password):
            raise RuntimeError("Airflow did not accept the admin user; see the reason above.")


if __name__ == "__main__":
    main()
