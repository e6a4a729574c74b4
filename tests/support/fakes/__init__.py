"""Fakes of servers and programs that tests must not use."""
