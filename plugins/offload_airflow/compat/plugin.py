"""What the plugin file needs from Airflow. Every Airflow command loads it, so it imports very little."""

from __future__ import annotations

import sys

from offload_airflow.compat.version import AIRFLOW_V_3_0_PLUS

if AIRFLOW_V_3_0_PLUS:
    from offload_airflow.compat.v3.plugin import *
    from offload_airflow.compat.v3.plugin import FORKING
else:
    from offload_airflow.compat.v2.plugin import *
    from offload_airflow.compat.v2.plugin import FORKING


def forks_tasks() -> bool:
    """Whether this process forks the processes that run tasks or parse DAG files. Only its command line shows it."""
    return any(sys.argv[1 : 1 + len(command)] == command for command in FORKING)
