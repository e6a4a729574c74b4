"""What a route is: a way of bringing a load from ClickHouse into an Iceberg table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bench_stack import BenchStack
from benchmarks.loads import Load
from benchmarks.measure import Command, Processes


@dataclass(frozen=True)
class Job:
    """One route's work on one load, ready to be measured.

    Attributes:
        command: the whole of it, from the process' start.
        metadata: tells, once it has run, where the metadata of the table it wrote is.
        discard: deletes the files of that table.
        left_running: tells what it leaves running for the next one.
    """

    command: Command
    metadata: Callable[[], str]
    discard: Callable[[], None]
    left_running: Processes = list


class Route(ABC):
    """One way.

    Attributes:
        name: as in `ROUTE=`.
        what: for the report: what is done.
        is_peer: whether a user could pick it instead of the offload.
    """

    name: str
    what: str
    is_peer: bool = True

    @abstractmethod
    def set_up(self, bench: BenchStack) -> None:
        """Install what the route needs. Nothing where it has been done before."""

    @abstractmethod
    def prepare(self, bench: BenchStack, load: Load) -> Job:
        """Make what has to be there before a load is measured, such as an empty table."""
