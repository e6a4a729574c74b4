"""Callbacks that Airflow calls by itself."""
