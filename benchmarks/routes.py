"""The routes by name: `ours` is the offload, the others are what to compare it with."""

from __future__ import annotations

from benchmarks.our_routes import Increment, Ours, SharedIncrement
from benchmarks.peer_routes import DLT, FLOOR, PYICEBERG, SLING, SPARK_NAIVE
from benchmarks.route import Route

ROUTES: dict[str, Route] = {route.name: route for route in (Ours(), FLOOR, PYICEBERG, DLT, SLING, SPARK_NAIVE)}
_PEERS = {name: route for name, route in ROUTES.items() if name != "ours"}
INCREMENT_ROUTES: dict[str, Route] = {"ours": Increment(), "ours-shared": SharedIncrement(), **_PEERS}
"""The same where the offload goes on with its tables, as it does every quarter of an hour."""
EVERY_ROUTE = {**INCREMENT_ROUTES, **ROUTES}
"""All routes by name, in the report's order."""
