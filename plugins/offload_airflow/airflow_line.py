"""Which of Airflow's two lines runs here, 2.11 or 3: the only place that looks, for `compat` and its siblings alone."""

from __future__ import annotations

from airflow import __version__

AIRFLOW_3 = not __version__.startswith("2.")
"""Type checkers take it for a constant: each line is checked where it is installed (`make lint`)."""
