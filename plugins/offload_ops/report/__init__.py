"""The weekly report: `compute` makes it of what PostgreSQL and Airflow know, `pages` shows it."""
