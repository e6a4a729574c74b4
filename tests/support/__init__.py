"""Fixtures shared by the suites: real servers, started for the run or the user's own."""
