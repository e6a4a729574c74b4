"""Steps one and two of a run: take the lock, then see whether ledger and Iceberg agree.

The product's own functions decide. A rule is taken out by hiding from them what it looks at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from offload_core.errors import ColdRowsLost, LedgerAhead, SourceReplaced
from offload_core.ledger import reconcile
from offload_core.ledger.reconcile import ColdState
from tests.model.rules import Rule
from tests.model.run import Move, Run
from tests.model.state import (
    IDLE,
    ORIGIN,
    At,
    Entry,
    Mark,
    State,
    Writer,
    cold_state,
    real_ledger_row,
    real_marker,
    source_uuid,
)

_NEVER_BEHIND = real_marker(Mark(0, "increment", 1_000_000, 1, 0, ORIGIN, 0, ORIGIN, (), 0))


class Agreement(Run):
    """From the lock to the watermark that the run starts from."""

    def locks(self, state: State) -> Iterator[tuple[str, State, Writer]]:
        """1. Take the table's lock, which the run's session holds. While somebody else has it, nothing starts."""
        is_taken = self.keeps(Rule.LOCK) and any(writer.has_lock for writer in state.writers)
        if is_taken or IDLE not in state.writers or state.attempts >= self.scenario.runs:
            return
        attempt = state.attempts + 1
        for task in self.scenario.tasks:
            writer = Writer(At.READ_LEDGER, task, attempt, has_lock=True)
            yield f"({task})", state._replace(attempts=attempt).with_writer(IDLE, writer), writer

    def read_ledger(self, state: State, writer: Writer) -> list[Move]:
        """2. The watermark. A halted table waits for an operator."""
        if state.is_halted:
            return [("finds the table halted", state.with_writer(writer, IDLE))]
        return self.go(state, writer, At.READ_ICEBERG, "reads the ledger", writer._replace(watermark=state.watermark))

    def read_iceberg(self, state: State, writer: Writer) -> list[Move]:
        """Take `main` as it is now for the base of all decisions, and compare it with the ledger's last commit."""
        if not self.has_session(writer):
            return self.start_over(state, writer, "its session is gone")
        marked = self._cold(state, state.main).snapshot_id
        mark = state.mark_of(marked) if marked else None
        known = writer._replace(
            base=state.main, source=state.source, reached=mark.cursor if mark and mark.kind == "increment" else ORIGIN
        )
        state = state.with_writer(writer, known)
        if self._has_unrecorded_commit(state, known):
            return self.go(state, known, At.RECOVER, "finds a commit that the ledger lacks")
        return self._agree(state, known, state.last_commit)

    def recover(self, state: State, writer: Writer) -> list[Move]:
        """Record the commit that the ledger lacks, from its marker; nothing is read twice."""
        cold = self._cold(state, writer.base)
        mark = state.mark_of(cold.snapshot_id or 0)
        assert mark is not None
        assert writer.watermark is not None
        kind = "recovered" if mark.kind == "increment" else mark.kind
        total = cold.records_at_marker or 0
        step = Entry(
            0,
            writer.watermark.id,
            "success",
            kind,
            mark.cursor,
            mark.generation,
            mark.source,
            mark.upper,
            cold.snapshot_id or 0,
            total,
        )
        after = self.append(state, writer, step)
        if after is None:
            return self.start_over(state, writer, "the ledger has moved on")
        recovered = after.ledger[-1]
        known = writer._replace(watermark=recovered)
        return [
            (f"records it, {label}", later)
            for label, later in self._agree(after.with_writer(writer, known), known, recovered)
        ]

    def _cold(self, state: State, head: int) -> ColdState:
        """What Iceberg says when `main` is `head`."""
        searched = state.ancestors(head)
        return cold_state(state.snapshots, searched if self.keeps(Rule.MARKER_SEARCH) else searched[:1])

    def _has_unrecorded_commit(self, state: State, writer: Writer) -> bool:
        assert writer.watermark is not None
        last_commit = real_ledger_row(state.last_commit) if state.last_commit else None
        watermark, operator_row, cold = (
            real_ledger_row(writer.watermark),
            state.operator_row,
            self._cold(state, writer.base),
        )
        if not self.keeps(Rule.RECOVER):
            cold = replace(cold, marker=None)
        if not self.keeps(Rule.RESET_COUNTS):
            watermark, operator_row = replace(watermark, id=0), 0
        return reconcile.unrecorded_commit(watermark, last_commit, operator_row, cold) is not None

    def _agree(self, state: State, writer: Writer, last_commit: Entry | None) -> list[Move]:
        """Halt where something has happened that only an operator can judge."""
        assert writer.watermark is not None
        watermark, cold, source = writer.watermark, self._cold(state, writer.base), writer.source
        if not self.keeps(Rule.HALT_LEDGER_AHEAD):
            cold = replace(cold, marker=_NEVER_BEHIND)
        if not self.keeps(Rule.HALT_ROWS_LOST):
            cold = replace(cold, lost={}, records=1_000_000)
        if not self.keeps(Rule.HALT_SOURCE_REPLACED):
            source = watermark.source
        commit = real_ledger_row(last_commit) if last_commit else None
        try:
            reconcile.require_agreement(real_ledger_row(watermark), commit, cold, source_uuid(source))
        except (SourceReplaced, LedgerAhead, ColdRowsLost) as error:
            return self.halt(state, writer, type(error).__name__)
        return self.go(state, writer, At.PLAN, "agrees")
