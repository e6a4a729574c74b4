"""The rules of exactly-once as pure functions: windows and cursors, the plan of a run, the marker of a commit."""
