-- A watermark is a moment that ClickHouse can hold (DateTime64: 1900 to 2299) and a sequence number of 64 bits. This
-- refuses anything else that somebody types by hand. It does not check existing rows: history stays, and
-- `offload reset` moves on from them.

ALTER TABLE offload_watermarks
    DROP CONSTRAINT IF EXISTS offload_watermarks_true_watermark,
    ADD CONSTRAINT offload_watermarks_true_watermark CHECK (
        status NOT IN ('initialized', 'success')
        OR (
            max_timestamp >= '1900-01-01 00:00:00+00' AND max_timestamp < '2300-01-01 00:00:00+00'
            AND max_sequence_number BETWEEN 0 AND 18446744073709551615
        )
    ) NOT VALID;
