"""The implementation for Airflow 3, whose tasks cannot reach Airflow's database and use its Task SDK instead.

Only the modules of `compat` import it.
"""
