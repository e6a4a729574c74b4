"""Prepares what compose's Airflow needs: the bucket, Airflow's database, pool, login and the settings of a cluster in containers.

Run by the service `airflow-init` at every `docker compose up`; what is there stays. All it needs, secrets included, is in its environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import urlsplit

from airflow.models import Variable
from pyarrow.fs import S3FileSystem

from embedded.airflow_config import ADMIN, POOL, POOL_SLOTS
from offload_airflow.compat import require_connection
from offload_airflow.hooks.connections import iceberg_connection
from offload_core.connections import IcebergConnection
from offload_core.settings import SETTINGS_VARIABLE, Settings

SETTINGS = {
    # Two drivers and two executors at once fit the containers' limits.
    "driver_memory": "1g",
    "executor_memory": "1g",
    "spark_conf": {
        "spark.cores.max": "1",
        # Executors call the driver back, which runs in the scheduler's container.
        "spark.driver.host": "airflow-scheduler",
        "spark.driver.bindAddress": "0.0.0.0",  # noqa: S104 - inside the container's own network
        "spark.driver.port": "7100",
        "spark.driver.blockManager.port": "7200",
        # Several drivers at once take the next ports.
        "spark.port.maxRetries": "32",
    },
}
"""The first value of the Variable; afterwards it belongs to whoever edits it in the web interface."""


def main() -> None:
    """Do it all."""
    make_bucket(iceberg_connection(require_connection("iceberg_default")))
    wanted = {
        "connections": {},  # they are in the environment
        "pools": {POOL: POOL_SLOTS},
        "admin": {"username": ADMIN, "password": os.environ["AIRFLOW_ADMIN_PASSWORD"]},
    }
    command = [sys.executable, "-m", "embedded.airflow_setup"]
    subprocess.run(command, check=True, input=json.dumps(wanted), text=True)
    Settings.model_validate(SETTINGS)
    if Variable.get(SETTINGS_VARIABLE, default_var=None) is None:
        Variable.set(SETTINGS_VARIABLE, json.dumps(SETTINGS, indent=1))


def make_bucket(connection: IcebergConnection) -> None:
    """Make the warehouse's bucket unless it is there."""
    told, endpoint = connection.properties, urlsplit(connection.properties["s3.endpoint"])
    files = S3FileSystem(
        access_key=told["s3.access-key-id"],
        secret_key=told["s3.secret-access-key"],
        region=told["client.region"],
        scheme=endpoint.scheme,
        endpoint_override=endpoint.netloc,
        allow_bucket_creation=True,
    )
    files.create_dir(urlsplit(connection.warehouse).netloc)


if __name__ == "__main__":
    main()
