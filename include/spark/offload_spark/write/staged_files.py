"""Lets Spark read uncommitted files through Iceberg, because Spark itself has no client for S3.

Iceberg's own compaction passes files to Spark in the same way, as a named set of scan tasks.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from offload_spark.iceberg.data_files import DataFile
from offload_spark.runtime.jvm import JavaObject

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def stage_for_spark(session: SparkSession, name: str, files: Sequence[DataFile]) -> str:
    """Make files readable in this session.

    Args:
        session: a session with the catalog.
        name: the table's full name in the session, quoted.
        files: files of the table's partition spec.

    Returns:
        The value of the read option `scan-task-set-id`. It is valid as long as this JVM lives.
    """
    # The session is the active one only in pyspark's own thread of the JVM.
    jvm: JavaObject = session._jvm
    iceberg = jvm.org.apache.iceberg
    table = iceberg.spark.Spark3Util.loadIcebergTable(session._jsparkSession, name)
    schema, spec = iceberg.SchemaParser.toJson(table.schema()), iceberg.PartitionSpecParser.toJson(table.spec())
    every_row = iceberg.expressions.ResidualEvaluator.unpartitioned(iceberg.expressions.Expressions.alwaysTrue())
    no_deletes = jvm.java.lang.reflect.Array.newInstance(
        jvm.java.lang.Class.forName("org.apache.iceberg.DeleteFile"), 0
    )
    tasks = jvm.java.util.ArrayList()
    for file in files:
        tasks.add(iceberg.BaseFileScanTask(file.java, no_deletes, schema, spec, every_row))
    identity = str(uuid.uuid4())
    iceberg.spark.ScanTaskSetManager.get().stageTasks(table, identity, tasks)
    return identity
