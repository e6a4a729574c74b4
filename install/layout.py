"""Where things are: the checkout, the environments the set-up made, and the folder that holds all runtime state."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from install.airflow_version import AIRFLOW_2, Line, asked_line, named_line
from install.errors import SetupMissingError


@dataclass(frozen=True)
class Layout:
    """Absolute paths of one checkout. OFFLOAD_ENVS moves the environments, OFFLOAD_HOME the state.

    Attributes:
        line: the line of Airflow that is asked for (OFFLOAD_AIRFLOW); what the state folder was made by is `state_line`.
    """

    checkout: Path
    envs: Path
    home: Path
    line: Line = AIRFLOW_2

    @classmethod
    def of_checkout(cls, environ: Mapping[str, str] = os.environ) -> Layout:
        """The layout of the checkout this file lies in; relative paths count from the working directory.

        Where nobody asks for a line of Airflow, it is the one that the state folder was made by.

        Raises:
            UnknownLineError: OFFLOAD_AIRFLOW names none of the two.
        """
        checkout = Path(__file__).resolve().parent.parent
        envs = Path(environ.get("OFFLOAD_ENVS") or checkout / ".venv").absolute()
        home = Path(environ.get("OFFLOAD_HOME") or checkout / ".embedded").absolute()
        layout = cls(checkout=checkout, envs=envs, home=home)
        return replace(layout, line=asked_line(environ) or layout.state_line)

    def python(self, environment: str) -> Path:
        """Interpreter of one of the environments: `spark`, `devstack`, or a line's own."""
        return self.envs / environment / "bin" / "python"

    @property
    def airflow_python(self) -> Path:
        """Interpreter of the environment whose Airflow the state folder belongs to."""
        return self.python(self.state_line.environment)

    @property
    def state_line(self) -> Line:
        """The line that the state folder was made by or upgraded to; as long as it has no Airflow, the one that is asked for.

        Raises:
            UnknownLineError: the folder's note of it is damaged.
        """
        if self.line_file.exists():
            return named_line(self.line_file.read_text().strip(), str(self.line_file))
        # Folders from before there was a choice.
        return AIRFLOW_2 if (self.home / "airflow" / "airflow.cfg").exists() else self.line

    @property
    def line_file(self) -> Path:
        """Where the state folder says which line of Airflow its metadata database belongs to."""
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
        """Link to the Java runtime that the set-up selected."""
        return self.envs / "java-home"

    @property
    def spark_home(self) -> Path:
        """Folder of the pyspark distribution.

        Raises:
            SetupMissingError: the Spark environment is not there.
        """
        for folder in (self.envs / "spark" / "lib").glob("python3*/site-packages/pyspark"):
            return folder
        raise SetupMissingError(f"there is no pyspark in {self.envs / 'spark'}. Run make setup.")

    @property
    def run(self) -> Path:
        """Folder of process records, ports and locks."""
        return self.home / "run"

    @property
    def spark_share(self) -> Path:
        """Folder of the Spark applications that tables share while they are offloaded one after another."""
        return self.run / "spark"

    @property
    def logs(self) -> Path:
        """Folder of every part's log."""
        return self.home / "logs"

    @property
    def connections_file(self) -> Path:
        """The connections of the running stack, passwords included (mode 0600)."""
        return self.home / "connections.json"


def archive(layout: Layout) -> Path:
    """Where the class-data archive belongs that fits the selected Java, the class path and the training as they are now."""
    digest = hashlib.sha256((layout.checkout / "devstack" / "stack" / "appcds.py").read_bytes())
    release = layout.java_home / "release"
    digest.update(release.read_bytes() if release.exists() else str(layout.java_home.resolve()).encode())
    for jar in sorted([*layout.jars.glob("*.jar"), *(layout.spark_home / "jars").glob("*.jar")]):
        # The JVM compares a jar's size and time of change with what it had when the archive was made.
        state = jar.stat()
        digest.update(f"{jar} {state.st_size} {state.st_mtime_ns}".encode())
    return layout.envs / "appcds" / f"{digest.hexdigest()[:16]}.jsa"


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented for an error message."""
    return "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])
