"""Access to the JVM's only SparkContext, where several jobs share the JVM."""

from __future__ import annotations

import fcntl
import logging
import os

from offload_spark.runtime.jvm import JavaObject

log = logging.getLogger("offload")

SESSION_LOCK_ENV = "OFFLOAD_SHARED_SESSION_LOCK"
"""In a job of a shared application: a file whose lock the job with the context holds."""

_lock: int | None = None


def acquire_context(jvm: JavaObject) -> None:
    """Before a SparkSession starts: wait until no other job has one in this JVM, and stop one that a killed job left.

    Does nothing if the job has an application of its own.
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
        fcntl.flock(_lock, fcntl.LOCK_EX)  # held until this process ends, like the one above
    contexts = getattr(getattr(jvm.org.apache.spark, "SparkContext$"), "MODULE$")  # Scala's object
    orphan = contexts.getActive()
    if orphan.isDefined():
        orphan.get().stop()


def release_context() -> None:
    """After the job: stop its SparkSession, so that the next job can start its own."""
    if _lock is None:
        return
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()
