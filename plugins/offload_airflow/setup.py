"""Prepares Airflow's database in one process; run by the Airflow environment's Python, which loads Airflow only once.

Reads what is wanted as JSON from standard input, because it holds passwords: `connections` (id → fields), `pools`
(name → slots) and `admin` (username, password; null where Airflow has its logins elsewhere).
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
    """Migrate, then make connections, pools and the admin what is wanted."""
    wanted = json.load(sys.stdin)
    db.upgradedb()
    _store_connections(wanted["connections"])
    for name, slots in wanted["pools"].items():
        Pool.create_or_update_pool(name, slots, description=POOL_DESCRIPTION, include_deferred=False)
    if wanted["admin"]:
        _store_admin(**wanted["admin"])


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
            raise RuntimeError("Airflow did not accept the admin user; the reason stands above.")


if __name__ == "__main__":
    main()
