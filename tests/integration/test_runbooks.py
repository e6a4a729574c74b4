"""Every command of docs/runbooks, on a stack in the situation it is for. `make test-long` runs it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from tests.support.documents.runbooks import CLICKHOUSE_SQL, LEDGER_SQL, PRODUCTION, SHELL, Block, blocks
from tests.support.reaper import temporary_folder
from tests.support.stack.runbook_stack import SITUATIONS, RunbookStack, runbook_stack

pytestmark = pytest.mark.full
"""In every run, tests/docs/test_runbooks.py has Airflow's own parser read Airflow's commands."""


def _commands(*languages: str) -> list[object]:
    """Each command once, in its quick form if there is one. Those whose changes stay come last."""
    found: dict[tuple[str, str, int], Block] = {}
    every = [command for block in blocks() if block.language in languages for command in block.commands]
    for command in sorted(every, key=lambda command: command.is_full):
        found.setdefault((command.typed, command.needs, command.exit), command)
    order = list(SITUATIONS)
    return [
        pytest.param(command, id=str(command))
        for command in sorted(found.values(), key=lambda command: order.index(command.needs))
    ]


@pytest.fixture(scope="module")
def runbooks() -> Iterator[RunbookStack]:
    """One stack for all commands."""
    with temporary_folder("runbooks") as folder, runbook_stack(folder) as found:
        yield found


@pytest.mark.parametrize("command", _commands(LEDGER_SQL, CLICKHOUSE_SQL, SHELL))
def test_each_command_ends_as_its_runbook_says(runbooks: RunbookStack, command: Block) -> None:
    with runbooks.prepared(command.needs):
        if command.language == LEDGER_SQL:
            assert runbooks.query_ledger(command.text)
        elif command.language == CLICKHOUSE_SQL:
            runbooks.query_clickhouse(command.text)
        else:
            ended = runbooks.run_block(command)
            output = f"{command.text}\n{ended.stdout}\n{ended.stderr}"
            assert ended.returncode == command.exit, output
            assert "Traceback" not in output
        runbooks.clean_up()


SERVERS_OWN = {
    command.typed
    for block in blocks()
    if block.language == PRODUCTION
    for command in block.commands
    if re.search(r" exec (postgres|clickhouse) ", command.text)
}


@pytest.mark.parametrize("command", sorted(SERVERS_OWN))
def test_each_command_of_a_servers_own_is_understood_by_that_server(runbooks: RunbookStack, command: str) -> None:
    runbooks.repair("")
    service, inner = re.fullmatch(r"docker compose exec (postgres|clickhouse) (.*)", command).groups()
    if service == "clickhouse":
        words = shlex.split(inner)
        assert words[0] == "clickhouse-client"
        options = dict(zip(words[1::2], words[2::2], strict=True))
        assert options.keys() <= {"--database", "--query"}
        runbooks.query_clickhouse(options.get("--query", "SELECT 1"))
    else:
        assert runbooks.in_postgres_container(inner) == 0
