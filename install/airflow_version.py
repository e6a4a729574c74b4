"""The two lines of Airflow that the package runs on, and which of them is meant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from install.errors import UnknownLineError

VARIABLE = "OFFLOAD_AIRFLOW"
"""Names the line, `2` or `3`; the Makefile sets it from AIRFLOW."""


@dataclass(frozen=True)
class Line:
    """A line of Airflow.

    Attributes:
        number: what `AIRFLOW=` says.
        version: for people.
        environment: name of its virtual environment.
        health_page: where its web interface tells how its parts are.
        locks: the lock files that say exactly what is in that; the first is what runs in production.
    """

    number: str
    version: str
    environment: str
    health_page: str
    locks: tuple[str, ...]


AIRFLOW_2 = Line("2", "2.11", "airflow", "/health", ("requirements/airflow2.txt", "requirements/dev.txt"))
AIRFLOW_3 = Line(
    "3",
    "3",
    "airflow3",
    "/api/v2/monitor/health",
    ("requirements/airflow3.txt", "requirements/dev-airflow3.txt"),
)
_LINES = {line.number: line for line in (AIRFLOW_2, AIRFLOW_3)}


def asked_line(environ: Mapping[str, str] = os.environ) -> Line | None:
    """The line that is asked for; None: nobody said.

    Raises:
        UnknownLineError: it is none of the two.
    """
    text = environ.get(VARIABLE, "")
    return named_line(text, f"{VARIABLE}={text}") if text else None


def named_line(number: str, source: str) -> Line:
    """The line of that number.

    Args:
        number: `2` or `3`.
        source: where it was read, for the message.

    Raises:
        UnknownLineError: it is none of the two.
    """
    if number not in _LINES:
        raise UnknownLineError(f"{source} names no line of Airflow. Say AIRFLOW=2 (the default) or AIRFLOW=3.")
    return _LINES[number]
