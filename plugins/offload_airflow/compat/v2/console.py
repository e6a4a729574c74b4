"""Where Airflow 2.11's log lines go in the `offload` command."""

from __future__ import annotations

__all__ = ["logs_on_stderr"]


def logs_on_stderr() -> None:
    """Do nothing: Airflow 2.11 logs only errors in a command, and those go to stderr."""
