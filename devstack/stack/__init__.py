"""The development stack: PostgreSQL, ClickHouse, Airflow and the exporter on loopback, without containers."""
