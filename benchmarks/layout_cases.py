"""The variants that `python -m benchmarks.layout` compares; the first of each kind is the offload's default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class FetchVariant:
    """Settings with which ClickHouse writes Parquet files.

    Attributes:
        settings: ClickHouse settings in addition to those of the offload.
        rows_per_file: the number of rows from which a time range is split into several files.
        parallel: the number of files written in parallel.
        order_by: the sort columns of a file; empty for the order in which ClickHouse reads.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    rows_per_file: int = 1_000_000
    parallel: int = 2
    order_by: str = ""


@dataclass(frozen=True)
class CompactionVariant:
    """Settings with which Spark rewrites small files.

    Attributes:
        sort_order: the sort order of the procedure `rewrite_data_files`.
        row_group_mb, target_mb: sizes of a row group and of a file (MiB, as Parquet's writer counts them).
        properties: additional table properties.
    """

    sort_order: str = "hours(exchange_timestamp), symbol, trade_id, exchange_timestamp"
    row_group_mb: int = 8
    target_mb: int = 128
    properties: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the settings for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LoadVariant:
    """A large fetch with small queries beside it.

    Attributes:
        fetch: the large fetch; None for none.
        probe_settings: ClickHouse settings of the small queries.
    """

    fetch: FetchVariant | None
    probe_settings: Mapping[str, str] = field(default_factory=dict)


def _parquet(**settings: object) -> FetchVariant:
    return FetchVariant({f"output_format_parquet_{name}": str(value) for name, value in settings.items()})


FILES = {
    "as shipped": FetchVariant(),
    "zstd level 3": FetchVariant({"output_format_compression_level": "3"}),
    "zstd level 9": FetchVariant({"output_format_compression_level": "9"}),
    # No lz4, because Iceberg's reader in Spark fails on some of the files: "all input must be consumed".
    "snappy": _parquet(compression_method="snappy"),
    "row groups of 500,000": _parquet(row_group_size=500_000),
    "row groups of 250,000": _parquet(row_group_size=250_000),
    "row groups of 100,000": _parquet(row_group_size=100_000),
    "row groups of 50,000": _parquet(row_group_size=50_000),
    "no page index": _parquet(write_page_index=0),
    "pages of 128 KiB": _parquet(data_page_size=128 << 10),
    "no checksums": _parquet(write_checksums=0),
    "no dictionary": _parquet(max_dictionary_size=0),
    "encoded in one thread": _parquet(parallel_encoding=0),
    "sorted by symbol": FetchVariant(order_by="symbol, exchange_timestamp"),
    "sorted, row groups of 100,000": FetchVariant(
        {"output_format_parquet_row_group_size": "100000"}, order_by="symbol, exchange_timestamp"
    ),
    "files of 250,000": FetchVariant(rows_per_file=250_000),
    "files of 5,000,000": FetchVariant(rows_per_file=5_000_000),
}

COMPACTIONS = {
    "as shipped": CompactionVariant(),
    "row groups of 4 MiB": CompactionVariant(row_group_mb=4),
    "row groups of 16 MiB": CompactionVariant(row_group_mb=16),
    "row groups of 32 MiB": CompactionVariant(row_group_mb=32),
    "row groups of 128 MiB": CompactionVariant(row_group_mb=128),
    "by symbol and time": CompactionVariant("symbol, exchange_timestamp"),
    "by hour, symbol and time": CompactionVariant("hours(exchange_timestamp), symbol, exchange_timestamp"),
    "by time": CompactionVariant("exchange_timestamp"),
    "zstd level 1": CompactionVariant(properties={"write.parquet.compression-level": "1"}),
    "zstd level 9": CompactionVariant(properties={"write.parquet.compression-level": "9"}),
    "pages of 256 KiB": CompactionVariant(properties={"write.parquet.page-size-bytes": str(256 << 10)}),
    "files of 32 MiB": CompactionVariant(target_mb=32),
}

LOADS = {
    "nothing": LoadVariant(None),
    "as shipped": LoadVariant(FetchVariant()),
    "one file at once": LoadVariant(FetchVariant(parallel=1)),
    "max_threads 1": LoadVariant(FetchVariant({"max_threads": "1"})),
    "max_threads 1, one file at once": LoadVariant(FetchVariant({"max_threads": "1"}, parallel=1)),
    "encoded in one thread": LoadVariant(_parquet(parallel_encoding=0)),
    "row groups of 100,000": LoadVariant(_parquet(row_group_size=100_000)),
    "sorted by symbol": LoadVariant(FetchVariant(order_by="symbol, exchange_timestamp")),
    "zstd level 3": LoadVariant(FetchVariant({"output_format_compression_level": "3"})),
    "priority 10 beside 1": LoadVariant(FetchVariant({"priority": "10"}), {"priority": "1"}),
    "nice 10": LoadVariant(FetchVariant({"os_threads_nice_value_query": "10"})),
    "nice 19": LoadVariant(FetchVariant({"os_threads_nice_value_query": "19"})),
    "nice 19, one file at once": LoadVariant(FetchVariant({"os_threads_nice_value_query": "19"}, parallel=1)),
}
