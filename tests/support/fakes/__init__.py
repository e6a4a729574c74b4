"""Servers that stand in for what tests must not reach."""
