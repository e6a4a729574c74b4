"""Callbacks that Airflow calls when a task fails or a run is late."""
