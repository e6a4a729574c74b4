-- Silver: the trades of all exchanges in one table, sorted by market, with the value of each trade.
--
-- quote_quantity is price * quantity, computed exactly with 16 decimals and truncated towards zero to eight.
--
-- exchange_timestamp is in the partition key, so a time window skips all parts outside of it. In the sort key, only the
-- few (exchange, symbol) pairs come before it, so inside a part the primary index skips each pair's granules outside of
-- the window. A window reads a granule or two of every pair, so the granules are small: with 1,024 rows instead of
-- 8,192, fifteen minutes of a day with two million trades read 6 % of the day instead of 39 %.
CREATE TABLE IF NOT EXISTS silver_trades
(
    exchange            LowCardinality(String),
    symbol              LowCardinality(String),
    trade_id            String,
    side                Nullable(Enum8('buy' = 1, 'sell' = 2))
        COMMENT 'Side of the taker, NULL where the exchange does not tell',
    price               Decimal(38, 8),
    quantity            Decimal(38, 8),
    quote_quantity      Decimal(38, 8) COMMENT 'price * quantity, truncated towards zero',
    exchange_timestamp  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingestion_timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    sequence_number     UInt64 CODEC(Delta, ZSTD(1))
        COMMENT 'Rises in the order of exchange_timestamp within the exchange'
)
ENGINE = MergeTree
PARTITION BY toDate(exchange_timestamp)
ORDER BY (exchange, symbol, exchange_timestamp, sequence_number)
TTL toDateTime(exchange_timestamp, 'UTC') + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1, index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS silver_trades_from_binance TO silver_trades AS
SELECT
    exchange,
    symbol,
    trade_id,
    side,
    price,
    quantity,
    toDecimal128(toDecimal256(price, 8) * quantity, 8) AS quote_quantity,
    exchange_timestamp,
    ingestion_timestamp,
    sequence_number
FROM bronze_trades_binance;

CREATE MATERIALIZED VIEW IF NOT EXISTS silver_trades_from_kraken TO silver_trades AS
SELECT
    exchange,
    symbol,
    trade_id,
    side,
    price,
    quantity,
    toDecimal128(toDecimal256(price, 8) * quantity, 8) AS quote_quantity,
    exchange_timestamp,
    ingestion_timestamp,
    sequence_number
FROM bronze_trades_kraken;
