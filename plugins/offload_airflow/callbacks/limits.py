"""How long callbacks may take."""

from __future__ import annotations

CALLBACK_SECONDS = 40.0
"""Airflow's DAG processor, in which the callback of a missed SLA runs, ends after 50 seconds (`[core] dag_file_processor_timeout`)."""
