"""The implementation for Airflow 2.11. Only the modules of `compat` import it."""
