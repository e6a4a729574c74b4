"""Where Airflow 3's log lines go in the `offload` command."""

from __future__ import annotations

import logging
import sys
from copy import copy

import structlog
from airflow.configuration import conf

__all__ = ["logs_on_stderr"]


def logs_on_stderr() -> None:
    """Send log lines to stderr. Airflow 3 writes them to stdout, which a command needs for its result."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
    # The masker takes every field of a Connection's extra for a secret, and warns that a database's name is too short.
    logging.getLogger("airflow._shared.secrets_masker.secrets_masker").setLevel(logging.ERROR)
    factory = copy(structlog.get_config()["logger_factory"])
    factory.io = sys.stderr.buffer if conf.getboolean("logging", "json_logs", fallback=False) else sys.stderr
    structlog.configure(logger_factory=factory)
