"""Measures the offload on a temporary stack: wall and CPU seconds, peak memory, and whether the result is correct."""
