"""The ids of the package's DAGs."""

from __future__ import annotations

DAG_ID = "iceberg_offload"
"""The offload's own."""
DAG_IDS = (DAG_ID, *(f"{DAG_ID}_{kind}" for kind in ("audit", "freshness", "maintenance", "report")))
