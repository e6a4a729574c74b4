-- Read cold trades with ClickHouse, without copying them anywhere:
--   clickhouse-client --queries-file read_with_clickhouse.sql --param_table=/warehouse/cold/silver_trades
--     --param_symbol=BTCUSDT --param_hour='2026-11-20 10:00:00' --param_snapshot=SNAPSHOT_ID
-- The path must be below what the server may read (user_files_path). In S3, write icebergS3(offload_cold, filename = 'cold/silver_trades')
-- for icebergLocal(…), with a named collection that has url, access_key_id and secret_access_key. `offload view` makes a view of hot and
-- cold rows.

-- One symbol for one hour.
SELECT 'one hour' AS what, count() AS trades, sum(quantity) AS traded
FROM icebergLocal({table:String})
WHERE exchange_timestamp >= toDateTime64({hour:String}, 6, 'UTC')
  AND exchange_timestamp < toDateTime64({hour:String}, 6, 'UTC') + INTERVAL 1 HOUR
  AND symbol = {symbol:String};

-- One day of everything.
SELECT 'one day' AS what, count() AS trades, sum(quantity) AS traded
FROM icebergLocal({table:String})
WHERE exchange_timestamp >= toStartOfDay(toDateTime64({hour:String}, 6, 'UTC'))
  AND exchange_timestamp < toStartOfDay(toDateTime64({hour:String}, 6, 'UTC')) + INTERVAL 1 DAY;

-- The table as it was. For what can be gone back to, make a table of it (CREATE TABLE cold_trades ENGINE = IcebergLocal('…')):
-- system.iceberg_history then lists its snapshots.
SELECT 'snapshot' AS what, count() AS trades
FROM icebergLocal({table:String})
SETTINGS iceberg_snapshot_id = {snapshot:Int64};
