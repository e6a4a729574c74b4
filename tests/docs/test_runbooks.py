"""The runbooks name only what exists. tests/integration/test_runbooks.py runs their commands."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser

import pytest
import yaml

from offload_core import errors
from offload_ops.alerts.cause import Runbook
from tests.support.checkout import CHECKOUT
from tests.support.documents.runbooks import (
    FILES,
    FOLDER,
    PRODUCTION,
    SHELL,
    anchors,
    blocks,
    headings,
    links,
    table_rows,
)

INDEX = FOLDER / "README.md"
RUNBOOKS = sorted(set(FILES) - {INDEX})
RULES = [
    rule
    for group in yaml.safe_load((CHECKOUT / "monitoring/prometheus/rules/iceberg-offload-alerts.yml").read_text())[
        "groups"
    ]
    for rule in group["rules"]
]
SERVICES = {
    "airflow-scheduler",
    "airflow-webserver",
    "postgres",
    "clickhouse",
    "spark-master",
    "spark-worker",
    "exporter",
    "prometheus",
    "alertmanager",
    "grafana",
}
SERVERS_OWN = {"psql", "pg_isready", "clickhouse-client"}
"""Commands that only the servers' containers have; the integration test gives them to the same servers."""
PARTS = [
    "**Severity**",
    "**Respond**",
    "**MTTR**",
    "**Escalate**",
    "**Symptoms.**",
    "**Users**",
    "**Prevention.**",
    "**Monitoring.**",
]
SECTIONS = ["Fastest path", "Diagnosis", "Afterwards", "Escalation"]
SCENARIOS = {
    "iceberg-scheduler-recovery.md": {1: "not started", 2: "crashed", 3: "hung", 4: "metrics", 5: "start"},
    "iceberg-offload-lag.md": {1: "skipped", 2: "not move", 3: "spike", 4: "catch up"},
    "iceberg-offload-failure.md": {2: "ClickHouse", 3: "Spark", 5: "timeouts"},
    "iceberg-offload-performance.md": {1: "spike"},
    "iceberg-offload-watermark-recovery.md": {2: "PostgreSQL"},
}
"""Scenarios whose numbers people know (R137-R141, R146-R149, R151-R153)."""
INDEXED = {
    "start after a reboot": [5],
    "timeouts": [1, 3],
    "hour behind": [2, 1, 5],
    "12 minutes": [3, 2],
    "two hours": [4, 5, 1],
    "dashboard is empty": [5],
    "ClickHouse can't be reached": [1, 5],
    "Spark crashes": [1],
    "10 million rows": [3, 2],
    "PostgreSQL fails": [4, 1],
}
"""What happens, and the runbooks in their order (R154)."""
LEFT_BEHIND = r"(?i)prefect|systemctl|systemd|journalctl|docker\.sock|pkill|k2-\w+|/home/|/usr/local"
SUBSTITUTION = re.compile(r'"\$\([^)]*\)"')


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_has_a_row_at_the_top_of_the_runbook_that_it_links(rule):
    runbook = FOLDER / rule["annotations"]["runbook_url"].rpartition("/")[2]

    named = " ".join(row[0] for row in table_rows(runbook))
    assert f"`{rule['alert']}`" in named
    assert rule["alert"].removeprefix("IcebergOffload") in INDEX.read_text()


def test_each_runbook_that_mails_link_is_there():
    assert {runbook.value for runbook in Runbook} == {path.name for path in RUNBOOKS}


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_each_runbook_has_all_that_one_needs_at_night(path):
    text = path.read_text()

    assert [part for part in PARTS if part not in text] == []
    assert [section for section in SECTIONS if section not in headings(path)] == []
    assert ["after", "do"] in table_rows(path), "the fastest path has no time marks"
    for number, what in SCENARIOS[path.name].items():
        (heading,) = [heading for heading in headings(path) if heading.startswith(f"Scenario {number}:")]
        assert what.lower() in heading.lower()


def test_each_kind_of_error_has_a_row():
    classes = [errors.OffloadError]
    for error in classes:
        classes += error.__subclasses__()
    # Others that tests or Airflow's side define never reach the ledger.
    classes = [error for error in classes if error.__module__ == errors.__name__]
    kinds = {vars(error).get("kind") for error in classes} - {None, errors.OffloadError.kind, errors.TableHalted.kind}

    named = " ".join(row[0] for row in table_rows(FOLDER / Runbook.FAILURE.value))
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in named] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_link_leads_somewhere(path):
    inside = [link for link in links(path) if "://" not in link]
    assert inside

    for link in inside:
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("what", INDEXED)
def test_the_index_knows_the_runbooks_of_what_happens(what):
    ((_, runbooks),) = [row for row in table_rows(INDEX) if what in row[0]]

    assert [int(number) for number in re.findall(r"\[(\d)", runbooks)] == INDEXED[what]


def test_nothing_of_another_orchestrator_or_machine_is_left():
    found = [f"{path.name}: {match[0]}" for path in FILES for match in re.finditer(LEFT_BEHIND, path.read_text())]

    assert found == []


@pytest.fixture(scope="module")
def airflow_parser() -> ArgumentParser:
    """Airflow's own."""
    from airflow.cli.cli_parser import get_parser

    return get_parser()


def _airflow_commands() -> list[str]:
    """Every call of Airflow's command line in the runbooks, with a time for what the shell would put in."""
    lines = [
        line
        for block in blocks()
        if block.language == SHELL
        for line in SUBSTITUTION.sub("2026-11-20T10:00:00+00:00", block.text).replace("\\\n", " ").splitlines()
    ]
    return sorted({call.strip() for line in lines for call in re.findall(r"(?:^|\$\()(airflow [^|#)]+)", line)})


@pytest.mark.parametrize("command", _airflow_commands())
def test_airflow_understands_each_command(airflow_parser, command):
    airflow_parser.parse_args(shlex.split(command)[1:])


PRODUCTION_COMMANDS = [command for block in blocks() if block.language == PRODUCTION for command in block.commands]
TRIED = {command.typed for block in blocks() if block.language == SHELL for command in block.commands}


@pytest.mark.parametrize("command", PRODUCTION_COMMANDS, ids=str)
def test_each_production_command_names_services_that_are_there_and_does_what_is_tried_elsewhere(command):
    words = shlex.split(command.text, comments=True)
    if words[:2] == ["docker", "compose"]:
        verb, rest = words[2], words[3:]
        if verb == "exec":
            assert rest[0] in SERVICES
            inner = command.typed.partition(f" exec {rest[0]} ")[2]
            assert inner in TRIED or any(tool in shlex.split(" ".join(rest[1:])) for tool in SERVERS_OWN)
        else:
            options = {"ps": 0, "up": 1, "restart": 0, "kill": 0, "logs": 2}[verb]
            assert set(rest[options:]) <= SERVICES
            assert rest[options:] or verb == "ps"
    else:
        assert words == ["docker", "stats", "--no-stream"] or words[0] == "export"
