"""The variants that `python -m benchmarks.layout` compares; the first of each kind is what ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Fetch:
    """A way to let ClickHouse write Parquet files.

    Attributes:
        settings: ClickHouse's, on top of what the offload sets in any case.
        rows_per_file: a larger stretch of time becomes several files.
        parallel: files at once.
        order_by: columns that the rows of a file are sorted by; none: as ClickHouse reads them.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    rows_per_file: int = 1_000_000
    parallel: int = 2
    order_by: str = ""


@dataclass(frozen=True)
class Compaction:
    """A way to let Spark rewrite small files.

    Attributes:
        sort_order: as the procedure `rewrite_data_files` takes it.
        row_group_mb, target_mb: sizes of a row group and of a file (MiB, as Parquet's writer counts them).
        properties: further ones of the table.
    """

    sort_order: str = "hours(exchange_timestamp), symbol, trade_id, exchange_timestamp"
    row_group_mb: int = 8
    target_mb: int = 128
    properties: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Beside:
    """What small queries run beside, and with which settings.

    Attributes:
        fetch: the large fetch, None for nothing at all.
        probe_settings: settings of the small queries.
    """

    fetch: Fetch | None
    probe_settings: Mapping[str, str] = field(default_factory=dict)


def _parquet(**settings: object) -> Fetch:
    return Fetch({f"output_format_parquet_{name}": str(value) for name, value in settings.items()})


FILES = {
    "as shipped": Fetch(),
    "zstd level 3": Fetch({"output_format_compression_level": "3"}),
    "zstd level 9": Fetch({"output_format_compression_level": "9"}),
    # No lz4: Iceberg's reader in Spark fails on some of the files, "all input must be consumed".
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
    "sorted by symbol": Fetch(order_by="symbol, exchange_timestamp"),
    "sorted, row groups of 100,000": Fetch(
        {"output_format_parquet_row_group_size": "100000"}, order_by="symbol, exchange_timestamp"
    ),
    "files of 250,000": Fetch(rows_per_file=250_000),
    "files of 5,000,000": Fetch(rows_per_file=5_000_000),
}

COMPACTIONS = {
    "as shipped": Compaction(),
    "row groups of 4 MiB": Compaction(row_group_mb=4),
    "row groups of 16 MiB": Compaction(row_group_mb=16),
    "row groups of 32 MiB": Compaction(row_group_mb=32),
    "row groups of 128 MiB": Compaction(row_group_mb=128),
    "by symbol and time": Compaction("symbol, exchange_timestamp"),
    "by hour, symbol and time": Compaction("hours(exchange_timestamp), symbol, exchange_timestamp"),
    "by time": Compaction("exchange_timestamp"),
    "zstd level 1": Compaction(properties={"write.parquet.compression-level": "1"}),
    "zstd level 9": Compaction(properties={"write.parquet.compression-level": "9"}),
    "pages of 256 KiB": Compaction(properties={"write.parquet.page-size-bytes": str(256 << 10)}),
    "files of 32 MiB": Compaction(target_mb=32),
}

LOADS = {
    "nothing": Beside(None),
    "as shipped": Beside(Fetch()),
    "one file at once": Beside(Fetch(parallel=1)),
    "max_threads 1": Beside(Fetch({"max_threads": "1"})),
    "max_threads 1, one file at once": Beside(Fetch({"max_threads": "1"}, parallel=1)),
    "encoded in one thread": Beside(_parquet(parallel_encoding=0)),
    "row groups of 100,000": Beside(_parquet(row_group_size=100_000)),
    "sorted by symbol": Beside(Fetch(order_by="symbol, exchange_timestamp")),
    "zstd level 3": Beside(Fetch({"output_format_compression_level": "3"})),
    "priority 10 beside 1": Beside(Fetch({"priority": "10"}), {"priority": "1"}),
    "nice 10": Beside(Fetch({"os_threads_nice_value_query": "10"})),
    "nice 19": Beside(Fetch({"os_threads_nice_value_query": "19"})),
    "nice 19, one file at once": Beside(Fetch({"os_threads_nice_value_query": "19"}, parallel=1)),
}
