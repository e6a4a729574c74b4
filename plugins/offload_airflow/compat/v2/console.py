"""Where Airflow 2's own log lines go in a command of ours."""

from __future__ import annotations

__all__ = ["logs_on_stderr"]


def logs_on_stderr() -> None:
    """Nothing to do: a command's log lines are errors only, and those are for whoever reads its answer."""
