"""Where Airflow 3's own log lines go in a command of ours."""

from __future__ import annotations

import logging
import sys
from copy import copy

import structlog
from airflow.configuration import conf

__all__ = ["logs_on_stderr"]


def logs_on_stderr() -> None:
    """Send them to standard error: Airflow's place for them is standard output, where a command's answer belongs."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
    # It takes every field of a Connection's extra for a secret, and finds a database's name too short for one.
    logging.getLogger("airflow._shared.secrets_masker.secrets_masker").setLevel(logging.ERROR)
    factory = copy(structlog.get_config()["logger_factory"])
    factory.io = sys.stderr.buffer if conf.getboolean("logging", "json_logs", fallback=False) else sys.stderr
    structlog.configure(logger_factory=factory)
