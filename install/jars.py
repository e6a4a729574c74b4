"""The jars that Spark needs besides its own: Iceberg's runtime, the catalog's PostgreSQL driver, and the S3 client.

`spark-submit --packages` resolves them once, through the mirror that the machine is configured for. Spark then uses the
files.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from install.errors import InstallError
from install.layout import Layout, tail


@dataclass(frozen=True)
class Jar:
    """One pinned artifact. `size` is checked at every start, `sha256` once after the download."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def coordinate(self) -> str:
        """Maven coordinate."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file_name(self) -> str:
        """Name of the file in the jars folder."""
        return f"{self.artifact}-{self.version}.jar"


JARS = (
    Jar(
        "org.apache.iceberg",
        "iceberg-spark-runtime-4.0_2.13",
        "1.11.0",
        47926285,
        "63c3b812549dc232c1920865ff42436df8604a9bbacd693930985c06bd97e6dc",
    ),
    Jar(
        "org.postgresql",
        "postgresql",
        "42.7.14",
        1221004,
        "73914527305a40cce504b0d3d90b23caf565136912d607ae8ae7c5895512332c",
    ),
)

S3_JARS = (
    Jar(
        "org.apache.iceberg",
        "iceberg-aws-bundle",
        "1.11.0",
        63613165,
        "38f01da7e96850cdd05e6616d758b77b43314b712a8808e3f9a824d56976162f",
    ),
)
"""What a warehouse in S3 also needs.

The jar has its own folder, because it would slow down every start if it were always on the class path.
"""

# It contains only annotations for compilers; the driver runs without it.
_EXCLUDED = "org.checkerframework:checker-qual"


def missing(folder: Path, jars: Sequence[Jar] = JARS) -> list[Jar]:
    """Return those of `jars` that are not in `folder` with their full size."""
    return [jar for jar in jars if not _is_complete(folder / jar.file_name, jar)]


def resolve(layout: Layout, folder: Path, pinned: Sequence[Jar], *, java_home: Path) -> None:
    """Fetch the pinned jars into `folder` and verify them.

    Raises:
        InstallError: the jars could not be fetched, or a fetched file is not the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.envs, prefix=".ivy-") as scratch:
        _run_spark_submit(layout, folder, pinned, Path(scratch), java_home)
        for jar in pinned:
            fetched = Path(scratch, "jars", f"{jar.group}_{jar.file_name}")
            verify(fetched, jar)
            fetched.replace(folder / jar.file_name)


def _run_spark_submit(layout: Layout, folder: Path, pinned: Sequence[Jar], scratch: Path, java_home: Path) -> None:
    application = scratch / "nothing.py"
    application.write_text("")
    command = [str(layout.spark_home / "bin" / "spark-submit"), "--master", "local[1]"]
    command += ["--packages", ",".join(jar.coordinate for jar in pinned), "--exclude-packages", _EXCLUDED]
    command += ["--conf", f"spark.jars.ivy={scratch}"]
    if settings := os.environ.get("OFFLOAD_IVY_SETTINGS"):
        command += ["--conf", f"spark.jars.ivySettings={settings}"]
    log = layout.envs / "logs" / "jars.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        variables = java_variables(layout, scratch, java_home)
        command.append(str(application))
        status = subprocess.run(command, check=False, stdout=output, stderr=output, env=variables).returncode
    absent = [jar.file_name for jar in pinned if not (scratch / "jars" / f"{jar.group}_{jar.file_name}").exists()]
    if status or absent:
        raise InstallError(
            f"could not fetch the jars (exit status {status}, missing: {', '.join(absent) or 'none'}, log: {log}). "
            "Check the network, or name a mirror with OFFLOAD_IVY_SETTINGS (the path of an ivysettings.xml), or put "
            f"the files into {folder} yourself. Then run make setup again.\n{tail(log)}"
        )


def java_variables(layout: Layout, scratch: Path, java_home: Path) -> dict[str, str]:
    """Return the environment for a Java that fetches files; it trusts the machine's certificate authorities."""
    variables = {
        **os.environ,
        "JAVA_HOME": str(java_home),
        "SPARK_HOME": str(layout.spark_home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": str(layout.python("spark")),
    }
    if certificates := os.environ.get("SSL_CERT_FILE"):
        options = _trust(layout, certificates, scratch / "trusted.p12")
        variables["JAVA_TOOL_OPTIONS"] = f"{options} {os.environ.get('JAVA_TOOL_OPTIONS', '')}".strip()
    return variables


def _trust(layout: Layout, certificates: str, store: Path) -> str:
    """Java options that name a trust store made from SSL_CERT_FILE, because Java ignores that variable."""
    command = [str(layout.python("devstack")), "-m", "install.truststore", certificates, str(store)]
    result = subprocess.run(command, check=False, cwd=layout.checkout, capture_output=True, text=True)
    if result.returncode:
        raise InstallError(
            f"SSL_CERT_FILE={certificates} is not a bundle of PEM certificates. Correct or unset it, then run make "
            f"setup again.\n{result.stderr}"
        )
    trust = {"trustStore": store, "trustStoreType": "PKCS12", "trustStorePassword": "changeit"}  # not a secret
    return " ".join(f"-Djavax.net.ssl.{name}={value}" for name, value in trust.items())


def _is_complete(path: Path, jar: Jar) -> bool:
    return path.exists() and path.stat().st_size == jar.size


def verify(path: Path, jar: Jar) -> None:
    """Check that a fetched file is the pinned one.

    Raises:
        InstallError: it is not.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != jar.sha256:
        raise InstallError(
            f"{jar.coordinate} is not the pinned file (sha256 {digest}, expected {jar.sha256}). Your mirror serves "
            f"another one: fetch the jar from a source you trust, or change the pin in {__name__} deliberately."
        )
