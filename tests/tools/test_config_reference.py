"""docs/configuration.md describes the models."""

from __future__ import annotations

import re

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
            assert len([entry for entry in entries() if re.match(rf"- `{name}`: [^.]+; [^.]+\. \S", entry)]) == 1, name


def test_limits_and_defaults_are_shown():
    for start in (
        "- `audit_hours`: whole number, ≥ 1, ≤ 744; default: `6`. ",
        "- `partition`: `hour`, `day`, `month` or `year`; default: `day`. ",
        "- `source`: text; required. ",
    ):
        assert any(entry.startswith(start) for entry in entries()), start


def entries() -> list[str]:
    """The list items of the reference, each on one line."""
    return [line for line in reference().replace("\n  ", " ").splitlines() if line.startswith("- ")]
