"""The branch of one attempt: it is filled, audited and published.

An attempt writes only to its branch, which starts at the snapshot of `main` that the attempt decides by. Publishing
fast-forwards `main` to the branch. That is a compare-and-set: Iceberg refuses it if anything else has moved `main`.
"""

from __future__ import annotations

from collections.abc import Sequence

from offload_core.errors import AuditFailed, CommitStateUnknown, OffloadError, StartOver
from offload_core.protocol.marker import Marker
from offload_spark.iceberg.data_files import DataFile
from offload_spark.iceberg.errors import iceberg_errors
from offload_spark.iceberg.history import live_rows
from offload_spark.iceberg.table import IcebergTable
from offload_spark.runtime.jvm import JavaObject

BRANCH_PREFIX = "offload_attempt_"
_MAIN = "main"


class Branch:
    """This attempt's branch of a table.

    Args:
        table: the table.
        attempt_id: the attempt's unique name, which the branch's name ends with.
    """

    def __init__(self, table: IcebergTable, attempt_id: str) -> None:
        self.name = f"{BRANCH_PREFIX}{attempt_id}"
        self._table = table
        self._target = table.config.target

    def create(self) -> None:
        """Create the branch at the attempt's snapshot of `main`, and drop the branches of dead attempts.

        The caller holds the table's lock, so no other living attempt has a branch. A write that created the branch
        implicitly would start its totals from zero. An empty table has no snapshot for a branch to start at; there
        the first commit creates the branch, and totals from zero are right.
        """
        with iceberg_errors(f"creating a branch of {self._target}"):
            self._table.java.refresh()
            update, changed = self._table.java.manageSnapshots(), False
            for name in list(self._table.java.refs().keySet()):
                if name.startswith(BRANCH_PREFIX):
                    update, changed = update.removeBranch(name), True
            if self._table.base is not None:
                update, changed = update.createBranch(self.name, self._table.base), True
            if changed:
                update.commit()

    def exists(self) -> bool:
        """Whether the branch exists; on an empty table the first commit creates it."""
        return bool(self._table.java.refs().containsKey(self.name))

    def has_moved(self) -> bool:
        """Whether anything was committed to the branch.

        Raises:
            StartOver: the branch is gone, so its commits are unknown.
        """
        self._table.refresh()
        snapshot = self._table.java.snapshot(self.name)
        if snapshot is None:
            raise StartOver(
                f"The branch of {self._target} was dropped during this attempt.",
                "Nothing was published; the next attempt starts from the newest state.",
            )
        return bool(snapshot.snapshotId() != self._table.base)

    def append(self, files: Sequence[DataFile], marker: Marker) -> None:
        """Add the files to the branch in one commit that carries the marker."""
        self._commit(self._table.java.newAppend(), [("appendFile", file) for file in files], marker)

    def replace_partitions(self, files: Sequence[DataFile], marker: Marker) -> None:
        """Replace the files' whole partitions on the branch in one commit that carries the marker."""
        self._commit(self._table.java.newReplacePartitions(), [("addFile", file) for file in files], marker)

    def _commit(self, update: JavaObject, changes: list[tuple[str, DataFile]], marker: Marker) -> None:
        with iceberg_errors(f"committing to the branch of {self._target}"):
            update = update.toBranch(self.name)
            for key, value in marker.to_summary().items():
                update = update.set(key, value)
            for method, file in changes:
                update = getattr(update, method)(file.java)
            update.commit()

    def audit(self, marker: Marker, added: int | None, commits_before: int = 0) -> int:
        """Check that the branch's head is this attempt's commit on top of `main`, with the rows it should have added.

        Args:
            marker: the attempt's marker.
            added: rows that the commit must have added, None where Spark decided.
            commits_before: how many commits without a marker the attempt may have made before it.

        Returns:
            The rows it added.

        Raises:
            AuditFailed: the branch holds something else.
        """
        self._table.refresh()
        snapshot = self._table.java.snapshot(self.name)
        summary = dict(snapshot.summary()) if snapshot else {}
        found = int(summary.get("added-records", 0))
        problem = None
        if snapshot is None or Marker.from_summary(summary, marker.pipeline) != marker:
            problem = "its head is not this attempt's commit"
        elif not self._starts_at_base(snapshot, commits_before):
            problem = "it does not start at the snapshot that main had when the attempt began"
        elif added is not None and found != added:
            problem = f"Iceberg reports {found} added rows, the files hold {added}"
        if problem:
            raise AuditFailed(
                f"The branch of {self._target} is not what this attempt wrote: {problem}.",
                "Nothing was published; the next attempt fetches the window again.",
            )
        return found

    def _starts_at_base(self, snapshot: JavaObject, commits_before: int) -> bool:
        parent = snapshot.parentId()
        while parent != self._table.base and commits_before > 0 and parent is not None:
            parent, commits_before = self._table.java.snapshot(parent).parentId(), commits_before - 1
        return bool(parent == self._table.base)

    def publish(self, marker: Marker) -> tuple[int, int]:
        """Fast-forward `main` to the branch and drop the branch, both in one commit.

        Returns:
            `main`'s new snapshot id and its record count.

        Raises:
            StartOver: another commit moved `main`; nothing was published.
            CommitStateUnknown: whether `main` moved is unknown.
        """
        try:
            with iceberg_errors(f"publishing {self._target}"):
                self._table.java.manageSnapshots().fastForwardBranch(_MAIN, self.name).removeBranch(self.name).commit()
        except OffloadError as error:
            if not self._is_published(marker, error):
                raise
        self._table.pin()
        snapshot = self._table.java.currentSnapshot()
        return int(snapshot.snapshotId()), live_rows(snapshot.summary())

    def _is_published(self, marker: Marker, error: OffloadError) -> bool:
        """Whether `main` carries the attempt's marker in spite of the error."""
        try:
            self._table.refresh()
            return self._table.cold_state(marker.pipeline).marker == marker
        except OffloadError as second:
            raise CommitStateUnknown(
                f"{error.problem} Whether main of {self._target} moved is unknown too: {second.problem}",
                "Nothing was deleted. The next attempt looks for the commit in Iceberg and continues from there.",
            ) from error

    def drop(self) -> None:
        """Drop the branch if it exists; `main` keeps what was published."""
        with iceberg_errors(f"dropping the branch of {self._target}"):
            self._table.refresh()
            if self._table.java.refs().containsKey(self.name):
                self._table.java.manageSnapshots().removeBranch(self.name).commit()
