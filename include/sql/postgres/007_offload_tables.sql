-- Which tables are switched on, as the newest cycle found them in the configuration. Programs that watch the ledger and
-- cannot read Airflow's Variables need it, so that nobody is paged for a table that was switched off. One row per
-- table, replaced by each cycle; the offload never reads it.

CREATE TABLE IF NOT EXISTS offload_tables (
    pipeline_id  text        NOT NULL,
    table_name   text        NOT NULL,
    is_offloaded boolean     NOT NULL,
    told_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline_id, table_name)
);
