"""docs/monitoring.md describes exactly the metrics that the exporter has."""

from __future__ import annotations

import re

from tests.support.checkout import CHECKOUT


def test_the_document_lists_every_metric_and_no_other(exported_names: set[str]):
    assert _documented_names() == exported_names


def _documented_names() -> set[str]:
    """The names in the table of metrics; `_bytes` after `offload_table_files` is short for `offload_table_bytes`."""
    section = (CHECKOUT / "docs" / "monitoring.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    names: set[str] = set()
    for cell in cells:
        full, *short = re.findall(r"`(\w+)", cell)
        prefix = full.rpartition("_")[0]
        names |= {full, *(f"{prefix}{name}" if name.startswith("_") else name for name in short)}
    # Prometheus makes this one itself.
    return names - {"up"}
