"""The audit: do both tiers still hold the same rows? Start with `compare`."""
