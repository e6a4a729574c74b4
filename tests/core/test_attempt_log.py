"""The line of one attempt."""

from __future__ import annotations

import json
import shlex
from datetime import datetime, timezone

from offload_core.attempt_log import attempt_line

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def test_it_has_what_is_known_and_nothing_else() -> None:
    line = attempt_line("trades", "run:1", 2, "success", window=(None, NOON), rows=120, seconds=3.456)

    assert line == (
        "ATTEMPT table=trades run_id=run:1 attempt=2 outcome=success window_to=2026-03-01T12:00:00+00:00 rows=120 "
        "seconds=3.46"
    )
    assert attempt_line("trades", "run", 1, "spark") == "ATTEMPT table=trades run_id=run attempt=1 outcome=spark"


def test_a_runs_id_can_make_up_neither_a_line_nor_a_field() -> None:
    sly = 'a" outcome=success\nATTEMPT table=x'

    line = attempt_line("trades", sly, 1, "spark")

    assert len(line.splitlines()) == 1
    _, _, quoted, *_ = shlex.split(line.replace("\\n", "\\\\n"))
    assert quoted.startswith("run_id=")
    assert json.dumps(sly) in line
