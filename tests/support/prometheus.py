"""Prometheus and Alertmanager for the tests: Debian's programs, on free loopback ports, with the shipped rules and settings."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import urllib3
import yaml

from embedded.ports import LOOPBACK
from tests.support.exporter import free_port

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
_PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
needs_prometheus = pytest.mark.skipif(
    any(shutil.which(program) is None for program in _PROGRAMS),
    reason="install Debian's prometheus and prometheus-alertmanager",
)
_SECONDS = 60.0
Found = TypeVar("Found")


@dataclass(frozen=True)
class Watch:
    """A running Prometheus and Alertmanager."""

    prometheus: str
    alertmanager: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's samples; an expression that Prometheus refuses is an error."""
        answer = _get(f"{self.prometheus}/api/v1/query", {"query": expression})
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def alerts(self) -> dict[tuple[str, str], str]:
        """What Alertmanager has been told and is not over: state (`active`, or `suppressed` by another alert) by name and table."""
        found: list[dict[str, Any]] = _get(f"{self.alertmanager}/api/v2/alerts", {})
        return {
            (alert["labels"]["alertname"], alert["labels"].get("table", "")): alert["status"]["state"]
            for alert in found
        }

    def wait_for(self, look: Callable[[], Found], what: str) -> Found:
        """What `look` finds, as soon as it is something."""
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {_SECONDS:g} seconds; alerts: {self.alerts()}")


def _get(url: str, fields: Mapping[str, str]) -> Any:
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url, fields=dict(fields), timeout=10, retries=False).json()


@contextmanager
def watching(exporter_url: str, folder: Path, speed: int) -> Iterator[Watch]:
    """Prometheus and Alertmanager over an exporter, with the shipped configuration in which time runs `speed` times as fast.

    Scrapes come every 500 ms, evaluations every 200; what an alert waits for (`for:`) is that much shorter; thresholds stay.
    """
    target = exporter_url.removeprefix("http://")
    alertmanager, prometheus = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
    mails = yaml.safe_load((MONITORING / "alertmanager" / "alertmanager.yml").read_text())
    # Nobody is mailed: the receivers keep their names and lose their addresses.
    mails["receivers"] = [{"name": receiver["name"]} for receiver in mails["receivers"]]
    mails["templates"] = [str(MONITORING / "alertmanager" / "templates" / "*.tmpl")]
    rules = yaml.safe_load((MONITORING / "prometheus" / "rules" / "iceberg-offload-alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = f"{max(_seconds(rule['for']) * 1000 // speed, 1)}ms"
    settings = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
    settings["global"] |= {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "200ms"}
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
        yield Watch(f"http://{prometheus}", f"http://{alertmanager}")


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
