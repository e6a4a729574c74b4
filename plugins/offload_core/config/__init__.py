"""What operators configure: tables, settings and Connections, each validated by one model."""
