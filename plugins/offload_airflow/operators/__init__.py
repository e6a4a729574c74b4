"""Operators: one table's Spark job, and the frame of a cycle."""
