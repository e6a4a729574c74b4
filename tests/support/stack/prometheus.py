"""Debian's Prometheus and Alertmanager on free loopback ports, with the shipped rules and configuration."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import urllib3
import yaml

from devstack.stack.ports import LOOPBACK
from tests.support.checkout import CHECKOUT
from tests.support.stack.exporter import free_port

MONITORING = CHECKOUT / "monitoring"
_PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
needs_prometheus = pytest.mark.skipif(
    any(shutil.which(program) is None for program in _PROGRAMS),
    reason="install Debian's prometheus and prometheus-alertmanager",
)
_SECONDS = 60.0
Found = TypeVar("Found")


@dataclass(frozen=True)
class MonitoringStack:
    """A running Prometheus and Alertmanager."""

    prometheus: str
    alertmanager: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query. An expression that Prometheus refuses is an error."""
        answer = _get(f"{self.prometheus}/api/v1/query", {"query": expression})
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def alerts(self) -> dict[tuple[str, str], str]:
        """The state of each current alert (`active`, or `suppressed` by another one), by name and table."""
        found: list[dict[str, Any]] = _get(f"{self.alertmanager}/api/v2/alerts", {})
        return {
            (alert["labels"]["alertname"], alert["labels"].get("table", "")): alert["status"]["state"]
            for alert in found
        }

    def starts(self, key: tuple[str, str]) -> float:
        """When a current alert, given by name and table, began to fire; seconds since the epoch."""
        found: list[dict[str, Any]] = _get(f"{self.alertmanager}/api/v2/alerts", {})
        return min(
            datetime.fromisoformat(alert["startsAt"].replace("Z", "+00:00")).timestamp()
            for alert in found
            if (alert["labels"]["alertname"], alert["labels"].get("table", "")) == key
        )

    def wait_for(self, condition: Callable[[], Found], what: str, seconds: float = _SECONDS) -> Found:
        """Call `condition` until it returns something that is true, and return that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {seconds:g} seconds; alerts: {self.alerts()}")


def _get(url: str, fields: Mapping[str, str]) -> Any:
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url, fields=dict(fields), timeout=10, retries=False).json()


@contextmanager
def monitoring_stack(
    exporter_url: str, folder: Path, speed: float, *, mail_port: int | None = None, scrape_seconds: float = 0.5
) -> Iterator[MonitoringStack]:
    """Prometheus and Alertmanager for an exporter, with the shipped configuration and `speed` times faster time.

    The time that an alert waits (`for:`) is that much shorter.

    Args:
        exporter_url: the exporter.
        folder: for their files.
        speed: how fast time runs for the rules' `for:`.
        mail_port: the port of a mail server. Alertmanager mails the shipped receivers, and thresholds and its own waits
            are shorter too, for a stack whose settings are. None: nobody is mailed, and thresholds stay.
        scrape_seconds: the time between two scrapes.
    """
    target = exporter_url.removeprefix("http://")
    alertmanager, prometheus = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
    mails = yaml.safe_load((MONITORING / "alertmanager" / "alertmanager.yml").read_text())
    mails["templates"] = [str(MONITORING / "alertmanager" / "templates" / "*.tmpl")]
    if mail_port is None:
        # The receivers keep their names and lose their addresses.
        mails["receivers"] = [{"name": receiver["name"]} for receiver in mails["receivers"]]
    else:
        mails["global"] |= {"smtp_smarthost": f"{LOOPBACK}:{mail_port}", "smtp_require_tls": False}
        _shorten_waits(mails["route"], speed)
    rules = yaml.safe_load((MONITORING / "prometheus" / "rules" / "iceberg-offload-alerts.yml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        if "for" in rule:
            rule["for"] = _shorter(rule["for"], speed)
        if mail_port is not None:
            rule["expr"] = accelerated(rule["expr"], speed)
    settings = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
    scrapes = f"{scrape_seconds * 1000:.0f}ms"
    settings["global"] |= {"scrape_interval": scrapes, "scrape_timeout": scrapes, "evaluation_interval": "200ms"}
    settings["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    for job in settings["scrape_configs"]:
        job["static_configs"][0]["targets"] = [target]
    settings["rule_files"] = ["rules.yml"]
    for name, content in {"alertmanager.yml": mails, "rules.yml": rules, "prometheus.yml": settings}.items():
        (folder / name).write_text(yaml.safe_dump(content))
    with (
        _program(
            ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts"],
            [f"--web.listen-address={alertmanager}", "--cluster.listen-address="],
            folder,
            f"http://{alertmanager}/-/ready",
        ),
        _program(
            ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--rules.alert.resend-delay=1s"],
            [f"--web.listen-address={prometheus}"],
            folder,
            f"http://{prometheus}/-/ready",
        ),
    ):
        yield MonitoringStack(f"http://{prometheus}", f"http://{alertmanager}")


def accelerated(expression: str, speed: float) -> str:
    """A rule's expression for a pipeline that runs `speed` times as fast: its durations are shorter.

    Durations stand in ranges and comparisons. A comparison with less than ten is one of counts, which stay, and so do
    products (hours).
    """
    shorter = re.sub(r"\[(\d+[smh])\]", lambda found: f"[{_shorter(found[1], speed)}]", expression)
    return re.sub(r"([<>]=? )(\d{2,})\b(?! \*)", lambda found: f"{found[1]}{int(found[2]) / speed:.6g}", shorter)


def _shorten_waits(route: dict[str, Any], speed: float) -> None:
    for field in ("group_wait", "group_interval", "repeat_interval"):
        if field in route:
            route[field] = _shorter(route[field], speed)
    for below in route.get("routes", ()):
        _shorten_waits(below, speed)


def _shorter(duration: str, speed: float) -> str:
    return f"{max(int(_seconds(duration) * 1000 / speed), 1)}ms"


def _seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


@contextmanager
def _program(command: list[str], options: list[str], folder: Path, ready: str) -> Iterator[None]:
    log = folder / f"{command[0]}.log"
    with log.open("w") as output:
        process = subprocess.Popen([*command, *options], cwd=folder, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _SECONDS
        while not _answers(ready):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib3.PoolManager() as pool:
            return bool(pool.request("GET", url, timeout=5, retries=False).status == 200)
    except urllib3.exceptions.HTTPError:
        return False
