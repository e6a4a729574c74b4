"""How the operator's command shows its results to people."""

from __future__ import annotations

import pytest

from offload_ops.cli.output import Fields, print_results


def finding(check: str, state: str = "ok", found: str = "normal: last offloaded 4 min ago.") -> Fields:
    return {"check": check, "state": state, "finding": found, "what_to_do": None, "seconds": 0.1}


def test_tables_of_which_the_same_is_said_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        finding("3 lag: one"),
        finding("3 lag: two"),
        finding("3 lag: three", "RED", "Halted since noon."),
        finding("3 lag: four"),
        finding("5 failures"),
    ]

    print_results(rows, as_json=False)
    print_results(rows, as_json=True)

    table, _, text = capsys.readouterr().out.partition("[\n")
    shown = [line.split("  ")[1] for line in table.splitlines() if "  3 lag" in line or "  5 fail" in line]
    assert shown == ["3 lag: 2 tables", "3 lag: three", "3 lag: four", "5 failures"]
    assert "3 lag: one" in text
    assert "3 lag: two" in text
