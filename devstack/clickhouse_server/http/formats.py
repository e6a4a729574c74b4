"""The media types of ClickHouse's formats."""

from __future__ import annotations

_BINARY = ("Native", "RowBinary", "Parquet", "Arrow", "ORC", "Avro", "MsgPack", "Protobuf", "CapnProto", "BSON", "Npy")
_JSON = ("JSON", "GeoJSON")


def media_type(format_name: str) -> str:
    """Return the Content-Type that ClickHouse sends with a format."""
    if format_name.startswith(_BINARY):
        return "application/octet-stream"
    if format_name.startswith(("TSV", "TabSeparated")):
        return "text/tab-separated-values; charset=UTF-8"
    if format_name.startswith("CSV"):
        return "text/csv; charset=UTF-8; header=" + ("present" if "WithNames" in format_name else "absent")
    if format_name.startswith(_JSON):
        ndjson = "EachRow" in format_name
        return ("application/x-ndjson" if ndjson else "application/json") + "; charset=UTF-8"
    return "text/plain; charset=UTF-8"
