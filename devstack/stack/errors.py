"""Errors of the development stack, named by what the caller must do next. Every message ends with the remedy."""

from __future__ import annotations

from install.errors import SetupError


class OtherVersionError(SetupError):
    """The state folder belongs to the other Airflow version: use that version, upgrade it, or use another folder."""


class AlreadyStartingError(SetupError):
    """Another command is starting or stopping the same stack: wait for it."""


class PartFailedError(SetupError):
    """A part of the stack did not start: read the log that the message names."""


class NotRunningError(SetupError):
    """The command needs a part that is not running: start it with `make up`."""


class StatementRefusedError(SetupError):
    """ClickHouse refused a statement: fix what the message names."""


class PartStuckError(SetupError):
    """A process of the stack did not end: inspect the process that the message names."""


class StateLostError(SetupError):
    """The state folder has lost a file: restore the file, or delete the folder and start over."""


class RootRefusedError(SetupError):
    """A part refuses to run as root here and cannot drop its privileges: run the command as another user."""


class AirflowRefusedError(SetupError):
    """Airflow's REST API refused a call or did not answer: read Airflow's log."""


class DemoFailedError(SetupError):
    """The demonstration failed: fix what the message names and run it again."""
