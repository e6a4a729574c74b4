"""The ledger in PostgreSQL: every SQL statement on it, and the models of its rows."""
