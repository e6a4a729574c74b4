"""Sensors: what a table's Spark job waits for."""
