"""The development stack: runs the pipeline on one machine without Docker.

`clickhouse_server` is the ClickHouse engine as a server, `market_feed` generates trades, and `stack` starts and stops
PostgreSQL, ClickHouse, Airflow and the exporter.
"""
