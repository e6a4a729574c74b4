"""Iceberg's description of a data file, made from the footer that the file's writer has at hand.

Iceberg's own footer reader opens the file again and loads Hadoop's settings for it, which takes 10 ms per file. Here
the same library, in Iceberg's own copy, parses the footer's bytes.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from offload_core.errors import AuditFailed
from offload_core.protocol.window import from_micros

if TYPE_CHECKING:
    from offload_spark.runtime.jvm import JavaObject

_MAGIC = b"PAR1"
_TRAILER = 8
"""A Parquet file ends with its footer's length, four bytes little-endian, and the magic word."""


def read_footer(path: Path) -> tuple[int, bytes]:
    """A Parquet file's size in bytes and its footer, without the trailer.

    Raises:
        AuditFailed: the file is not a complete Parquet file.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
        file.seek(max(0, size - _TRAILER))
        trailer = file.read()
        length = int.from_bytes(trailer[:4], "little")
        if head != _MAGIC or trailer[4:] != _MAGIC or length + _TRAILER > size - len(_MAGIC):
            raise AuditFailed(
                f"ClickHouse's answer for {path} is not a complete Parquet file.",
                "Nothing was published; the next attempt fetches the window again.",
            )
        file.seek(size - _TRAILER - length)
        return size, file.read(length)


class Footers:
    """Describes data files of a table, with the columns and the partition spec that it has now.

    Java names are resolved once: every step of a name and every call is a message to the JVM, and a commit may have a
    thousand files.

    Args:
        jvm: the launcher's JVM.
        table: Iceberg's table.
        timestamp_col: the column whose bounds `time_bounds` returns.
    """

    def __init__(self, jvm: JavaObject, table: JavaObject, timestamp_col: str) -> None:
        iceberg, schema = jvm.org.apache.iceberg, table.schema()
        field = schema.findField(timestamp_col)
        self._field_id, self._type = field.fieldId(), field.type()
        self._names = iceberg.mapping.MappingUtil.create(schema)
        self._config = iceberg.MetricsConfig.forTable(table)
        self._spec = table.spec()
        parquet = iceberg.shaded.org.apache.parquet
        without_files = jvm.org.apache.hadoop.conf.Configuration(False)
        options = parquet.HadoopReadOptions.builder(without_files).build()
        self._parser = parquet.format.converter.ParquetMetadataConverter(options)
        self._metrics = iceberg.parquet.ParquetUtil.footerMetrics
        self._builder = iceberg.DataFiles.builder
        self._value = iceberg.types.Conversions.fromByteBuffer
        self._stream = jvm.java.io.ByteArrayInputStream
        self._nothing = jvm.java.util.stream.Stream.empty

    def describe(self, location: str, size: int, footer: bytes, partition: str) -> JavaObject:
        """Iceberg's DataFile of a file, which is not opened.

        Args:
            location: the file's path or URL.
            size: size of the whole file in bytes.
            footer: as `read_footer` returns it.
            partition: the file's partition as a path, such as `happened_day=2026-11-01`.
        """
        parsed = self._parser.readParquetMetadata(self._stream(footer))
        metrics = self._metrics(parsed, self._nothing(), self._config, self._names)
        builder = self._builder(self._spec).withPath(location).withFileSizeInBytes(size).withFormat("parquet")
        return builder.withMetrics(metrics).withPartitionPath(partition).build()

    def time_bounds(self, file: JavaObject) -> tuple[datetime, datetime] | None:
        """A data file's least and greatest timestamp (UTC), which are exact; None for a foreign file without bounds."""
        lowers, uppers = file.lowerBounds(), file.upperBounds()
        lower = lowers.get(self._field_id) if lowers is not None else None
        upper = uppers.get(self._field_id) if uppers is not None else None
        if lower is None or upper is None:
            return None
        return from_micros(self._value(self._type, lower)), from_micros(self._value(self._type, upper))
