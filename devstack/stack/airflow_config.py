"""What the stack's Airflow is configured with, on either line: its `airflow.cfg`, and what its database begins with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from devstack.stack.connections import Connections
from devstack.stack.ports import LOOPBACK
from devstack.stack.secrets_file import Secrets
from install.airflow_version import AIRFLOW_2
from install.layout import Layout
from offload_core.config.settings import DEFAULT_POOL, POOL_SLOTS

ADMIN = "admin"

Configuration = dict[str, dict[str, str]]
"""Options by section."""


class Wanted(TypedDict):
    """What Airflow's database holds from the beginning; `offload_airflow.setup` stores it. Airflow 3 has no login in there."""

    connections: dict[str, dict[str, object]]
    pools: dict[str, int]
    admin: dict[str, str] | None


def configuration(layout: Layout, secrets: Secrets, postgres_port: int, web_port: int) -> Configuration:
    """The sections of `airflow.cfg`, secrets included."""
    common = _common(layout, secrets, postgres_port)
    own = _two(layout, secrets, web_port) if layout.state_line is AIRFLOW_2 else _three(layout, secrets, web_port)
    return {section: {**common.get(section, {}), **own.get(section, {})} for section in {**common, **own}}


def passwords_file(layout: Layout) -> Path:
    """Where Airflow 3 has the logins' passwords."""
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
            # The default of 1 s makes most of a short cycle: seven steps, one idle sleep each. At 0.1 s the loop takes a sixth of a core.
            "scheduler_idle_sleep_time": "0.3",
        },
        # Parsing reads two Variables; an edit in the web interface shows after ten seconds all the same.
        "secrets": {"use_cache": "True", "cache_ttl_seconds": "10"},
        "smtp": _mail(os.environ.get("OFFLOAD_MAIL_SERVER")),
    }


def _two(layout: Layout, secrets: Secrets, web_port: int) -> Configuration:
    logs = layout.logs / "airflow"
    return {
        "logging": {"dag_processor_manager_log_location": str(logs / "dag_processor_manager.log")},
        "scheduler": {
            # Edits of DAG files and of the Variables they read show within half a minute.
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
        # As in Airflow 3; without it every command warns that it will change.
        "metrics": {"timer_unit_consistency": "True"},
    }


def _three(layout: Layout, secrets: Secrets, web_port: int) -> Configuration:
    return {
        "core": {
            # Whose manager it is, is up to each installation; this stack has one user, on loopback.
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": str(passwords_file(layout)),
        },
        "logging": {"dag_processor_child_process_log_directory": str(layout.logs / "airflow" / "dag_processor")},
        "dag_processor": {
            # As above.
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
    """Where Airflow's mails go, `host:port` without login or TLS: a mail catcher. None: to port 25 of this machine, as Airflow does."""
    host, _, port = (server or "").partition(":")
    sender = {"smtp_mail_from": "iceberg-offload@example.com"}
    if not host:
        return sender
    return {**sender, "smtp_host": host, "smtp_port": port or "25", "smtp_starttls": "False", "smtp_ssl": "False"}


def wanted(layout: Layout, secrets: Secrets, connections: Connections) -> Wanted:
    """Connections to the stack's own servers, the pool, and on Airflow 2 the login."""
    clickhouse, postgres, iceberg = connections["clickhouse"], connections["postgres"], connections["iceberg"]
    admin = {"username": ADMIN, "password": secrets.airflow_admin}
    hot = {"host": clickhouse["host"], "login": clickhouse["user"], "password": clickhouse["password"]}
    return {
        "connections": {
            # The type the plugin's manual asks for: it has none of its own, and the form needs one that it knows.
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
        "admin": admin if layout.state_line is AIRFLOW_2 else None,
    }
