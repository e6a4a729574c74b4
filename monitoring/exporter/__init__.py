"""The metrics exporter: reads the ledger in PostgreSQL and Airflow's health page, serves both to Prometheus, touches neither.

`python -m monitoring.exporter` runs it; `settings` says what can be set, docs/monitoring.md what each metric means.
"""
