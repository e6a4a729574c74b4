"""The routes by name: `ours` is the offload, the others are what to compare it with."""

from __future__ import annotations

from benchmarks.our_routes import Increment, Ours
from benchmarks.peer_routes import DLT, FLOOR, PYICEBERG, SLING, SPARK_NAIVE
from benchmarks.route import Route

ROUTES: dict[str, Route] = {route.name: route for route in (Ours(), FLOOR, PYICEBERG, DLT, SLING, SPARK_NAIVE)}
INCREMENT_ROUTES: dict[str, Route] = {**ROUTES, "ours": Increment()}
"""The same where the offload goes on with its table, as it does every quarter of an hour."""
