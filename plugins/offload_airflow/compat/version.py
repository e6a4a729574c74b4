"""Which of Airflow's two lines runs here, 2.11 or 3: the only place that looks, for `compat` and its siblings alone."""

from __future__ import annotations

from airflow import __version__

from offload_core.errors import FixConfiguration

_OLDEST = {2: (2, 11), 3: (3, 3)}
"""Before 3.3, a task takes a database that can't be read for Variables that are not set, and would work on the default tables."""


def is_airflow_3(version: str) -> bool:
    """Whether a version of Airflow is one of line 3.

    Raises:
        FixConfiguration: neither line has it, or it's too old.
    """
    line, minor = (int(part) for part in version.split(".")[:2])
    oldest = _OLDEST.get(line)
    if oldest is None or (line, minor) < oldest:
        raise FixConfiguration(
            f"The Iceberg offload doesn't run on Airflow {version}.",
            "Install 2.11 (requirements/airflow2.txt) or 3.3 and newer (requirements/airflow3.txt, docs/upgrade-airflow-3.md).",
        )
    return line > 2


AIRFLOW_V_3_0_PLUS = is_airflow_3(__version__)
"""Type checkers take it for a constant: each line is checked where it is installed (`make lint`)."""
