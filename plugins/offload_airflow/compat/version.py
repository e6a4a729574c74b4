"""Which version of Airflow is installed, 2.11 or 3. Only `compat` imports this module."""

from __future__ import annotations

from airflow import __version__

from offload_core.errors import FixConfiguration

_OLDEST = {2: (2, 11), 3: (3, 3)}
"""The oldest version that works, by major version.

Before 3.3, a task takes Variables in an unreadable database for unset ones and would work on the default tables.
"""


def is_airflow_3(version: str) -> bool:
    """Whether a version of Airflow is 3.x.

    Raises:
        FixConfiguration: the version is neither 2.x nor 3.x, or too old.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    oldest = _OLDEST.get(major)
    if oldest is None or (major, minor) < oldest:
        raise FixConfiguration(
            f"The Iceberg offload doesn't run on Airflow {version}.",
            "Install 2.11 (requirements/airflow2.txt), or 3.3 or newer "
            "(requirements/airflow3.txt, docs/upgrade-airflow-3.md).",
        )
    return major > 2


AIRFLOW_V_3_0_PLUS = is_airflow_3(__version__)
"""A constant for type checkers: `make lint` checks each version where it is installed."""
