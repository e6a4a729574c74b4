"""The ids of the package's DAGs."""

from __future__ import annotations

DAG_ID = "iceberg_offload"
"""The DAG that offloads the tables."""
DAG_IDS = (DAG_ID, *(f"{DAG_ID}_{kind}" for kind in ("audit", "freshness", "maintenance", "report")))
"""All DAGs of the package."""
