"""Which tables are switched on, in PostgreSQL (`offload_tables`): the offload writes it, the exporter reads it."""

from __future__ import annotations

from collections.abc import Sequence

from offload_core.config.tables import InvalidTable, TableConfig
from offload_core.ledger.session import LedgerConnection, ledger_errors

_RECORD = (
    "INSERT INTO offload_tables (pipeline_id, table_name, is_offloaded) "
    "VALUES (%(pipeline)s, %(table)s, %(is_offloaded)s) ON CONFLICT (pipeline_id, table_name) "
    "DO UPDATE SET is_offloaded = excluded.is_offloaded, told_at = excluded.told_at"
)
# A table that was taken out of the configuration leaves no trace there: what is not among its tables is switched off.
_SWITCH_OFF = (
    "UPDATE offload_tables SET is_offloaded = false, told_at = clock_timestamp() "
    "WHERE pipeline_id = %(pipeline)s AND is_offloaded AND table_name <> ALL(%(tables)s)"
)
_REMOVED = (
    "INSERT INTO offload_tables (pipeline_id, table_name, is_offloaded) "
    "SELECT DISTINCT pipeline_id, table_name, false FROM offload_watermarks "
    "WHERE pipeline_id = %(pipeline)s AND table_name <> ALL(%(tables)s) ON CONFLICT DO NOTHING"
)
_OFF = "SELECT table_name FROM offload_tables WHERE pipeline_id = %(pipeline)s AND NOT is_offloaded"


class TableRegister:
    """The register of one pipeline, over one PostgreSQL session that the caller opens and closes.

    Every method raises RunInit if the table does not exist, and LedgerUnavailable if the session breaks.
    """

    def __init__(self, session: LedgerConnection, pipeline: str) -> None:
        self._session = session
        self._pipeline = pipeline

    def record(self, tables: Sequence[TableConfig | InvalidTable]) -> None:
        """Record which configured tables are switched on; tables that only the ledger knows are switched off."""
        scope = {"pipeline": self._pipeline, "tables": [table.name for table in tables]}
        with ledger_errors(), self._session.transaction(), self._session.cursor() as cursor:
            cursor.executemany(
                _RECORD,
                [
                    {
                        "pipeline": self._pipeline,
                        "table": table.name,
                        "is_offloaded": table.is_on,
                    }
                    # In one order, so that two cycles that begin at once cannot deadlock.
                    for table in sorted(tables, key=lambda table: table.name)
                ],
            )
            cursor.execute(_SWITCH_OFF, scope)
            cursor.execute(_REMOVED, scope)

    def switched_off(self) -> set[str]:
        """The tables that are known to be switched off."""
        with ledger_errors():
            records = self._session.execute(_OFF, {"pipeline": self._pipeline}).fetchall()
        return {record["table_name"] for record in records}
