"""The marker, which every commit of the offload writes into the summary of its Iceberg snapshot.

Iceberg is the truth, and the ledger is repaired from it: the marker holds everything that a ledger row needs.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from offload_core.errors import WatermarkInvalid
from offload_core.protocol.window import Cursor, Window

PREFIX = "offload."
INCREMENT = "increment"


@dataclass(frozen=True)
class Marker:
    """One commit's marker.

    Attributes:
        pipeline: pipeline id; markers of other pipelines are foreign commits.
        source_uuid: UUID of the ClickHouse table the rows came from.
        generation: how often an operator has accepted a new source for this table.
        window: the window the commit covers.
        cursor: greatest (timestamp, sequence) of the window's rows; becomes the watermark.
        rows: rows of the window in ClickHouse.
        run_id: Airflow's run id, or the name of a run by hand.
        attempt: number of the try, from 1.
        attempt_id: unique to the attempt; distinguishes its commits from those of a zombie with the same run and try.
        ledger_id: the ledger row the attempt started from.
        kind: `increment`; `repair` or `restate` for a commit that leaves the watermark where it is.
    """

    pipeline: str
    source_uuid: uuid.UUID
    generation: int
    window: Window
    cursor: Cursor
    rows: int
    run_id: str
    attempt: int
    attempt_id: str
    ledger_id: int
    kind: str = INCREMENT

    def with_rows(self, rows: int) -> Marker:
        """The same marker for another number of rows."""
        return replace(self, rows=rows)

    def to_summary(self) -> dict[str, str]:
        """The snapshot properties: strings, times in ISO 8601 with microseconds and zone."""
        values = {
            "pipeline": self.pipeline,
            "source-uuid": str(self.source_uuid),
            "generation": str(self.generation),
            "window-lower": _format(self.window.lower.timestamp),
            "window-lower-sequence": str(self.window.lower.sequence),
            "window-upper": _format(self.window.upper),
            "max-timestamp": _format(self.cursor.timestamp),
            "max-sequence": str(self.cursor.sequence),
            "rows": str(self.rows),
            "run-id": self.run_id,
            "attempt": str(self.attempt),
            "attempt-id": self.attempt_id,
            "ledger-id": str(self.ledger_id),
            "kind": self.kind,
        }
        return {PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_summary(cls, summary: Mapping[str, str], pipeline: str) -> Marker | None:
        """Read the marker from a snapshot's summary; None if the snapshot isn't one of this pipeline's commits.

        Raises:
            WatermarkInvalid: it is one, but a property is missing or unreadable.
        """
        if summary.get(PREFIX + "pipeline") != pipeline:
            return None
        values = {key.removeprefix(PREFIX): value for key, value in summary.items() if key.startswith(PREFIX)}
        try:
            lower = Cursor(_parse(values["window-lower"]), int(values["window-lower-sequence"]))
            return cls(
                pipeline=pipeline,
                source_uuid=uuid.UUID(values["source-uuid"]),
                generation=int(values["generation"]),
                window=Window(lower, _parse(values["window-upper"])),
                cursor=Cursor(_parse(values["max-timestamp"]), int(values["max-sequence"])),
                rows=int(values["rows"]),
                run_id=values["run-id"],
                attempt=int(values["attempt"]),
                attempt_id=values["attempt-id"],
                ledger_id=int(values["ledger-id"]),
                kind=values.get("kind", INCREMENT),
            )
        except (KeyError, ValueError, OverflowError) as error:
            raise WatermarkInvalid(
                f"A snapshot of this pipeline carries an unreadable marker ({error}).",
                "Somebody edited the snapshot's summary; compare it with `offload history` and choose a watermark with "
                "`offload reset`.",
            ) from error


def _format(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _parse(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment.astimezone(timezone.utc)
