"""The JVM beside this process.

spark-submit starts it before Python, with Iceberg on its class path; py4j connects to it. A window that one machine
fetches quickly needs no SparkSession, and then pyspark is not even imported.
"""

from __future__ import annotations

import os
from typing import Any

from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JJavaError

from offload_core.errors import FixConfiguration

JavaObject = Any
"""A py4j proxy; only the JVM knows its type."""


def attach() -> JavaObject:
    """The launcher's JVM, as py4j's `jvm` view.

    Raises:
        FixConfiguration: spark-submit did not start this process.
    """
    port, secret = os.environ.get("PYSPARK_GATEWAY_PORT"), os.environ.get("PYSPARK_GATEWAY_SECRET")
    if not port or not secret:
        raise FixConfiguration(
            "The job was started without a JVM.", "Start it with `spark-submit offload_generic.py ...`."
        )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=int(port), auth_token=secret, auto_convert=True))
    return gateway.jvm


def spark_master(jvm: JavaObject) -> str:
    """The master of spark-submit's command line, such as `local[*]` or `spark://host:7077`.

    Works without a SparkSession.
    """
    return str(jvm.java.lang.System.getProperty("spark.master", ""))


def java_class_names(error: Py4JJavaError) -> list[str]:
    """Full Java class names of the exception and its causes, outermost first."""
    names: list[str] = []
    exception = error.java_exception
    while exception is not None and len(names) < 10:
        names.append(exception.getClass().getName())
        exception = exception.getCause()
    return names


def java_message(error: Py4JJavaError) -> str:
    """The outermost and the innermost message of the exception and its causes, in one line without a full stop."""
    exception, texts = error.java_exception, []
    while exception is not None:
        message = exception.getMessage()
        if message:
            texts.append(str(message).split("\n")[0].rstrip("."))
        exception = exception.getCause()
    return ": ".join(dict.fromkeys([*texts[:1], *texts[-1:]])) or str(error.java_exception.getClass().getName())
