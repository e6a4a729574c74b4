"""The `offload` command on a machine with Airflow."""
