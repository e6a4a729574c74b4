"""The partitions of an Iceberg table: hidden transforms of its timestamp column. Times are UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum

from offload_core.protocol.window import EPOCH

_HOUR = timedelta(hours=1)
_PATH_FORMATS = {"hour": "%Y-%m-%d-%H", "day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


class Partition(str, Enum):
    """The hidden Iceberg transform of the timestamp column."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    YEAR = "year"

    def floor(self, moment: datetime) -> datetime:
        """The start of the partition that holds a moment; the start itself belongs to it."""
        moment = moment.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
        if self is Partition.HOUR:
            return moment
        if self is Partition.DAY:
            return moment.replace(hour=0)
        if self is Partition.MONTH:
            return moment.replace(hour=0, day=1)
        return moment.replace(hour=0, day=1, month=1)

    def next(self, moment: datetime) -> datetime:
        """The start of the partition after the one that holds a moment."""
        start = self.floor(moment)
        if self is Partition.HOUR:
            return start + _HOUR
        if self is Partition.DAY:
            return start + timedelta(days=1)
        if self is Partition.MONTH:
            return self.floor(start + timedelta(days=32))
        return start.replace(year=start.year + 1)

    def path_value(self, moment: datetime) -> str:
        """The partition's value as Iceberg writes it into paths, for example `2026-11-19` for a day."""
        return self.floor(moment).strftime(_PATH_FORMATS[self.value])

    def metadata_value(self, moment: datetime) -> str:
        """The partition's value in Iceberg's metadata: a date for days, else the number of periods since 1970."""
        start = self.floor(moment)
        if self is Partition.DAY:
            return start.strftime("%Y-%m-%d")
        if self is Partition.HOUR:
            return str((start - EPOCH) // _HOUR)
        if self is Partition.MONTH:
            return str((start.year - 1970) * 12 + start.month - 1)
        return str(start.year - 1970)

    def start_of(self, metadata_value: object) -> datetime:
        """The start of the partition with a value in Iceberg's metadata; the reverse of `metadata_value`."""
        if self is Partition.DAY:
            return datetime.fromisoformat(str(metadata_value)).replace(tzinfo=timezone.utc)
        number = int(str(metadata_value))
        if self is Partition.HOUR:
            return EPOCH + number * _HOUR
        if self is Partition.MONTH:
            return datetime(1970 + number // 12, number % 12 + 1, 1, tzinfo=timezone.utc)
        return datetime(1970 + number, 1, 1, tzinfo=timezone.utc)
