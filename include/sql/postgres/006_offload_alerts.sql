-- The notifications that were sent about each table's lag and failures, so that no two callbacks send the same one;
-- nothing is ever updated. A table's alert begins with its first row and ends with a row whose `told` is `over`.

CREATE TABLE IF NOT EXISTS offload_alerts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline_id text        NOT NULL,
    table_name  text        NOT NULL,
    -- `mail` or `slack`: one of them may fail while the other succeeds.
    channel     text        NOT NULL,
    topic       text        NOT NULL CHECK (topic IN ('lag', 'problem')),
    -- A level of the lag, a kind of error behind `failed ` or `halted `, or `over`.
    told        text        NOT NULL,
    -- When the table had last been offloaded; null: never before.
    late_since  timestamptz,
    told_at     timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS offload_alerts_open
    ON offload_alerts (pipeline_id, channel, table_name, topic, id DESC);
