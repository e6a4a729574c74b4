"""What Airflow loads as a plugin: the preload listener and the page."""
