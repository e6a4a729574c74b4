"""Iceberg tables through the Java API: catalog, metadata, branches, schema."""
