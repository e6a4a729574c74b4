"""What `compat` and its siblings take from Airflow 2.11."""
