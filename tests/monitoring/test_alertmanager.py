"""Alertmanager's configuration, checked by its own tool: it is valid, and each alert has the right receiver."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from tests.support.stack.prometheus import MONITORING, needs_prometheus

pytestmark = needs_prometheus
CONFIGURATION = MONITORING / "alertmanager" / "alertmanager.yml"
RULES = MONITORING / "prometheus" / "rules" / "iceberg-offload-alerts.yml"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
_SPECIAL = {
    "IcebergOffloadDataLoss": "data-loss",
    "IcebergOffloadExpiryNear": "escalation",
    "IcebergOffloadFailureEscalation": "escalation",
}


def amtool(*arguments: str) -> str:
    result = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_configuration_is_valid():
    assert "SUCCESS" in amtool("check-config", str(CONFIGURATION))


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_goes_to_whom_its_severity_says(alert: str):
    labels = [f"{name}={value}" for name, value in ALERTS[alert]["labels"].items()]
    expected = "platform-team" if "severity=warning" in labels else "on-call"

    receiver = amtool("config", "routes", "test", f"--config.file={CONFIGURATION}", f"alertname={alert}", *labels)

    assert receiver.strip() == _SPECIAL.get(alert, expected)


def test_every_alert_that_an_inhibition_names_exists_and_no_cause_silences_itself():
    for rule in yaml.safe_load(CONFIGURATION.read_text())["inhibit_rules"]:
        sources, targets = (_matched(rule[side]) for side in ("source_matchers", "target_matchers"))
        assert sources
        assert targets
        assert not sources & targets


def test_a_dead_scheduler_silences_what_follows_from_it_and_not_what_does_not():
    rules = yaml.safe_load(CONFIGURATION.read_text())["inhibit_rules"]

    (silenced,) = [
        _matched(rule["target_matchers"])
        for rule in rules
        if rule["source_matchers"] == ["alertname = IcebergOffloadSchedulerDown"]
    ]

    assert silenced >= {
        "IcebergOffloadLagElevated",
        "IcebergOffloadLagCritical",
        "IcebergOffloadWatermarkStale",
        "IcebergOffloadCycleSlow",
        "IcebergOffloadCycleTooSlow",
        "IcebergOffloadConsecutiveFailures",
    }
    assert not silenced & {"IcebergOffloadDataLoss", "IcebergOffloadTableHalted", "IcebergOffloadExpiryNear"}


def test_no_secret_is_in_the_configuration():
    assert not re.search(r"(?m)^[^#]*(password|api_url|routing_key|token):", CONFIGURATION.read_text())


def _matched(matchers: list[str]) -> set[str]:
    """The alerts that a rule's matchers select."""
    selected = set(ALERTS)
    for matcher in matchers:
        name, operator, value = matcher.split(" ", 2)
        assert name == "alertname"
        value = value.strip('"')
        if operator in ("=", "!="):
            assert value in ALERTS
        fits = {alert for alert in ALERTS if re.fullmatch(value, alert)}
        selected &= fits if operator in ("=", "=~") else set(ALERTS) - fits
    return selected
