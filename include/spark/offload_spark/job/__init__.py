"""One run of one table, from lock to ledger row."""
