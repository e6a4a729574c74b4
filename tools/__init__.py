"""Programs for developers of this repository."""
