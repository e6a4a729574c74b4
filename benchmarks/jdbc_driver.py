"""ClickHouse's JDBC driver, which only the route `spark-naive` needs.

Spark's `--packages` supports no classifier, so Spark's own Ivy fetches the driver.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from install import jars
from install.errors import InstallError
from install.jars import Jar
from install.layout import Layout, tail

DRIVER = Jar(
    "com.clickhouse",
    "clickhouse-jdbc",
    "0.9.9",
    12252310,
    "56b49bb9e40df699eff03215e3853ce028be9a6bf17f33687434901a74ee28e0",
)
"""The last version that has a jar with the classifier `all`."""

_MODULE = """\
<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">
  <info organisation="offload" module="bench"/>
  <configurations><conf name="default"/></configurations>
  <dependencies>
    <dependency org="{jar.group}" name="{jar.artifact}" rev="{jar.version}" conf="default->master" transitive="false">
      <artifact name="{jar.artifact}" type="jar" ext="jar" m:classifier="all"/>
    </dependency>
  </dependencies>
</ivy-module>
"""


def ensure(layout: Layout) -> Path:
    """Fetch the driver unless it exists, and return its path.

    Raises:
        InstallError: the driver cannot be fetched, or is not the pinned one.
    """
    folder = layout.jars / "bench"
    path = folder / DRIVER.file_name
    if not jars.missing(folder, [DRIVER]):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.envs, prefix=".ivy-") as scratch:
        fetched = _fetch(layout, Path(scratch))
        jars.verify(fetched, DRIVER)
        fetched.replace(path)
    return path


def _fetch(layout: Layout, scratch: Path) -> Path:
    module, fetched = scratch / "ivy.xml", scratch / f"{DRIVER.artifact}.jar"
    module.write_text(_MODULE.format(jar=DRIVER))
    (ivy,) = (layout.spark_home / "jars").glob("ivy-*.jar")
    environ = jars.java_variables(layout, scratch, layout.java_home)
    command = [str(layout.java_home / "bin" / "java"), "-jar", str(ivy), "-ivy", str(module)]
    command += ["-cache", str(scratch / "cache"), "-retrieve", str(scratch / "[artifact].[ext]")]
    if settings := environ.get("OFFLOAD_IVY_SETTINGS"):
        command += ["-settings", settings]
    log = layout.envs / "logs" / "jdbc-driver.log"
    with log.open("w") as output:
        status = subprocess.run(command, check=False, stdout=output, stderr=output, env=environ).returncode
    if status or not fetched.exists():
        raise InstallError(
            f"could not fetch {DRIVER.coordinate} (exit status {status}, log: {log}). Check the network, or name a "
            f"mirror with OFFLOAD_IVY_SETTINGS (the path of an ivysettings.xml). Then run make bench again."
            f"\n{tail(log)}"
        )
    return fetched
