"""Creates what compose's Airflow needs: the bucket, Airflow's database, pool and login, and the settings for a cluster
in containers.

The service `airflow-init` runs it at every `docker compose up`. It keeps what already exists. All its input, secrets
included, comes from its environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import urlsplit

from airflow.models import Variable
from pyarrow.fs import S3FileSystem

from offload_airflow.compat.secrets import require_connection
from offload_airflow.hooks.connections import iceberg_connection
from offload_core.config.connections import IcebergConnection
from offload_core.config.settings import DEFAULT_POOL, POOL_SLOTS, SETTINGS_VARIABLE, Settings

SETTINGS = {
    # Two drivers and two executors at a time fit the containers' limits.
    "driver_memory": "1g",
    "executor_memory": "1g",
    "spark_conf": {
        "spark.cores.max": "1",
        # Executors connect back to the driver, which runs in the scheduler's container.
        "spark.driver.host": "airflow-scheduler",
        "spark.driver.bindAddress": "0.0.0.0",  # noqa: S104 - inside the container's own network
        "spark.driver.port": "7100",
        "spark.driver.blockManager.port": "7200",
        # Concurrent drivers use the next free ports.
        "spark.port.maxRetries": "32",
    },
}
"""The Variable's initial value; later changes in the web interface are kept."""


def main() -> None:
    """Create the bucket, then Airflow's database, pool, login and settings."""
    make_bucket(iceberg_connection(require_connection("iceberg_default")))
    initial_state = {
        "connections": {},  # they are in the environment
        "pools": {DEFAULT_POOL: POOL_SLOTS},
        "admin": {"username": "admin", "password": os.environ["AIRFLOW_ADMIN_PASSWORD"]},
    }
    command = [sys.executable, "-m", "offload_airflow.setup"]
    subprocess.run(command, check=True, input=json.dumps(initial_state), text=True)
    Settings.model_validate(SETTINGS)
    if Variable.get(SETTINGS_VARIABLE, default_var=None) is None:
        Variable.set(SETTINGS_VARIABLE, json.dumps(SETTINGS, indent=1))


def make_bucket(connection: IcebergConnection) -> None:
    """Create the warehouse's bucket unless it exists."""
    properties, endpoint = connection.properties, urlsplit(connection.properties["s3.endpoint"])
    files = S3FileSystem(
        access_key=properties["s3.access-key-id"],
        secret_key=properties["s3.secret-access-key"],
        region=properties["client.region"],
        scheme=endpoint.scheme,
        endpoint_override=endpoint.netloc,
        allow_bucket_creation=True,
    )
    files.create_dir(urlsplit(connection.warehouse).netloc)


if __name__ == "__main__":
    main()
