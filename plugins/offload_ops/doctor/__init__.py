"""`offload doctor`: the checks and what they report."""
