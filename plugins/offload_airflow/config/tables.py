"""Tables and settings from Airflow's Variables, or the shipped defaults.

DAG files read them when they are parsed, and tasks again when they run. So an edit applies without a restart.
"""

from __future__ import annotations

from collections.abc import Sequence

from offload_airflow.compat.secrets import find_variable
from offload_core.config.settings import SETTINGS_VARIABLE, Settings, parse_settings
from offload_core.config.tables import (
    DEFAULT_TABLES,
    TABLES_VARIABLE,
    InvalidTable,
    Layer,
    TableConfig,
    parse_tables,
    switched_on,
)

# DAG files import from this package only.
__all__ = ["Layer", "find_entry", "find_table", "load_settings", "load_tables"]


def load_settings() -> Settings:
    """The Variable `iceberg_offload_settings`, or the defaults while it is not set.

    Raises:
        FixConfiguration: it does not hold valid settings; the message names the field.
    """
    text = find_variable(SETTINGS_VARIABLE)
    return Settings() if text is None else parse_settings(text)


def load_tables() -> Sequence[TableConfig | InvalidTable]:
    """The Variable `iceberg_offload_tables`, or the nine shipped tables while it is not set.

    Raises:
        FixConfiguration: it is not a JSON list.
    """
    text = find_variable(TABLES_VARIABLE)
    return DEFAULT_TABLES if text is None else parse_tables(text)


def find_entry(name: str) -> TableConfig | InvalidTable | None:
    """A table's current entry; None if it has been disabled or removed since the DAG was parsed.

    Raises:
        FixConfiguration: the Variable is not a JSON list.
    """
    return next((table for table in switched_on(load_tables()) if table.name == name), None)


def find_table(name: str) -> TableConfig | None:
    """A table's current entry, which must be valid; None if it has been disabled or removed since the DAG was parsed.

    Raises:
        FixConfiguration: the entry is wrong; the message names the field and the reason.
    """
    table = find_entry(name)
    if isinstance(table, InvalidTable):
        raise table.error()
    return table
