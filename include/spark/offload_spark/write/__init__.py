"""Committing fetched files: append, insert what is missing, replace, merge."""
