"""Ledgers and alert states that tests prepare."""
