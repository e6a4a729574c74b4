"""Starting Spark jobs: their arguments, their environment, their outcome, and the JVM that several tables share."""
