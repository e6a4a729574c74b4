"""`make bench`: what it measures, what its report says, and that its comparison with other routes is correct."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import typer

from benchmarks import side_by_side as side_by_side_module
from benchmarks.__main__ import measure_cases, select_names, write
from benchmarks.bench_stack import yesterday
from benchmarks.cases import CASES
from benchmarks.left_running import LeftRunning
from benchmarks.loads import Load
from benchmarks.markdown import render
from benchmarks.measure import Command, CommandFailed, Cost, measure, run_at_once
from benchmarks.plan import BenchPlan, Case
from benchmarks.results import BenchReport, BenchResult, ParityVerdict
from benchmarks.route import Route, RouteJob
from benchmarks.routes import ROUTES
from benchmarks.side_by_side import measure_routes
from benchmarks.targets import targets
from install.layout import Layout
from offload_core.config.tables import DEFAULT_TABLES
from offload_spark.fetch.clickhouse_source import PARQUET
from tests.support.checkout import CHECKOUT

NOW = "2026-11-21T20:00:00+00:00"
EARLIER = "2026-11-20T20:00:00+00:00"
WHATS = {name: route.what for name, route in ROUTES.items()}


def result(case: str, route: str, wall: float, **changes: object) -> BenchResult:
    costs = [Cost(wall, 1.0, 0.5)]
    return replace(BenchResult.of(case, route, 10_000_000, costs, 300.0, ParityVerdict(True), NOW), **changes)


def page(*results: BenchResult) -> str:
    return render(BenchReport({"cores": 2}, {"spark": "4.0.5"}, list(results)), CASES, WHATS)


def reached(*results: BenchResult) -> dict[tuple[str, str], bool | None]:
    found = targets({(one.case, one.route): one for one in results})
    return {(target.case, target.target): target.reached for target in found}


# The report


def test_the_report_shows_throughput_and_the_ratio_to_ours():
    text = page(result("window-10m", "ours", 5.0), result("window-10m", "dlt", 20.0))

    assert "| ours | 10,000,000 | 1 | 5.00 | 1.00 | 1.00 | 0.50 | 2,000,000 | 6,666,667 | 300 | equal |" in text
    assert "| dlt | 10,000,000 | 1 | 20.00 | 4.00 |" in text
    assert "cores 2" in text
    assert "spark 4.0.5" in text
    assert f"- `sling`: {WHATS['sling']}." in text


def test_the_report_shows_other_values_and_failures():
    rounded = result("window-10m", "dlt", 20.0, parity=False, note="other values in price (double)")
    failed = BenchResult.failed("window-10m", "sling", 10_000_000, "fatal: no | memory", NOW)

    text = page(result("window-10m", "ours", 5.0), rounded, failed)

    assert "| ends with other values: other values in price (double) |" in text
    assert r"| sling | 10,000,000 | 0 | - | - | - | - | - | - | - | fails: fatal: no \| memory |" in text


def test_a_result_of_another_run_is_not_compared():
    text = page(result("window-10m", "ours", 5.0), result("window-10m", "dlt", 20.0, measured_at=EARLIER))

    assert "| dlt | 10,000,000 | 1 | 20.00 | - |" in text
    assert "must not be compared: 2026-11-20 20:00 UTC, 2026-11-21 20:00 UTC" in text


def test_targets_are_reached_not_reached_or_unknown():
    ours = result("window-10m", "ours", 5.0)
    found = reached(ours, result("cycle-9", "ours", 15.1))

    assert found["window-10m", "at least 2,000,000 rows/s"] is True
    assert found["window-10m", "at most 1,000 MB"] is True
    assert found["cycle-9", "at most 15 s"] is False
    assert reached(result("cycle-9", "ours", 15.0))["cycle-9", "at most 15 s"] is True
    assert found["bronze-2x100k", "at most 2.5 s"] is None
    assert reached(replace(ours, wall_s=5.1))["window-10m", "at least 2,000,000 rows/s"] is False
    assert reached(replace(ours, parity=False))["window-10m", "at least 2,000,000 rows/s"] is None


def test_peers_count_only_with_correct_tables_and_measured_side_by_side():
    target = ("window-10m", "not slower than any peer with correct tables")
    ours, quicker = result("window-10m", "ours", 5.0), result("window-10m", "dlt", 4.0)
    slower = result("window-10m", "pyiceberg", 6.0)

    assert reached(ours, slower)[target] is True
    assert reached(ours, slower, quicker)[target] is False
    assert reached(ours, slower, replace(quicker, parity=False))[target] is True
    assert reached(ours, slower, replace(quicker, measured_at=EARLIER))[target] is True
    assert reached(ours, result("window-10m", "floor", 1.0))[target] is None


@pytest.mark.parametrize(("wall", "expected"), [(2.2, True), (2.3, False)])
def test_the_cost_of_a_large_table_is_its_ratio_to_an_empty_one(wall, expected):
    empty, large = result("increment-into-empty", "ours", 2.0), result("increment-into-100m", "ours", wall)
    target = ("increment-into-100m", "at most 1.1 times the same into an empty table")

    assert reached(empty, large)[target] is expected
    assert reached(replace(empty, measured_at=EARLIER), large)[target] is None


def test_a_partial_run_keeps_the_other_results_with_their_dates(tmp_path):
    about = BenchReport({"cores": 2}, {"spark": "4.0.5"}, [])
    write(tmp_path, about, [result("window-10m", "ours", 9.0, measured_at=EARLIER)])
    write(tmp_path, about, [result("cycle-9", "ours", 14.0, measured_at=EARLIER)])
    write(tmp_path, about, [result("window-10m", "ours", 5.0), result("window-10m", "dlt", 20.0)])

    data = json.loads((tmp_path / "report.json").read_text())

    found = [(row["case"], row["route"], row["wall_s"], row["measured_at"]) for row in data["results"]]
    assert found == [
        ("cycle-9", "ours", 14.0, EARLIER),
        ("window-10m", "ours", 5.0, NOW),
        ("window-10m", "dlt", 20.0, NOW),
    ]
    assert data["results"][1]["rows_per_s"] == 2_000_000
    assert data["machine"] == {"cores": 2}
    assert "## cycle-9" in (tmp_path / "report.md").read_text()


def test_a_report_with_an_older_format_is_replaced(tmp_path):
    (tmp_path / "report.json").write_text('{"machine": {}, "results": [{"case": "cycle-9", "wall": 3}]}')

    assert BenchReport.read(tmp_path / "report.json").results == []


# What is requested


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (None, ["ours", "floor", "dlt"]),
        (["dlt", "ours"], ["ours", "dlt"]),
        (["dlt,ours"], ["ours", "dlt"]),
        (["dlt floor"], ["floor", "dlt"]),
    ],
)
def test_names_may_be_chosen_in_any_way(requested, expected):
    assert select_names(requested, ["ours", "floor", "dlt"], "route") == expected


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(typer.BadParameter, match="no route spork; choose from ours, floor"):
        select_names(["spork"], ["ours", "floor"], "route")


def test_cases_that_no_chosen_route_supports_are_left_out(monkeypatch):
    measured = []

    def measure(cases, plan):
        measured.append([(case.name, case.routes_of(plan)) for case in cases])
        return [result(case.name, "ours", 1.0) for case in cases]

    for name, case in CASES.items():
        monkeypatch.setitem(CASES, name, replace(case, measure=measure))

    found = list(measure_cases(plan(cases=("cycle-9", "window-1m", "window-5m"), routes=("dlt", "sling"))))

    assert measured == [[("window-1m", ["dlt", "sling"]), ("window-5m", ["dlt", "sling"])]]
    assert [one.case for one in found] == ["window-1m", "window-5m"]


def plan(**changes: object) -> BenchPlan:
    return replace(BenchPlan(("window-100k",), tuple(ROUTES), 2, NOW, lambda _: None), **changes)


# Measuring


def python(code: str) -> Command:
    return Command([sys.executable, "-c", code], dict(os.environ))


def test_the_time_of_a_command_includes_its_child_processes():
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    cost = run_at_once([python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])")], [])

    assert cost.cpu_s >= 0.3
    assert cost.wall_s >= 0.3
    assert cost.server_cpu_s == 0


def test_the_memory_of_commands_is_the_sum_of_parallel_ones():
    large = python("import time; block = b'x' * 60_000_000; time.sleep(1)")

    assert run_at_once([large, large], [], measure_memory=True).peak_mb > 120


def test_a_failed_command_is_an_error_with_its_output():
    with pytest.raises(CommandFailed, match="out of order"):
        run_at_once([python("import sys; sys.exit('out of order')")], [])


class OneTable(Load):
    """A load without servers: the routes' metadata is either `right` or names a wrong column."""

    def verdict(self, bench, metadata):  # noqa: ARG002
        return ParityVerdict(metadata == "right", "" if metadata == "right" else f"other values in {metadata}")


