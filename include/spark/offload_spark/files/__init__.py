"""Data files: field ids, footers, and the targets that executors write to."""
