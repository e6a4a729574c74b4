"""Errors of the embedded stack, named by what the caller must do next. Every message ends with the remedy."""

from __future__ import annotations

from install.errors import SetupError


class OtherLineError(SetupError):
    """The state folder belongs to the other line of Airflow: start it with that one, upgrade it, or take another folder."""


class AlreadyStartingError(SetupError):
    """Another command is starting or stopping the same stack: wait for it."""


class PartFailedError(SetupError):
    """A part of the stack did not start: read the log the message names."""


class NotRunningError(SetupError):
    """What was asked for needs a part that does not run: start it with `make up`."""


class StatementRefusedError(SetupError):
    """ClickHouse refused a statement: mend what the message says."""


class PartStuckError(SetupError):
    """A process of ours did not end: look at the process the message names."""


class StateLostError(SetupError):
    """The state folder lacks something it had: restore it, or delete the folder and start afresh."""


class RootRefusedError(SetupError):
    """A part refuses to run as root here and cannot drop its privileges: run as an ordinary user."""


class AirflowRefusedError(SetupError):
    """Airflow's REST API did not do what was asked: look at its log."""


class DemoFailedError(SetupError):
    """The demonstration stopped: mend what the message names and run it again."""
