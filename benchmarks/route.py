"""Routes: ways to copy a load from ClickHouse into an Iceberg table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bench_stack import BenchStack
from benchmarks.loads import Load
from benchmarks.measure import Command, Processes


@dataclass(frozen=True)
class RouteJob:
    """One route's work on one load, ready to be measured.

    Attributes:
        command: the command that does all the work.
        metadata: returns, after the command, the location of the table's metadata.
        discard: deletes the files of that table.
        left_running: returns the processes that the command leaves running.
    """

    command: Command
    metadata: Callable[[], str]
    discard: Callable[[], None]
    left_running: Processes = list


class Route(ABC):
    """A way to copy a load.

    Attributes:
        name: the name in `ROUTE=`.
        what: the description in the report.
        is_peer: whether a user could choose it instead of the offload.
    """

    name: str
    what: str
    is_peer: bool = True

    @abstractmethod
    def set_up(self, bench: BenchStack) -> None:
        """Install what the route needs, unless it is installed."""

    @abstractmethod
    def prepare(self, bench: BenchStack, load: Load) -> RouteJob:
        """Create what must exist before a load is measured, such as an empty table."""
