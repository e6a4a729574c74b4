"""Errors of set-up, named by what the caller must do next. Every message ends with the remedy. Standard library only."""

from __future__ import annotations


class SetupError(Exception):
    """Base of everything that set-up and the development stack raise on purpose; the message says what to do."""


class InstallError(SetupError):
    """Set-up could not finish: fix what the message names and run it again."""


class UnknownLineError(InstallError):
    """This project does not run on that version of Airflow: choose `AIRFLOW=2` or `AIRFLOW=3`."""


class JavaUnusableError(InstallError):
    """The Java runtime cannot run Spark: install another one or let set-up bring its own."""


class SetupMissingError(SetupError):
    """An environment is missing or incomplete: run `make setup`."""
