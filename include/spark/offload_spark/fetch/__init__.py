"""Fetching a window from ClickHouse as Parquet files, by the driver or by executors."""
