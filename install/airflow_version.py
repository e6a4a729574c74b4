"""The two Airflow versions that the package runs on, 2.11 and 3.3, and which of them a command means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from install.errors import UnknownVersionError

VARIABLE = "OFFLOAD_AIRFLOW"
"""The environment variable that names the version, `2` or `3`; the Makefile sets it from AIRFLOW."""


@dataclass(frozen=True)
class AirflowVersion:
    """An Airflow version that the package runs on.

    Attributes:
        number: the value of `AIRFLOW=`.
        label: how messages call the version.
        environment: the name of its virtual environment.
        health_page: the path of the web interface's health page.
        locks: the lock files that pin the environment; the first one is what runs in production.
    """

    number: str
    label: str
    environment: str
    health_page: str
    locks: tuple[str, ...]


AIRFLOW_2 = AirflowVersion("2", "2.11", "airflow", "/health", ("requirements/airflow2.txt", "requirements/dev.txt"))
AIRFLOW_3 = AirflowVersion(
    "3",
    "3",
    "airflow3",
    "/api/v2/monitor/health",
    ("requirements/airflow3.txt", "requirements/dev-airflow3.txt"),
)
_VERSIONS = {version.number: version for version in (AIRFLOW_2, AIRFLOW_3)}


def requested_version(environ: Mapping[str, str] = os.environ) -> AirflowVersion | None:
    """Return the version that OFFLOAD_AIRFLOW names, or None when it is not set.

    Raises:
        UnknownVersionError: OFFLOAD_AIRFLOW names neither of the two.
    """
    text = environ.get(VARIABLE, "")
    return version_named(text, f"{VARIABLE}={text}") if text else None


def version_named(number: str, source: str) -> AirflowVersion:
    """Return the version with this number.

    Args:
        number: `2` or `3`.
        source: where the number was read, for the message.

    Raises:
        UnknownVersionError: the number is neither of the two.
    """
    if number not in _VERSIONS:
        raise UnknownVersionError(
            f"{source} names no supported Airflow version. Use AIRFLOW=2 (the default) or AIRFLOW=3."
        )
    return _VERSIONS[number]
