"""A package, so that its stacks end with its last test and not with the session."""
