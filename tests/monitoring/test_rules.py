"""The rules, checked by Prometheus' own tool, and what each rule must tell the person who is paged."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from tests.support.stack.prometheus import MONITORING, needs_prometheus

pytestmark = needs_prometheus
FOLDER = MONITORING / "prometheus" / "rules"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "iceberg-offload-alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
TESTS = sorted(FOLDER.glob("*_test.yml"))
_STABLE_ALERTS = {
    "IcebergOffloadConsecutiveFailures": "critical",
    "IcebergOffloadLagCritical": "critical",
    "IcebergOffloadLagElevated": "warning",
    "IcebergOffloadCycleTooSlow": "critical",
    "IcebergOffloadCycleSlow": "warning",
    "IcebergOffloadWatermarkStale": "critical",
    "IcebergOffloadSchedulerDown": "critical",
}
"""Alerts that users depend on, with their severities."""
_RUNBOOKS = {
    "iceberg-offload-failure.md",
    "iceberg-offload-lag.md",
    "iceberg-offload-performance.md",
    "iceberg-offload-watermark-recovery.md",
    "iceberg-scheduler-recovery.md",
}


def promtool(*arguments: str) -> None:
    result = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_configuration_is_valid():
    promtool("check", "config", "--lint-fatal", "../prometheus.yml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_each_alert_fires_when_it_should_and_only_then_and_ends(file):
    promtool("test", "rules", file.name)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_is_tested_and_says_what_to_do(rule):
    tests = "\n".join(file.read_text() for file in TESTS)

    assert rule["alert"] in tests
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"].rpartition("/")[2] in _RUNBOOKS


def test_the_seven_alerts_that_users_depend_on_have_their_names_and_severities():
    assert {rule["alert"]: rule["labels"]["severity"] for rule in RULES}.items() >= _STABLE_ALERTS.items()


def test_every_metric_that_a_rule_reads_is_one_that_the_exporter_has(exported_names):
    read = {
        name
        for rule in RULES
        for name in re.findall(r"\b(?:offload|watermark)_[a-z_]+\b", rule["expr"] + str(rule["annotations"]))
    }

    assert read
    assert read <= exported_names
