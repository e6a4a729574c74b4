"""The page in Airflow's menu. `offload_ops.status_page` renders it; Airflow decides who may see it and act on it."""
