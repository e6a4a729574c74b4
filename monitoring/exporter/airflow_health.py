"""Airflow's health page, which needs no login: when its scheduler last gave a sign of life."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus

import urllib3

from monitoring.exporter.cached import Cached, NotRead

_PATHS = ("/api/v2/monitor/health", "/health")
"""Where Airflow 3 has its health page, and where Airflow 2; each answers 404 at the other's."""


@dataclass(frozen=True)
class SchedulerHealth:
    """How Airflow's scheduler is.

    Attributes:
        is_up: whether its newest heartbeat that is known is recent enough.
        airflow_answers: whether Airflow's web interface answered just now.
        heartbeat: the newest heartbeat that this exporter has seen (UTC); None: none yet.
        reason: in a sentence, for the operator.
    """

    is_up: bool
    airflow_answers: bool
    heartbeat: datetime | None
    reason: str


class AirflowHealth:
    """Airflow, asked for its scheduler's heartbeat; what it said last is remembered while it does not answer."""

    def __init__(self, url: str, silence_seconds: float, keep_seconds: float, timeout_seconds: float) -> None:
        self._addresses = [f"{url.rstrip('/')}{path}" for path in _PATHS]
        self._silence_seconds = silence_seconds
        self._timeout_seconds = timeout_seconds
        self._pool = urllib3.PoolManager()
        self._cached = Cached(self._ask, keep_seconds, timeout_seconds)
        self._lock = threading.Lock()
        self._heartbeat: datetime | None = None

    def look(self) -> SchedulerHealth:
        """How the scheduler is now."""
        silence = ""
        try:
            heartbeat = self._cached.get()
        except NotRead as error:
            heartbeat, silence = None, f"Airflow's web interface does not answer at {self._addresses[0]}: {error}. "
        with self._lock:
            known = [moment for moment in (heartbeat, self._heartbeat) if moment is not None]
            self._heartbeat = max(known, default=None)
            newest = self._heartbeat
        if newest is None:
            return SchedulerHealth(False, not silence, None, f"{silence}No heartbeat of a scheduler is known.")
        age = (datetime.now(timezone.utc) - newest).total_seconds()
        reason = f"{silence}The scheduler's newest known heartbeat is {age:.0f} seconds old."
        return SchedulerHealth(age <= self._silence_seconds, not silence, newest, reason)

    def _ask(self) -> datetime | None:
        answer = self._request()
        if answer.status == HTTPStatus.NOT_FOUND:
            # The other line of Airflow; it stays the one that is asked until Airflow is upgraded.
            self._addresses.reverse()
            answer = self._request()
        if answer.status != HTTPStatus.OK:
            raise NotRead(f"HTTP {answer.status}")
        heartbeat = answer.json()["scheduler"]["latest_scheduler_heartbeat"]
        return None if heartbeat is None else datetime.fromisoformat(heartbeat).astimezone(timezone.utc)

    def _request(self) -> urllib3.BaseHTTPResponse:
        return self._pool.request("GET", self._addresses[0], timeout=self._timeout_seconds, retries=False)
