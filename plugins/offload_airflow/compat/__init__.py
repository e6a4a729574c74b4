"""Everything that differs between Airflow 2.11 and 3: `v2` and `v3` implement it, the modules here choose."""
