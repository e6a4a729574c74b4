"""ClickHouse's native TCP protocol, at the revision that asks least of a server (see `wire.REVISION`)."""
