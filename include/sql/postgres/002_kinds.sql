-- The kinds of steps (offload_core/ledger/rows.py lists the same). This is a file of its own, so that `offload init`
-- adds new kinds to a ledger that an older version has created.

ALTER TABLE offload_watermarks
    DROP CONSTRAINT IF EXISTS offload_watermarks_kind_check,
    ADD CONSTRAINT offload_watermarks_kind_check CHECK (
        kind IN ('init', 'reset', 'resume', 'increment', 'empty', 'recovered', 'repair', 'restate', 'failure', 'halt')
    );
