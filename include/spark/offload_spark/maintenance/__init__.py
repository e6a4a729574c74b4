"""Maintenance of one Iceberg table: compaction, manifests, snapshots, orphan files."""
