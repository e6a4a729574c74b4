"""The Airflow side of the offload: sensors, operators and task groups around the rules in `offload_core`."""
