"""Alerts, and how errors of the offload become failures of Airflow tasks."""
