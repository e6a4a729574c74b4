"""The audit: do both tiers still hold the same rows? `compare` is where to begin."""
