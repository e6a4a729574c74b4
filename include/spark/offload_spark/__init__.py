"""The Spark side of the offload: reads ClickHouse, writes Iceberg. Imports offload_core, never Airflow."""
