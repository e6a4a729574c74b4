"""What a run was asked to do: the conf of a manual trigger, validated."""
