"""What both sides of the offload share: the rules, the ledger and the marker. Imports neither Airflow nor Spark."""

__version__ = "1.0.0"
