"""Tables and settings from the Airflow Variables."""
