"""The page in Airflow's menu: what it says is the core's (`offload_core.status_page`), who may do what is Airflow's."""
