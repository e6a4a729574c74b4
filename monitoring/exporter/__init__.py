"""The metrics exporter: reads the ledger in PostgreSQL and Airflow's health page for Prometheus, and changes neither.

`python -m monitoring.exporter` runs it. `settings` lists its settings, `metrics` its metrics.
"""
