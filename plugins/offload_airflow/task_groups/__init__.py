"""The tasks of each DAG, built from the configured tables."""