class Program(Route):
    """A route that runs a line of Python, whose table is right or has other values in a column."""

    def __init__(self, name: str, code: str, seen: list[str], *tables: str, is_peer: bool = True) -> None:
        self.name, self.what, self.is_peer = name, name, is_peer
        self._code, self._seen, self._tables = code, seen, tables or ("right",) * 3

    def set_up(self, bench):  # noqa: ARG002
        self._seen.append(f"set up {self.name}")

    def prepare(self, bench, load):  # noqa: ARG002
        self._seen.append(f"{self.name} {load.number}")
        return RouteJob(
            python(self._code), lambda: self._tables[load.number], lambda: self._seen.append(f"discard {self.name}")
        )


def side_by_side(*routes: Program) -> dict[str, BenchResult]:
    known = {route.name: route for route in routes}
    case = Case("window-100k", "", tuple(known), lambda *_: [])
    bench = SimpleNamespace(servers=list)

    def loads(number):
        return [OneTable(DEFAULT_TABLES[0], yesterday(1), yesterday(2), 100, number)]

    return {one.route: one for one in measure_routes(bench, case, plan(routes=tuple(known)), known, loads)}


def test_routes_take_turns_and_their_tables_are_compared_and_deleted():
    seen = []
    ours, dlt = Program("ours", "pass", seen, is_peer=False), Program("dlt", "pass", seen, "right", "right", "price")
    found = side_by_side(ours, dlt)

    assert seen[:2] == ["set up ours", "set up dlt"]
    turns = [line for line in seen if line[-1].isdigit()]
    assert turns == ["ours 0", "dlt 0", "ours 1", "dlt 1", "ours 2", "dlt 2"]
    assert seen.count("discard ours") == seen.count("discard dlt") == 3
    assert (found["ours"].runs, found["ours"].rows, found["ours"].parity) == (2, 100, True)
    assert (found["dlt"].parity, found["dlt"].note) == (False, "other values in price")


