"""The page in Airflow's menu: what it says is the core's (`offload_ops.status_page`), who may do what is Airflow's."""
