-- The kinds of steps. In a file of its own, so that a ledger made by an older version learns of new ones.

ALTER TABLE offload_watermarks
    DROP CONSTRAINT IF EXISTS offload_watermarks_kind_check,
    ADD CONSTRAINT offload_watermarks_kind_check CHECK (
        kind IN ('init', 'reset', 'resume', 'increment', 'empty', 'recovered', 'repair', 'restate', 'failure', 'halt')
    );
