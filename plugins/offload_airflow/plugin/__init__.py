"""The parts of Airflow's plugin that are not about the page."""
