-- Read cold trades with ClickHouse, without copying them:
--   clickhouse-client --queries-file read_with_clickhouse.sql --param_table=/warehouse/cold/silver_trades
--     --param_symbol=BTCUSDT --param_hour='2026-11-20 10:00:00' --param_snapshot=SNAPSHOT_ID
-- The path must be below the server's user_files_path. For S3, replace icebergLocal(…) with
-- icebergS3(offload_cold, filename = 'cold/silver_trades') and a named collection that has url, access_key_id and
-- secret_access_key. `offload view` creates a view of hot and cold rows.

-- One symbol for one hour.
SELECT 'one hour' AS what, count() AS trades, sum(quantity) AS traded
FROM icebergLocal({table:String})
WHERE exchange_timestamp >= toDateTime64({hour:String}, 6, 'UTC')
  AND exchange_timestamp < toDateTime64({hour:String}, 6, 'UTC') + INTERVAL 1 HOUR
  AND symbol = {symbol:String};

-- One day of all symbols.
SELECT 'one day' AS what, count() AS trades, sum(quantity) AS traded
FROM icebergLocal({table:String})
WHERE exchange_timestamp >= toStartOfDay(toDateTime64({hour:String}, 6, 'UTC'))
  AND exchange_timestamp < toStartOfDay(toDateTime64({hour:String}, 6, 'UTC')) + INTERVAL 1 DAY;

-- The table at an older snapshot. To list the snapshots that exist, create a table
-- (CREATE TABLE cold_trades ENGINE = IcebergLocal('…')) and query system.iceberg_history.
SELECT 'snapshot' AS what, count() AS trades
FROM icebergLocal({table:String})
SETTINGS iceberg_snapshot_id = {snapshot:Int64};
