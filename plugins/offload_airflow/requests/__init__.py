"""What a run was triggered for: the conf of a triggered run, validated."""
