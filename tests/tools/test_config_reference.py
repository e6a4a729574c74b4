"""docs/configuration.md says what the models say."""

from __future__ import annotations

from offload_core.config.lag import LagMinutes
from offload_core.config.settings import Settings
from offload_core.config.tables import TableConfig
from tests.support.checkout import CHECKOUT
from tools.config_reference import reference

WRITTEN = CHECKOUT / "docs" / "configuration.md"


def test_the_written_reference_is_that_of_the_models():
    assert WRITTEN.read_text() == reference(), "run `make docs`"


def test_every_field_is_there_with_a_meaning():
    for model in (TableConfig, Settings, LagMinutes):
        for name in model.model_fields:
            (row,) = [line for line in reference().splitlines() if line.startswith(f"| `{name}` |")]
            assert not row.endswith("|  |"), name


def test_limits_and_defaults_are_told():
    rows = [line for line in reference().splitlines() if line.startswith("|")]
    assert any(row.startswith("| `audit_hours` | whole number, ≥ 1, ≤ 744 | `6` | How many hours ") for row in rows)
    assert any(row.startswith("| `partition` | `hour`, `day`, `month` or `year` | `day` |") for row in rows)
