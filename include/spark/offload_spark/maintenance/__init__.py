"""Maintenance of one Iceberg table."""
