"""Errors of set-up, named by what the caller must do next. Every message ends with the remedy.

Standard library only.
"""

from __future__ import annotations


class SetupError(Exception):
    """Base of all errors that set-up and the development stack raise deliberately; the message says what to do."""


class InstallError(SetupError):
    """Set-up could not finish: fix what the message names and run set-up again."""


class UnknownVersionError(InstallError):
    """The package does not run on that Airflow version: choose `AIRFLOW=2` or `AIRFLOW=3`."""


class JavaUnusableError(InstallError):
    """The Java runtime cannot run Spark: install another one or let set-up bring its own."""


class SetupMissingError(SetupError):
    """An environment is missing or incomplete: run `make setup`."""
