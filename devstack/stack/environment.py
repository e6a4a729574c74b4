"""Environment variables for programs beside the stack. None of them contains a secret."""

from __future__ import annotations

import os
from collections.abc import Mapping

from devstack.stack.ports import LOOPBACK
from devstack.stack.processes import StackPart
from install.airflow_version import VARIABLE
from install.jars import JARS, S3_JARS
from install.layout import Layout, archive
from offload_core.jobs.shared_jvm import FOLDER_ENV

# Variables of an activated environment or of another Airflow on the machine. They must not leak into the stack: at
# worst, its Airflow would use the other one's database.
_FOREIGN = ("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "SPARK_", "PYSPARK_", "GUNICORN_", "OFFLOAD_CONNECTIONS")


def exports(layout: Layout) -> dict[str, str]:
    """Return variables for a shell: `airflow`, `offload` and `spark-submit` then use the running stack."""
    return {
        "OFFLOAD_HOME": str(layout.home),
        "OFFLOAD_ENVS": str(layout.envs),
        VARIABLE: layout.state_version.number,
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
    """Return variables for Airflow's processes. The connections are in Airflow's database instead."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_FOREIGN)}
    return {
        **kept,
        "OFFLOAD_HOME": str(layout.home),
        "OFFLOAD_ENVS": str(layout.envs),
        VARIABLE: layout.state_version.number,
        "AIRFLOW_HOME": str(layout.home / "airflow"),
        **_spark(layout),
        "PATH": _path(layout, environ),
    }


def for_servers(layout: Layout, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return variables for the stack's own Python servers, which run outside the checkout."""
    path = os.pathsep.join([str(layout.checkout), str(layout.checkout / "plugins")])
    return {**environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _metrics(layout: Layout) -> dict[str, str]:
    """The URL that `offload doctor` queries if the setting `metrics_url` is empty; nothing while no exporter runs."""
    port = StackPart(layout, "exporter").ports().get("exporter")
    return {"OFFLOAD_METRICS_URL": f"http://{LOOPBACK}:{port}/metrics"} if port else {}


def _spark(layout: Layout) -> dict[str, str]:
    """The variables that `offload_core.jobs.spark_submit` reads."""
    class_data = archive(layout)
    s3 = [layout.s3_jars / jar.file_name for jar in S3_JARS]
    return {
        "OFFLOAD_SPARK_HOME": str(layout.spark_home),
        "OFFLOAD_SPARK_PYTHON": str(layout.python("spark")),
        "OFFLOAD_SPARK_JARS": os.pathsep.join(str(layout.jars / jar.file_name) for jar in JARS),
        **({"OFFLOAD_SPARK_S3_JARS": os.pathsep.join(map(str, s3))} if all(jar.exists() for jar in s3) else {}),
        "OFFLOAD_JAVA_HOME": str(layout.java_home),
        **({"OFFLOAD_APPCDS_ARCHIVE": str(class_data)} if class_data.exists() else {}),
        FOLDER_ENV: str(layout.spark_share),
        # Only the driver's own executors, on this machine, use its ports.
        "SPARK_LOCAL_IP": LOOPBACK,
    }


def _path(layout: Layout, environ: Mapping[str, str]) -> str:
    own = [
        layout.checkout / "bin",
        layout.airflow_python.parent,
        layout.spark_home / "bin",
        layout.java_home / "bin",
    ]
    inherited = environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*map(str, own), *inherited]))
