-- Bronze: trades exactly as each exchange sent them, one table per exchange. README.md has the rules for all files.
--
-- The offload reads `exchange_timestamp > W AND exchange_timestamp <= U`. Each part knows its minimum and maximum
-- exchange_timestamp (which is in the partition key) and is sorted by it, so such a window reads only its own granules.
--
-- The constraints refuse values that silver and gold could not represent, before anything is stored. An error in a
-- materialized view would come after the bronze row was written, and leave it without its silver row.
--   exchange_timestamp_in_range  Days and candles count from 1970, and the TTL must not pass 2106. A time in seconds
--                                that is taken for microseconds is outside of the range.
--   quote_quantity_fits          price * quantity has to fit into silver's Decimal(38, 8).
CREATE TABLE IF NOT EXISTS bronze_trades_binance
(
    exchange            LowCardinality(String) DEFAULT 'binance',
    symbol              LowCardinality(String),
    trade_id            String,
    side                Nullable(Enum8('buy' = 1, 'sell' = 2))
        COMMENT 'Side of the taker, NULL where the exchange does not tell',
    price               Decimal(38, 8),
    quantity            Decimal(38, 8),
    exchange_timestamp  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingestion_timestamp DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    sequence_number     UInt64 CODEC(Delta, ZSTD(1))
        COMMENT 'Rises in the order of exchange_timestamp within the exchange',
    CONSTRAINT exchange_timestamp_in_range
        CHECK exchange_timestamp >= '1970-01-01 00:00:00' AND exchange_timestamp < '2100-01-01 00:00:00',
    CONSTRAINT quote_quantity_fits
        CHECK abs(toDecimal256(price, 8) * quantity) < toDecimal256('1000000000000000000000000000000', 0)
)
ENGINE = MergeTree
PARTITION BY toDate(exchange_timestamp)
ORDER BY (exchange_timestamp, sequence_number, symbol)
TTL toDateTime(exchange_timestamp, 'UTC') + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS bronze_trades_kraken
(
    exchange            LowCardinality(String) DEFAULT 'kraken',
    symbol              LowCardinality(String),
    trade_id            String,
    side                Nullable(Enum8('buy' = 1, 'sell' = 2))
        COMMENT 'Side of the taker, NULL where the exchange does not tell',
    price               Decimal(38, 8),
    quantity            Decimal(38, 8),
    exchange_timestamp  DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    ingestion_timestamp DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    sequence_number     UInt64 CODEC(Delta, ZSTD(1))
        COMMENT 'Rises in the order of exchange_timestamp within the exchange',
    CONSTRAINT exchange_timestamp_in_range
        CHECK exchange_timestamp >= '1970-01-01 00:00:00' AND exchange_timestamp < '2100-01-01 00:00:00',
    CONSTRAINT quote_quantity_fits
        CHECK abs(toDecimal256(price, 8) * quantity) < toDecimal256('1000000000000000000000000000000', 0)
)
ENGINE = MergeTree
PARTITION BY toDate(exchange_timestamp)
ORDER BY (exchange_timestamp, sequence_number, symbol)
TTL toDateTime(exchange_timestamp, 'UTC') + INTERVAL 7 DAY
SETTINGS ttl_only_drop_parts = 1;
