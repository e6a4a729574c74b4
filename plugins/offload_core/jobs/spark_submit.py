"""How the offload starts spark-submit: where Spark is, and what its processes need in their environment.

Set these variables in the environment of Airflow or of the shell; the machine's defaults replace what is unset.

| variable | meaning |
|---|---|
| `OFFLOAD_SPARK_HOME` | Spark's folder, which contains `bin/spark-submit` |
| `OFFLOAD_SPARK_PYTHON` | the job's Python, with the packages of `requirements/spark.in` |
| `OFFLOAD_JAVA_HOME` | Java 17 to 21 |
| `OFFLOAD_SPARK_JARS` | class path with Iceberg's runtime and PostgreSQL's driver |
| `OFFLOAD_SPARK_S3_JARS` | class path with Iceberg's S3 client, unless OFFLOAD_SPARK_JARS has it |
| `OFFLOAD_SPARK_APPLICATION` | `offload_generic.py`, if it is not beside the plugins folder |
| `OFFLOAD_SPARK_SHARE` | folder of the shared applications; default `iceberg-offload-UID` in the temporary folder |
| `OFFLOAD_APPCDS_ARCHIVE` | class-data archive of exactly OFFLOAD_SPARK_JARS; the launcher's archive is beside it |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from offload_core.errors import FixConfiguration

PLUGINS = Path(__file__).resolve().parents[2]
"""The folder that contains offload_core: it is on the job's Python path."""


def application(environ: Mapping[str, str]) -> Path:
    """The job's entry point: OFFLOAD_SPARK_APPLICATION, or `include/spark/offload_generic.py` beside the plugins
    folder.

    Raises:
        FixConfiguration: the file does not exist.
    """
    named = environ.get("OFFLOAD_SPARK_APPLICATION")
    path = Path(named).absolute() if named else PLUGINS.parent / "include" / "spark" / "offload_generic.py"
    if not path.is_file():
        raise FixConfiguration(
            f"The Spark job {path} does not exist.",
            "Copy `include/` next to `plugins/`, or set OFFLOAD_SPARK_APPLICATION to offload_generic.py.",
        )
    return path


def maintenance_application(environ: Mapping[str, str]) -> Path:
    """The entry point of the tables' maintenance, beside the job's.

    Raises FixConfiguration if the job's does not exist.
    """
    return application(environ).with_name("offload_maintain.py")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that spark-submit and the job need, without any secret."""
    home, java, python = (environ.get(f"OFFLOAD_{name}") for name in ("SPARK_HOME", "JAVA_HOME", "SPARK_PYTHON"))
    folders = [f"{folder}/bin" for folder in (home, java) if folder]
    values = {
        "PATH": os.pathsep.join([*folders, environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join([str(application(environ).parent), str(PLUGINS)]),
    }
    # spark-submit starts two JVMs. The first one only writes the second one's command line, and ends before good
    # compilation would pay off.
    launcher = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    archive = environ.get("OFFLOAD_APPCDS_ARCHIVE")
    if archive:
        launcher += _archive_option(launcher_archive(Path(archive)))
    values["SPARK_LAUNCHER_OPTS"] = environ.get("SPARK_LAUNCHER_OPTS", " ".join(launcher))
    # pydantic would search every installed package for plugins.
    values["PYDANTIC_DISABLE_PLUGINS"] = environ.get("PYDANTIC_DISABLE_PLUGINS", "__all__")
    values |= {"SPARK_HOME": home} if home else {}
    values |= {"JAVA_HOME": java} if java else {}
    values |= {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python} if python else {}
    return values


def launcher_archive(archive: Path) -> Path:
    """The class-data archive of spark-submit's launcher, beside that of the job."""
    return archive.with_suffix(".launcher.jsa")


def _archive_option(archive: Path) -> list[str]:
    # Options are split at blanks, and a JVM without the archive is only slower.
    return [f"-XX:SharedArchiveFile={archive}"] if archive.is_file() and len(str(archive).split()) == 1 else []


SECRETS = "(?i)secret|password|token|credential|access[.-]?key"
"""The settings whose values Spark hides: its own pattern, and the names of Iceberg's S3 and REST keys."""


def configuration(environ: Mapping[str, str], *, bulk: bool = False, s3: bool = False) -> dict[str, str]:
    """The Spark settings of a lean start; the installation's `spark_conf` overrides them.

    Args:
        environ: the environment.
        bulk: True for jobs that work on many rows, for which the JVM's best compiler pays off; others end too soon.
        s3: True if the warehouse is in S3.
    """
    jars, s3_jars = environ.get("OFFLOAD_SPARK_JARS"), environ.get("OFFLOAD_SPARK_S3_JARS") if s3 else None
    logging = application(environ).with_name("log4j2.properties")
    options = [
        "-XX:+UseSerialGC",
        *([] if bulk else ["-XX:TieredStopAtLevel=1"]),
        "-Xshare:auto",
        # Hadoop runs chmod twice for each metadata file of a local warehouse; this saves the JDK's intermediate
        # process.
        "-Djdk.lang.Process.launchMechanism=VFORK",
        f"-Dlog4j2.configurationFile={logging.as_uri()}",
    ]
    archive = environ.get("OFFLOAD_APPCDS_ARCHIVE")
    # With another class path, the JVM refuses the archive and warns of it at every start.
    if archive and not s3_jars:
        options += _archive_option(Path(archive))
    values = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.redaction.regex": SECRETS,
        "spark.driver.extraJavaOptions": " ".join(options),
    }
    path = os.pathsep.join(part for part in (jars, s3_jars) if part)
    return values | ({"spark.driver.extraClassPath": path, "spark.executor.extraClassPath": path} if path else {})
