"""Connections to ClickHouse, PostgreSQL and Spark, taken from Airflow."""
