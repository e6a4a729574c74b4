"""Data files: field ids, footers, and where files are written."""
