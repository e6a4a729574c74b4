"""Environment variables for what runs beside the stack. None of them holds a secret."""

from __future__ import annotations

import os
from collections.abc import Mapping

from devstack.stack.ports import LOOPBACK
from devstack.stack.processes import Part
from install.airflow_version import VARIABLE
from install.jars import JARS, S3_JARS
from install.layout import Layout, archive
from offload_core.jobs.shared_jvm import FOLDER_ENV

# What an activated environment or another Airflow on the machine would leak into ours: at worst its database.
_FOREIGN = ("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "SPARK_", "PYSPARK_", "GUNICORN_", "OFFLOAD_CONNECTIONS")


def exports(layout: Layout) -> dict[str, str]:
    """Variables for a shell: with them `airflow`, `offload` and `spark-submit` talk to the running stack."""
    return {
        "OFFLOAD_HOME": str(layout.home),
        "OFFLOAD_ENVS": str(layout.envs),
        VARIABLE: layout.state_line.number,
        "OFFLOAD_CONNECTIONS_FILE": str(layout.connections_file),
        "AIRFLOW_HOME": str(layout.home / "airflow"),
        **_spark(layout),
        "JAVA_HOME": str(layout.java_home),
        "SPARK_HOME": str(layout.spark_home),
        "PYSPARK_PYTHON": str(layout.python("spark")),
        "PYTHONPATH": os.pathsep.join([str(layout.checkout / "include" / "spark"), str(layout.checkout / "plugins")]),
        "PATH": _path(layout, os.environ),
        **_metrics(layout),
    }


def for_airflow(layout: Layout, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for Airflow's processes. The connections are not among them: they stand in Airflow's database."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_FOREIGN)}
    return {
        **kept,
        "OFFLOAD_HOME": str(layout.home),
        "OFFLOAD_ENVS": str(layout.envs),
        VARIABLE: layout.state_line.number,
        "AIRFLOW_HOME": str(layout.home / "airflow"),
        **_spark(layout),
        "PATH": _path(layout, environ),
    }


def for_servers(layout: Layout, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for our own Python servers, which run outside the checkout."""
    path = os.pathsep.join([str(layout.checkout), str(layout.checkout / "plugins")])
    return {**environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _metrics(layout: Layout) -> dict[str, str]:
    """What `offload doctor` asks where the setting `metrics_url` is empty; nothing while no exporter runs."""
    port = Part(layout, "exporter").ports().get("exporter")
    return {"OFFLOAD_METRICS_URL": f"http://{LOOPBACK}:{port}/metrics"} if port else {}


def _spark(layout: Layout) -> dict[str, str]:
    """What `offload_core.jobs.spark_submit` reads."""
    made = archive(layout)
    s3 = [layout.s3_jars / jar.file_name for jar in S3_JARS]
    return {
        "OFFLOAD_SPARK_HOME": str(layout.spark_home),
        "OFFLOAD_SPARK_PYTHON": str(layout.python("spark")),
        "OFFLOAD_SPARK_JARS": os.pathsep.join(str(layout.jars / jar.file_name) for jar in JARS),
        **({"OFFLOAD_SPARK_S3_JARS": os.pathsep.join(map(str, s3))} if all(jar.exists() for jar in s3) else {}),
        "OFFLOAD_JAVA_HOME": str(layout.java_home),
        **({"OFFLOAD_APPCDS_ARCHIVE": str(made)} if made.exists() else {}),
        FOLDER_ENV: str(layout.spark_share),
        # The driver's ports are for its own executors on this machine.
        "SPARK_LOCAL_IP": LOOPBACK,
    }


def _path(layout: Layout, environ: Mapping[str, str]) -> str:
    ours = [
        layout.checkout / "bin",
        layout.airflow_python.parent,
        layout.spark_home / "bin",
        layout.java_home / "bin",
    ]
    known = environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*map(str, ours), *known]))
