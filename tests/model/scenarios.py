"""The walks: which disturbances may come together. Each is walked completely."""

from __future__ import annotations

from dataclasses import replace

from tests.model.run import Scenario

REPROCESSING = ("offload", "repair", "restate")

DEATHS = Scenario("deaths", ("crash", "answer_lost", "answers_short", "compaction"), runs=3)
ZOMBIES = Scenario("zombies", ("crash", "lock_lost", "answer_lost"), runs=3)
CHUNKS = Scenario("chunks", ("crash", "lock_lost", "answer_lost"), chunked=True)
OPERATOR = Scenario("operator", ("crash", "lock_lost", "reset", "late_row"))
REPAIRS = Scenario("repairs", ("crash", "lock_lost", "late_row"), tasks=REPROCESSING, interval_end=1)
REPAIRS_OF_ALL = replace(REPAIRS, name="repairs of all", interval_end=9)
EXPIRY = Scenario("expiry", ("crash", "expiry"), limit=3, tasks=("offload", "restate"))
RESET_AND_EXPIRY = Scenario("reset and expiry", ("crash", "expiry", "reset", "late_row"))
OTHERS = Scenario("others", ("crash", "rollback", "foreign_append", "foreign_delete", "compaction", "lock_lost"))
NEW_SOURCE = Scenario("new source", ("crash", "source_replaced", "reset"))
RESTORED = Scenario("restored ledger", ("crash", "ledger_restored", "late_row", "compaction"), runs=3)

SOUND_LOCKS = Scenario("sound locks", ("crash", "answer_lost"), needless_failures=True)
"""No run loses its lock; that runs disturb each other is allowed here, that they harm the data isn't."""

ALL = (
    DEATHS,
    ZOMBIES,
    CHUNKS,
    OPERATOR,
    REPAIRS,
    REPAIRS_OF_ALL,
    EXPIRY,
    RESET_AND_EXPIRY,
    OTHERS,
    NEW_SOURCE,
    RESTORED,
)
