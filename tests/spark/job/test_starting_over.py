"""An attempt starts over a few times if something else keeps moving its table; a zombie does not."""

from __future__ import annotations

import os
import subprocess

import pytest

from install.layout import Layout
from offload_core.config.connections import CONNECTIONS_ENV, Connections, PostgresConnection
from tests.support.checkout import CHECKOUT

_SCRIPT = """
import os, sys
from contextlib import closing
from types import SimpleNamespace
import offload_spark.job.job as job
from offload_core.config.connections import load_connections
from offload_core.errors import StartOver
from offload_core.jobs.arguments import JobArguments
from offload_core.ledger.session import connect
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES

connections, starts = load_connections(os.environ), 0

class Moving:
    def __init__(self, arguments, connections, ledger):
        pass

    def run(self):
        global starts
        starts += 1
        if sys.argv[1] == "zombie":
            with closing(connect(connections.postgres)) as other:
                name = "offload % moving try %"
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s", (name,)
                )
        if sys.argv[1] == "once" and starts == 2:
            return job.JobResult(5, SimpleNamespace(window_lower=None, window_upper=None))
        raise StartOver("The table moved.", "Start over.")

job.Offload = Moving
try:
    job.run(JobArguments(DEFAULT_TABLES[0], Settings(), run_id="moving"), connections)
    print("ended well after", starts)
except StartOver:
    print("gave up after", starts)
"""


@pytest.mark.parametrize(
    ("case", "outcome"), [("once", "ended well after 2"), ("always", "gave up after 3"), ("zombie", "gave up after 1")]
)
def test_an_attempt_begins_again_up_to_two_times_and_only_while_its_session_lives(
    servers: Connections, ledger_database: PostgresConnection, case: str, outcome: str
) -> None:
    connections = servers.model_copy(update={"postgres": ledger_database})
    python_path = os.pathsep.join([str(CHECKOUT / "plugins"), str(CHECKOUT / "include" / "spark")])
    ended = subprocess.run(
        [str(Layout.of_checkout().python("spark")), "-c", _SCRIPT, case],
        env={**os.environ, "PYTHONPATH": python_path, CONNECTIONS_ENV: connections.with_secrets_json()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout.splitlines()[-1:] == [outcome], ended.stdout + ended.stderr
