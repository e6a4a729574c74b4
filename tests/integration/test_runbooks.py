"""Every command of docs/runbooks, given to a stack that has the trouble it is for. `make test-long` runs it."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents.runbooks import CLICKHOUSE_SQL, LEDGER_SQL, PRODUCTION, SHELL, Block, blocks
from tests.support.stack.runbook_stack import TROUBLES, RunbookStack, runbook_stack

pytestmark = pytest.mark.full
"""In every run, tests/test_runbook_documents.py has Airflow's commands read by Airflow's own parser."""


def _commands(*languages: str) -> list[object]:
    """Each command once, the quick form of it where there is one; those that leave things changed come last."""
    found: dict[tuple[str, str, int], Block] = {}
    every = [command for block in blocks() if block.language in languages for command in block.commands]
    for command in sorted(every, key=lambda command: command.is_full):
        found.setdefault((command.typed, command.needs, command.exit), command)
    order = list(TROUBLES)
    return [
        pytest.param(command, id=str(command))
        for command in sorted(found.values(), key=lambda command: order.index(command.needs))
    ]


@pytest.fixture(scope="module")
def operated() -> Iterator[RunbookStack]:
    """One stack for all of them."""
    with (
        tempfile.TemporaryDirectory(prefix="offload-runbooks-", ignore_cleanup_errors=True) as folder,
        runbook_stack(Path(folder)) as found,
    ):
        yield found


@pytest.mark.parametrize("command", _commands(LEDGER_SQL, CLICKHOUSE_SQL, SHELL))
def test_each_command_ends_as_its_runbook_says(operated: RunbookStack, command: Block) -> None:
    with operated.troubled(command.needs):
        if command.language == LEDGER_SQL:
            assert operated.ask_ledger(command.text)
        elif command.language == CLICKHOUSE_SQL:
            operated.ask_clickhouse(command.text)
        else:
            ended = operated.give(command)
            told = f"{command.text}\n{ended.stdout}\n{ended.stderr}"
            assert ended.returncode == command.exit, told
            assert "Traceback" not in told
        operated.calm()


SERVERS_OWN = {
    command.typed
    for block in blocks()
    if block.language == PRODUCTION
    for command in block.commands
    if re.search(r" exec (postgres|clickhouse) ", command.text)
}


@pytest.mark.parametrize("command", sorted(SERVERS_OWN))
def test_each_command_of_a_servers_own_is_understood_by_that_server(operated: RunbookStack, command: str) -> None:
    operated.mend("")
    service, inner = re.fullmatch(r"docker compose exec (postgres|clickhouse) (.*)", command).groups()
    if service == "clickhouse":
        words = shlex.split(inner)
        assert words[0] == "clickhouse-client"
        options = dict(zip(words[1::2], words[2::2], strict=True))
        assert options.keys() <= {"--database", "--query"}
        operated.ask_clickhouse(options.get("--query", "SELECT 1"))
    else:
        assert operated.in_postgres_container(inner) == 0
