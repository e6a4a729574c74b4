"""What `compat` and its siblings take from Airflow 3: tasks ask its Task SDK, for they can't reach Airflow's database."""
