"""The one SparkContext that a JVM can have, where several jobs share the JVM."""

from __future__ import annotations

import fcntl
import logging
import os

from offload_spark.runtime.jvm import JavaObject

log = logging.getLogger("offload")

SESSION_LOCK_ENV = "OFFLOAD_SHARED_SESSION_LOCK"
"""In a job of a shared application: the file whose lock says which job has the context."""

_lock: int | None = None


def take_context(jvm: JavaObject) -> None:
    """Before a SparkSession is started: wait until no other job has one in this JVM, and stop one that a killed job has left.

    Nothing to do where the application is the job's own.
    """
    global _lock
    path = os.environ.get(SESSION_LOCK_ENV)
    if path is None or _lock is not None:
        return
    _lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("Waiting for the Spark session of another table's job in the same application.")
        fcntl.flock(_lock, fcntl.LOCK_EX)  # until this process ends, like the one above
    contexts = getattr(getattr(jvm.org.apache.spark, "SparkContext$"), "MODULE$")  # Scala's object
    left = contexts.getActive()
    if left.isDefined():
        left.get().stop()


def leave_context() -> None:
    """After the job: stop its SparkSession, for the next job to start its own."""
    if _lock is None:
        return
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()
