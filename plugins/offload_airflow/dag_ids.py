"""The ids of the package's DAGs."""

from __future__ import annotations

from offload_airflow.backfill import DAG_ID

DAG_IDS = (DAG_ID, *(f"{DAG_ID}_{kind}" for kind in ("audit", "freshness", "maintenance", "report")))
