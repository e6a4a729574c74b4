"""`python -m benchmarks.layout` runs each of its comparisons to a table."""

from __future__ import annotations

import os
import subprocess

import pytest

from install.layout import Layout
from tests.support.checkout import CHECKOUT


def layout_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    python = str(Layout.of_checkout().python("devstack"))
    path = os.pathsep.join(["plugins", os.path.join("include", "spark"), "."])
    return subprocess.run(
        [python, "-m", "benchmarks.layout", *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_an_unknown_variant_is_refused_with_the_known_ones() -> None:
    result = layout_benchmark("files", "--only", "zstd level 77")
    assert result.returncode == 2
    output = " ".join(result.stdout.split() + result.stderr.split())
    assert "zstd level 77" in output
    assert "as shipped" in output


@pytest.mark.full
@pytest.mark.integration
@pytest.mark.parametrize("comparison", ["files", "compaction", "load"])
def test_a_comparison_ends_with_a_line_for_each_variant(comparison: str) -> None:
    result = layout_benchmark(comparison, "--rows", "20000", "--rounds", "1", "--only", "as shipped")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if "as shipped" in line]
    assert len(lines) == (1 if comparison == "load" else 3), result.stdout
