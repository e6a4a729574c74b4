"""Tables, jobs and faults for tests of the Spark side."""
