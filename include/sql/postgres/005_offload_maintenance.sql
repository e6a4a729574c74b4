-- What maintenance did to each Iceberg table: one row per table and run; nothing is ever updated.
--
-- figures_before and figures_after: data_files, bytes, small_files, delete_files, snapshots, manifests, metadata_files,
-- planning_milliseconds, planned_files. steps: a list of {name, done, seconds}.

CREATE TABLE IF NOT EXISTS offload_maintenance (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline_id    text             NOT NULL,
    table_name     text             NOT NULL,
    run_id         text             NOT NULL,
    attempt        integer          NOT NULL,
    created_at     timestamptz      NOT NULL DEFAULT clock_timestamp(),
    seconds        double precision NOT NULL,
    figures_before jsonb            NOT NULL,
    figures_after  jsonb            NOT NULL,
    steps          jsonb            NOT NULL
);

CREATE INDEX IF NOT EXISTS offload_maintenance_newest
    ON offload_maintenance (pipeline_id, table_name, id DESC);
