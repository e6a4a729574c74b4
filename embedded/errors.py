"""Errors of the embedded stack, named by what the caller must do next. Every message ends with the remedy."""

from __future__ import annotations


class EmbeddedError(Exception):
    """Base of everything the embedded stack raises on purpose; the message says what to do."""


class InstallError(EmbeddedError):
    """Set-up could not finish: mend what the message names and run it again."""


class UnknownLineError(InstallError):
    """Airflow has no such line here: say `AIRFLOW=2` or `AIRFLOW=3`."""


class OtherLineError(EmbeddedError):
    """The state folder belongs to the other line of Airflow: start it with that one, upgrade it, or take another folder."""


class JavaUnusableError(InstallError):
    """The Java runtime cannot run Spark: install another one or let the set-up bring its own."""


class SetupMissingError(EmbeddedError):
    """An environment is missing or half-made: run `make setup`."""


class AlreadyStartingError(EmbeddedError):
    """Another command is starting or stopping the same stack: wait for it."""


class PartFailedError(EmbeddedError):
    """A part of the stack did not start: read the log the message names."""


class NotRunningError(EmbeddedError):
    """What was asked for needs a part that does not run: start it with `make up`."""


class StatementRefusedError(EmbeddedError):
    """ClickHouse refused a statement: mend what the message says."""


class PartStuckError(EmbeddedError):
    """A process of ours did not end: look at the process the message names."""


class StateLostError(EmbeddedError):
    """The state folder lacks something it had: restore it, or delete the folder and start afresh."""


class RootRefusedError(EmbeddedError):
    """A part refuses to run as root here and cannot drop its privileges: run as an ordinary user."""


class AirflowRefusedError(EmbeddedError):
    """Airflow's REST API did not do what was asked: look at its log."""


class DemoFailedError(EmbeddedError):
    """The demonstration stopped: mend what the message names and run it again."""
