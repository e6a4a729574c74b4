-- The ledger: an append-only history of every table's watermark. The newest row whose status is `success` or
-- `initialized` is the watermark; nothing is ever updated. Every statement may be run again.
--
-- max_timestamp and max_sequence_number are those of rows that are in Iceberg, never a clock. A `failed` or `halted`
-- row repeats the last good ones, so that the newest row of any status holds a true watermark, too.

CREATE TABLE IF NOT EXISTS offload_watermarks (
    id                        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline_id               text             NOT NULL DEFAULT 'iceberg_offload',
    table_name                text             NOT NULL,
    max_timestamp             timestamptz      NOT NULL,
    max_sequence_number       numeric(20, 0)   NOT NULL DEFAULT 0,
    status                    text             NOT NULL DEFAULT 'initialized'
                              CHECK (status IN ('initialized', 'success', 'failed', 'halted')),
    created_at                timestamptz      NOT NULL DEFAULT clock_timestamp(),
    -- What kind of step this row records; 002 lists them.
    kind                      text             NOT NULL DEFAULT 'reset',
    -- The row this one follows: the compare-and-set below lets only one row follow another.
    started_from              bigint,
    generation                integer          NOT NULL DEFAULT 0,
    source_uuid               uuid,
    window_lower              timestamptz,
    window_upper              timestamptz,
    row_count                 bigint           NOT NULL DEFAULT 0,
    -- The Iceberg snapshot this step published and the table's record count after it.
    snapshot_id               bigint,
    total_records             bigint,
    run_id                    text,
    attempt                   integer,
    last_successful_run       timestamptz,
    last_run_duration_seconds double precision,
    failure_count             integer          NOT NULL DEFAULT 0,
    error_kind                text,
    last_error_message        text
);

CREATE UNIQUE INDEX IF NOT EXISTS offload_watermarks_one_follower
    ON offload_watermarks (pipeline_id, table_name, started_from)
    WHERE status IN ('initialized', 'success');

CREATE INDEX IF NOT EXISTS offload_watermarks_newest
    ON offload_watermarks (pipeline_id, table_name, id DESC);

CREATE INDEX IF NOT EXISTS offload_watermarks_created
    ON offload_watermarks (table_name, created_at DESC);
