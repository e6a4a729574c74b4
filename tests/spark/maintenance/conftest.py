"""Maintenance of Iceberg tables by the real job."""

from __future__ import annotations

from tests.support.spark.fault_tables import candles, trades

__all__ = ["candles", "trades"]
