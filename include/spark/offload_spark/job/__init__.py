"""One run of one table, from the lock to the ledger row."""
