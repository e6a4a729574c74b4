"""Letting Spark read files that no commit refers to through Iceberg: where they are in S3, Spark itself has no client for them.

Iceberg's own compaction hands Spark its files in the same way, as a named set of scan tasks.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from offload_spark.iceberg.table import DataFile
from offload_spark.runtime.jvm import JavaObject

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def stage_for_spark(session: SparkSession, name: str, files: Sequence[DataFile]) -> str:
    """Make files readable in this session.

    Args:
        session: a session that knows the catalog.
        name: the table's full name in it, quoted.
        files: described with the table's specification.

    Returns:
        What the option `scan-task-set-id` of a read of the table takes. It lasts as long as this JVM.
    """
    # pyspark's own thread of the JVM: only there is the session the active one.
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
