"""Operators: the Spark jobs of a table, the first and the last task of a cycle, freshness, audit and report."""
