"""The weekly report: `compute` builds it from the data of PostgreSQL and Airflow, `pages` shows it."""
