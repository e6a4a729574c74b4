"""Servers and stacks that tests start."""
