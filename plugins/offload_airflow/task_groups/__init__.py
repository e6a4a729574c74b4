"""Task groups: one layer of tables."""
