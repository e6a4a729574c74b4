"""The configuration of the stack's Airflow: `airflow.cfg`, and the initial content of its database."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from devstack.stack.connections import StackConnections
from devstack.stack.ports import LOOPBACK
from devstack.stack.secrets_file import Secrets
from install.airflow_version import AIRFLOW_2
from install.layout import Layout
from offload_core.config.settings import DEFAULT_POOL, POOL_SLOTS

ADMIN = "admin"

Configuration = dict[str, dict[str, str]]
"""Options by section."""


class InitialState(TypedDict):
    """The initial content of Airflow's database, which `offload_airflow.setup` stores.

    On Airflow 3, `admin` is None, because logins are not in the database.
    """

    connections: dict[str, dict[str, object]]
    pools: dict[str, int]
    admin: dict[str, str] | None


def configuration(layout: Layout, secrets: Secrets, postgres_port: int, web_port: int) -> Configuration:
    """Return the sections of `airflow.cfg`, including secrets."""
    common = _common(layout, secrets, postgres_port)
    own = (_airflow_2 if layout.state_version is AIRFLOW_2 else _airflow_3)(layout, secrets, web_port)
    return {section: {**common.get(section, {}), **own.get(section, {})} for section in {**common, **own}}


def passwords_file(layout: Layout) -> Path:
    """Return the file with the passwords of Airflow 3's logins."""
    return layout.home / "airflow" / "passwords.json"


def _common(layout: Layout, secrets: Secrets, postgres_port: int) -> Configuration:
    database = f"postgresql+psycopg2://airflow:{quote(secrets.postgres_airflow)}@{LOOPBACK}:{postgres_port}/airflow"
    return {
        "core": {
            "dags_folder": str(layout.checkout / "dags"),
            "plugins_folder": str(layout.checkout / "plugins"),
            "executor": "LocalExecutor",
            "parallelism": "8",
            "load_examples": "False",
            "default_timezone": "utc",
            "fernet_key": secrets.airflow_fernet,
        },
        "database": {"sql_alchemy_conn": database, "load_default_connections": "False"},
        "logging": {"base_log_folder": str(layout.logs / "airflow")},
        "scheduler": {
            # With the default of 1 s, a short cycle mostly sleeps: it has seven steps with one idle sleep each.
            # At 0.1 s, the loop uses a sixth of a core.
            "scheduler_idle_sleep_time": "0.3",
        },
        # Each parse reads two Variables. An edit in the web interface still takes effect within ten seconds.
        "secrets": {"use_cache": "True", "cache_ttl_seconds": "10"},
        "smtp": _mail(os.environ.get("OFFLOAD_MAIL_SERVER")),
    }


def _airflow_2(layout: Layout, secrets: Secrets, web_port: int) -> Configuration:
    logs = layout.logs / "airflow"
    return {
        "logging": {"dag_processor_manager_log_location": str(logs / "dag_processor_manager.log")},
        "scheduler": {
            # Changed DAG files, and changed Variables that they read, take effect within half a minute.
            "dag_dir_list_interval": "10",
            "min_file_process_interval": "20",
            "parsing_processes": "1",
            "child_process_log_directory": str(logs / "scheduler"),
        },
        "webserver": {
            "web_server_host": LOOPBACK,
            "web_server_port": str(web_port),
            "base_url": f"http://{LOOPBACK}:{web_port}",
            "secret_key": secrets.airflow_web,
            "config_file": str(layout.home / "airflow" / "webserver_config.py"),
            "expose_config": "False",
        },
        "api": {"auth_backends": "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session"},
        "usage_data_collection": {"enabled": "False"},
        # Airflow 3's behavior; without this, every command warns about the change.
        "metrics": {"timer_unit_consistency": "True"},
    }


def _airflow_3(layout: Layout, secrets: Secrets, web_port: int) -> Configuration:
    return {
        "core": {
            # Installations choose their own manager; this stack has one user, on loopback.
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": str(passwords_file(layout)),
        },
        "logging": {"dag_processor_child_process_log_directory": str(layout.logs / "airflow" / "dag_processor")},
        "dag_processor": {
            # Changed DAG files, and changed Variables that they read, take effect within half a minute.
            "refresh_interval": "10",
            "min_file_process_interval": "20",
            "parsing_processes": "1",
        },
        "api": {
            "host": LOOPBACK,
            "port": str(web_port),
            "base_url": f"http://{LOOPBACK}:{web_port}",
            "secret_key": secrets.airflow_web,
            "expose_config": "False",
        },
        "api_auth": {"jwt_secret": secrets.airflow_jwt},
    }


def _mail(server: str | None) -> dict[str, str]:
    """The mail settings: `server` is the `host:port` of a mail catcher, without login or TLS.

    None means Airflow's default, port 25 of this machine.
    """
    host, _, port = (server or "").partition(":")
    sender = {"smtp_mail_from": "iceberg-offload@example.com"}
    if not host:
        return sender
    return {**sender, "smtp_host": host, "smtp_port": port or "25", "smtp_starttls": "False", "smtp_ssl": "False"}


def initial_state(layout: Layout, secrets: Secrets, connections: StackConnections) -> InitialState:
    """Return the connections to the stack's own servers, the pool, and on Airflow 2 the login."""
    clickhouse, postgres, iceberg = connections["clickhouse"], connections["postgres"], connections["iceberg"]
    admin = {"username": ADMIN, "password": secrets.airflow_admin}
    hot = {"host": clickhouse["host"], "login": clickhouse["user"], "password": clickhouse["password"]}
    return {
        "connections": {
            # The plugin has no connection type of its own. Its manual recommends this one, which the web form knows.
            "clickhouse_default": {
                **hot,
                "conn_type": "sqlite",
                "port": clickhouse["native_port"],
                "schema": clickhouse["database"],
                "description": "Hot tier, native protocol (airflow-clickhouse-plugin)",
            },
            "clickhouse_http": {
                **hot,
                "conn_type": "http",
                "port": clickhouse["http_port"],
                "schema": "http",
                "extra": json.dumps({"database": clickhouse["database"]}),
                "description": "Hot tier, HTTP",
            },
            "postgres_default": {
                "conn_type": "postgres",
                "host": postgres["host"],
                "port": postgres["port"],
                "login": postgres["user"],
                "password": postgres["password"],
                "schema": postgres["database"],
                "description": "Ledger",
            },
            "spark_default": {
                "conn_type": "spark",
                "host": "local[*]",
                "extra": json.dumps({"deploy-mode": "client"}),
                "description": "Where Spark runs",
            },
            "iceberg_default": {
                "conn_type": "generic",
                "host": iceberg["uri"],
                "login": iceberg["user"],
                "password": iceberg["password"],
                "extra": json.dumps({name: iceberg[name] for name in ("name", "type", "warehouse", "properties")}),
                "description": "Cold tier: the Iceberg catalog (host: its URI)",
            },
        },
        "pools": {DEFAULT_POOL: POOL_SLOTS},
        "admin": admin if layout.state_version is AIRFLOW_2 else None,
    }