def test_a_peer_that_fails_is_a_result_and_the_others_continue():
    seen = []
    broken = Program("dlt", "import sys; print('reading'); sys.exit('MemoryError: too much')", seen)
    found = side_by_side(Program("ours", "pass", seen, is_peer=False), broken)

    assert found["ours"].runs == 2
    assert (found["dlt"].runs, found["dlt"].wall_s, found["dlt"].parity) == (0, None, None)
    assert found["dlt"].note == "MemoryError: too much"
    assert "dlt 1" not in seen


def test_a_slow_peer_is_measured_less_often(monkeypatch):
    monkeypatch.setattr(side_by_side_module, "_PATIENCE_SECONDS", 0.0)
    found = side_by_side(Program("ours", "pass", [], is_peer=False), Program("dlt", "pass", []))

    assert (found["ours"].runs, found["dlt"].runs) == (2, 1)


def test_a_very_slow_peer_does_not_run_twice(monkeypatch):
    monkeypatch.setattr(side_by_side_module, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(side_by_side_module, "_SLOW_SECONDS", 0.0)
    seen = []
    found = side_by_side(
        Program("ours", "pass", seen, is_peer=False), Program("dlt", "import time; time.sleep(0.5)", seen)
    )

    assert (found["ours"].runs, found["dlt"].runs) == (2, 1)
    assert found["dlt"].peak_mb > 0
    assert "dlt 1" not in seen


def test_a_failure_of_the_offload_ends_the_benchmark():
    with pytest.raises(CommandFailed, match="no such table"):
        side_by_side(Program("ours", "import sys; sys.exit('no such table')", [], is_peer=False))


# Whole cycles


LEFT_RUNNING = """
import os, pathlib, sys, time
home = pathlib.Path(sys.argv[1])
os.fork()
while time.process_time() < 0.5:
    pass
(home / f"worked_{os.getpid()}").touch()
while not (home / "enough").exists():
    time.sleep(0.05)
"""
SCHEDULER = """
import pathlib, signal, subprocess, sys, time
while not (pathlib.Path(sys.argv[1]) / "begin").exists():
    time.sleep(0.05)
subprocess.run(["setsid", "-f", sys.executable, *sys.argv[2:], sys.argv[1]])
signal.pause()
"""


def test_processes_that_a_task_leaves_running_count_once_and_are_waited_for(tmp_path):
    def until_both_have_worked():
        (tmp_path / "begin").touch()
        while len(list(tmp_path.glob("worked_*"))) < 2:
            time.sleep(0.05)

    scheduler = subprocess.Popen([sys.executable, "-c", SCHEDULER, str(tmp_path), "-c", LEFT_RUNNING])
    try:
        tree = [psutil.Process(scheduler.pid)]
        left = LeftRunning(tmp_path, tree)
        assert left() == []

        cost = measure(until_both_have_worked, lambda: [*tree, *left()], [])
        assert 0.9 < cost.cpu_s < 1.4
        assert len(left()) == 1

        (tmp_path / "enough").touch()
        left.wait_for_end()
        assert left() == []
    finally:
        (tmp_path / "enough").touch()
        scheduler.kill()
        scheduler.wait()


# The real thing


def test_the_floor_writes_files_with_the_same_settings_as_the_offload():
    """The module is parsed, because only pyiceberg's environment can import it."""
    program = ast.parse((CHECKOUT / "benchmarks" / "peers" / "floor.py").read_text())

    (settings,) = [
        ast.literal_eval(node.value)
        for node in program.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_SETTINGS"
    ]

    assert settings == PARQUET


@pytest.mark.full
@pytest.mark.integration
def test_every_route_brings_100_000_rows_and_ends_with_equal_tables(tmp_path):
    run_in_devstack("benchmarks", "--case", "window-100k", "--runs", "1", "--folder", str(tmp_path))

    found = {row["route"]: row for row in json.loads((tmp_path / "report.json").read_text())["results"]}
    assert list(found) == list(ROUTES)
    for route, row in found.items():
        assert (row["parity"], row["note"], row["runs"]) == (True, "", 1), route
        assert row["wall_s"] > 0
        assert row["cpu_s"] > 0
        assert row["peak_mb"] > 50, route


@pytest.mark.full
@pytest.mark.integration
def test_changed_values_and_missing_rows_are_reported_by_column_and_number():
    answer = run_in_devstack("tests.support.documents.bench_differences").stdout

    rounded, half, right = json.loads(answer)
    assert rounded == {"parity": False, "note": "other values in price (decimal128(38, 8))"}
    assert half["parity"] is False
    assert re.fullmatch(r"[45],\d{3} rows instead of 10,000", half["note"])
    assert right == {"parity": True, "note": ""}


def run_in_devstack(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module in the devstack environment."""
    layout = Layout.of_checkout()
    environ = {**os.environ, "PYTHONPATH": f"{layout.checkout / 'plugins'}:{layout.checkout}"}
    command = [str(layout.python("devstack")), "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=layout.checkout, env=environ, check=False, timeout=900, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done
