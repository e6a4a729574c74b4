"""Measures the offload on a stack of its own: wall seconds, CPU seconds, peak memory, and whether the result is right."""
