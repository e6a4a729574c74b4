"""The paths of a checkout: its environments, and the folder that holds all runtime state."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from install.airflow_version import AIRFLOW_2, AirflowVersion, requested_version, version_named
from install.errors import SetupMissingError


@dataclass(frozen=True)
class Layout:
    """Absolute paths of one checkout. OFFLOAD_ENVS moves the environments, OFFLOAD_HOME the state folder.

    Attributes:
        version: the requested Airflow version (OFFLOAD_AIRFLOW); `state_version` is the one of the state folder.
    """

    checkout: Path
    envs: Path
    home: Path
    version: AirflowVersion = AIRFLOW_2

    @classmethod
    def of_checkout(cls, environ: Mapping[str, str] = os.environ) -> Layout:
        """Return the layout of the checkout that contains this file.

        Relative paths in the variables start at the working directory. Without OFFLOAD_AIRFLOW, the Airflow version
        is the one of the state folder.

        Raises:
            UnknownVersionError: OFFLOAD_AIRFLOW names neither of the two versions.
        """
        checkout = Path(__file__).resolve().parent.parent
        envs = Path(environ.get("OFFLOAD_ENVS") or checkout / ".venv").absolute()
        home = Path(environ.get("OFFLOAD_HOME") or checkout / ".embedded").absolute()
        layout = cls(checkout=checkout, envs=envs, home=home)
        return replace(layout, version=requested_version(environ) or layout.state_version)

    def python(self, environment: str) -> Path:
        """Interpreter of one of the environments: `spark`, `devstack`, or an Airflow version's own."""
        return self.envs / environment / "bin" / "python"

    @property
    def airflow_python(self) -> Path:
        """Interpreter of the Airflow version that the state folder belongs to."""
        return self.python(self.state_version.environment)

    @property
    def state_version(self) -> AirflowVersion:
        """The Airflow version that the state folder was created with or upgraded to.

        For a state folder without Airflow, it is the requested version.

        Raises:
            UnknownVersionError: the file that records the version is damaged.
        """
        if self.version_file.exists():
            return version_named(self.version_file.read_text().strip(), str(self.version_file))
        # Folders created when there was only Airflow 2.11 record no version.
        return AIRFLOW_2 if (self.home / "airflow" / "airflow.cfg").exists() else self.version

    @property
    def version_file(self) -> Path:
        """The file that records which Airflow version the metadata database belongs to."""
        return self.home / "airflow" / "line"

    @property
    def jars(self) -> Path:
        """Folder with the jars that Spark needs besides its own."""
        return self.envs / "jars"

    @property
    def s3_jars(self) -> Path:
        """Folder with the jars that only a warehouse in S3 needs."""
        return self.jars / "s3"

    @property
    def java_home(self) -> Path:
        """Link to the Java runtime that set-up selected."""
        return self.envs / "java-home"

    @property
    def spark_home(self) -> Path:
        """Folder of the pyspark distribution.

        Raises:
            SetupMissingError: the Spark environment does not exist.
        """
        for folder in (self.envs / "spark" / "lib").glob("python3*/site-packages/pyspark"):
            return folder
        raise SetupMissingError(f"{self.envs / 'spark'} contains no pyspark. Run make setup.")

    @property
    def run(self) -> Path:
        """Folder of process records, ports and locks."""
        return self.home / "run"

    @property
    def spark_share(self) -> Path:
        """Folder of the Spark applications that the jobs of several tables share."""
        return self.run / "spark"

    @property
    def logs(self) -> Path:
        """Folder of the parts' logs."""
        return self.home / "logs"

    @property
    def connections_file(self) -> Path:
        """The connections of the running stack, including passwords (mode 0600)."""
        return self.home / "connections.json"


def archive(layout: Layout) -> Path:
    """Return the path of the class-data archive that fits the current Java, class path and training program."""
    digest = hashlib.sha256((layout.checkout / "devstack" / "stack" / "appcds.py").read_bytes())
    release = layout.java_home / "release"
    digest.update(release.read_bytes() if release.exists() else str(layout.java_home.resolve()).encode())
    for jar in sorted([*layout.jars.glob("*.jar"), *(layout.spark_home / "jars").glob("*.jar")]):
        # The JVM rejects an archive if the size or modification time of a jar has changed since it was written.
        state = jar.stat()
        digest.update(f"{jar} {state.st_size} {state.st_mtime_ns}".encode())
    return layout.envs / "appcds" / f"{digest.hexdigest()[:16]}.jsa"


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented for an error message."""
    return "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])
