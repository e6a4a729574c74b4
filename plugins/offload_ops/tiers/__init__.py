"""Comparing the hot and the cold tier, and reading both as one."""
