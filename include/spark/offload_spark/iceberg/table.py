"""One Iceberg table during one attempt: its metadata, and the snapshot of `main` that the attempt decides by.

`branch` writes to the table, `data_files` handles its files, `schema_evolution` changes its columns.
"""

from __future__ import annotations

from offload_core.config.tables import TableConfig
from offload_core.ledger.reconcile import ColdState
from offload_spark.iceberg.catalog import identifier
from offload_spark.iceberg.errors import iceberg_errors
from offload_spark.iceberg.history import cold_state
from offload_spark.runtime.jvm import JavaObject


class IcebergTable:
    """A table of the catalog.

    Args:
        jvm: the launcher's JVM.
        catalog: the open catalog.
        config: the table's entry.

    Attributes:
        java: Iceberg's own table, with the metadata of the last refresh.
        base: id of the snapshot of `main` that the attempt decides by; None for an empty table.

    Raises:
        TargetTableMissing: the table does not exist.
    """

    def __init__(self, jvm: JavaObject, catalog: JavaObject, config: TableConfig) -> None:
        self.jvm = jvm
        self.config = config
        with iceberg_errors(f"opening {config.target}"):
            self.java = catalog.loadTable(identifier(jvm, config.target))
        self.pin()

    def pin(self) -> None:
        """Take the current snapshot of `main` as the one that the attempt decides by."""
        snapshot = self.java.currentSnapshot()
        self.base: int | None = snapshot.snapshotId() if snapshot is not None else None

    def refresh(self) -> None:
        """Read the newest metadata; `base` stays as it is."""
        with iceberg_errors(f"reading {self.config.target}"):
            self.java.refresh()

    def cold_state(self, pipeline: str) -> ColdState:
        """This pipeline's newest commit on `main`, and what has happened since."""
        with iceberg_errors(f"reading the snapshots of {self.config.target}"):
            return cold_state(self.java, pipeline)
