"""The routes by name: `ours` is the offload, the others are the ones that it is compared with."""

from __future__ import annotations

from benchmarks.our_routes import Increment, Ours, SharedIncrement
from benchmarks.peer_routes import DLT, FLOOR, PYICEBERG, SLING, SPARK_NAIVE
from benchmarks.route import Route

ROUTES: dict[str, Route] = {route.name: route for route in (Ours(), FLOOR, PYICEBERG, DLT, SLING, SPARK_NAIVE)}
_PEERS = {name: route for name, route in ROUTES.items() if name != "ours"}
INCREMENT_ROUTES: dict[str, Route] = {"ours": Increment(), "ours-shared": SharedIncrement(), **_PEERS}
"""The routes for the case in which the offload's tables grow, as they do every quarter of an hour."""
EVERY_ROUTE = {**INCREMENT_ROUTES, **ROUTES}
"""All routes by name, in the report's order."""
