"""Airflow's health page, which needs no login: the newest heartbeat of its scheduler."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus

import urllib3

from monitoring.exporter.cached import Cached, NotRead

_PATHS = ("/api/v2/monitor/health", "/health")
"""The health pages of Airflow 3 and Airflow 2; each version answers 404 at the other's."""


@dataclass(frozen=True)
class SchedulerHealth:
    """The state of Airflow's scheduler.

    Attributes:
        is_up: whether its newest known heartbeat is recent enough.
        airflow_answers: whether Airflow's web interface answered just now.
        heartbeat: the newest heartbeat that this exporter has seen (UTC); None before the first.
        reason: a sentence for the operator.
    """

    is_up: bool
    airflow_answers: bool
    heartbeat: datetime | None
    reason: str


class AirflowHealth:
    """Queries Airflow for its scheduler's heartbeat; while Airflow does not answer, the newest known one counts."""

    def __init__(self, url: str, silence_seconds: float, keep_seconds: float, timeout_seconds: float) -> None:
        self._addresses = [f"{url.rstrip('/')}{path}" for path in _PATHS]
        self._silence_seconds = silence_seconds
        self._timeout_seconds = timeout_seconds
        self._pool = urllib3.PoolManager()
        self._cached = Cached(self._read, keep_seconds, timeout_seconds)
        self._lock = threading.Lock()
        self._heartbeat: datetime | None = None

    def scheduler(self) -> SchedulerHealth:
        """The scheduler's state now."""
        unanswered = ""
        try:
            heartbeat = self._cached.get()
        except NotRead as error:
            heartbeat, unanswered = None, f"Airflow's web interface does not answer at {self._addresses[0]}: {error}. "
        with self._lock:
            known = [moment for moment in (heartbeat, self._heartbeat) if moment is not None]
            self._heartbeat = max(known, default=None)
            newest = self._heartbeat
        if newest is None:
            return SchedulerHealth(False, not unanswered, None, f"{unanswered}No heartbeat of a scheduler is known.")
        age = (datetime.now(timezone.utc) - newest).total_seconds()
        reason = f"{unanswered}The scheduler's newest known heartbeat is {age:.0f} seconds old."
        return SchedulerHealth(age <= self._silence_seconds, not unanswered, newest, reason)

    def _read(self) -> datetime | None:
        answer = self._request()
        if answer.status == HTTPStatus.NOT_FOUND:
            # The other version of Airflow; its address stays first until Airflow is upgraded.
            self._addresses.reverse()
            answer = self._request()
        if answer.status != HTTPStatus.OK:
            raise NotRead(f"HTTP {answer.status}")
        heartbeat = answer.json()["scheduler"]["latest_scheduler_heartbeat"]
        return None if heartbeat is None else datetime.fromisoformat(heartbeat).astimezone(timezone.utc)

    def _request(self) -> urllib3.BaseHTTPResponse:
        return self._pool.request("GET", self._addresses[0], timeout=self._timeout_seconds, retries=False)
