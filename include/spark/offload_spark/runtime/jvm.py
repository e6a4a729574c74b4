"""The JVM beside this process.

spark-submit has started one before Python runs; it has Iceberg on its class path and is reached through py4j. A window that one
machine fetches quickly needs no SparkSession at all, and importing pyspark is left out with it.
"""

from __future__ import annotations

import os
from typing import Any

from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JJavaError

from offload_core.errors import FixConfiguration

JavaObject = Any
"""A py4j proxy: its type is known to the JVM only."""


def attach() -> JavaObject:
    """The launcher's JVM, as py4j's `jvm` view.

    Raises:
        FixConfiguration: this process was not started by spark-submit.
    """
    port, secret = os.environ.get("PYSPARK_GATEWAY_PORT"), os.environ.get("PYSPARK_GATEWAY_SECRET")
    if not port or not secret:
        raise FixConfiguration(
            "The job was started without a JVM.", "Start it with `spark-submit offload_generic.py ...`."
        )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=int(port), auth_token=secret, auto_convert=True))
    return gateway.jvm


def spark_master(jvm: JavaObject) -> str:
    """The master that spark-submit was given, such as `local[*]` or `spark://host:7077`; nothing has been started there yet."""
    return str(jvm.java.lang.System.getProperty("spark.master", ""))


def java_class_names(error: Py4JJavaError) -> list[str]:
    """The exception's class and those of its causes, outermost first, as full Java names."""
    names: list[str] = []
    exception = error.java_exception
    while exception is not None and len(names) < 10:
        names.append(exception.getClass().getName())
        exception = exception.getCause()
    return names


def java_message(error: Py4JJavaError) -> str:
    """The exception's message and that of its innermost cause that has one, in one line without a full stop."""
    exception, texts = error.java_exception, []
    while exception is not None:
        message = exception.getMessage()
        if message:
            texts.append(str(message).split("\n")[0].rstrip("."))
        exception = exception.getCause()
    return ": ".join(dict.fromkeys([*texts[:1], *texts[-1:]])) or str(error.java_exception.getClass().getName())
