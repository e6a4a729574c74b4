-- What the audits found: one row per table, window and audit; nothing is ever updated. The newest row of a window is
-- what counts.

CREATE TABLE IF NOT EXISTS offload_audits (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline_id     text        NOT NULL,
    table_name      text        NOT NULL,
    -- In the rows' own time: from window_start to window_end, itself not part of it.
    window_start    timestamptz NOT NULL,
    window_end      timestamptz NOT NULL,
    -- The part of the window that both tiers must hold alike: from ClickHouse's TTL to the watermark.
    compared_from   timestamptz NOT NULL,
    compared_to     timestamptz NOT NULL,
    hot_rows        bigint      NOT NULL,
    hot_hash        numeric(20) NOT NULL,
    cold_rows       bigint      NOT NULL,
    cold_hash       numeric(20) NOT NULL,
    finding         text        NOT NULL CHECK (finding IN ('equal', 'late', 'changed', 'surplus', 'lost')),
    missing_rows    bigint      NOT NULL DEFAULT 0,
    surplus_rows    bigint      NOT NULL DEFAULT 0,
    changed_rows    bigint      NOT NULL DEFAULT 0,
    duplicate_rows  bigint      NOT NULL DEFAULT 0,
    unreadable      text[]      NOT NULL DEFAULT '{}',
    explanation     text        NOT NULL DEFAULT '',
    -- Files, bounds and projection behind the cold figures: the same fingerprint means the same figures.
    fingerprint     text        NOT NULL,
    cold_source     text        NOT NULL CHECK (cold_source IN ('metadata', 'stored', 'data')),
    snapshot_id     bigint,
    source_uuid     uuid        NOT NULL,
    -- The moment from which on ClickHouse had to hold every row; null without a TTL.
    held_since      timestamptz,
    audited_at      timestamptz NOT NULL,
    run_id          text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS offload_audits_newest
    ON offload_audits (pipeline_id, table_name, window_start, window_end, id DESC);

CREATE INDEX IF NOT EXISTS offload_audits_by_run
    ON offload_audits (pipeline_id, run_id, id);

CREATE INDEX IF NOT EXISTS offload_audits_by_time
    ON offload_audits (pipeline_id, audited_at);
