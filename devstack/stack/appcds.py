"""Trains the class-data archives (AppCDS) that halve the start time of the job's JVMs: spark-submit and its launcher.

Set-up trains them once with a real offload of a few rows, so that they contain exactly the classes that the job needs.
An archive fits one JVM and one class path, and the JVM silently ignores any other. The archive's name is therefore a
hash of both and of this file: if one of them changes, set-up trains new archives.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from devstack.stack.environment import exports
from devstack.stack.stack import Stack
from install.errors import InstallError
from install.layout import Layout, archive
from offload_core.config.connections import load_connections
from offload_core.config.settings import Settings
from offload_core.config.tables import DEFAULT_TABLES
from offload_core.jobs import spark_submit
from offload_core.jobs.arguments import JobArguments

S3 = "s3"
"""The argument that adds the S3 client to the class path, and the name of that archive."""
_SPAN = timedelta(minutes=5)


def train(layout: Layout, *, s3: bool = False) -> None:
    """Offload a few rows on a temporary stack, and archive the classes that the JVMs loaded.

    Args:
        layout: the paths of the checkout.
        s3: whether the class path includes the S3 client, as in the container image; that archive is `s3.jsa`.

    Raises:
        InstallError: the training failed, or a JVM does not accept its archive.
    """
    target = archive(layout).with_name(f"{S3}.jsa") if s3 else archive(layout)
    target.parent.mkdir(exist_ok=True)
    for stale in target.parent.glob("*.jsa"):
        stale.unlink()
    with tempfile.TemporaryDirectory(prefix="offload-appcds-", ignore_cleanup_errors=True) as folder:
        home = Layout.of_checkout({**os.environ, "OFFLOAD_HOME": folder, "OFFLOAD_ENVS": str(layout.envs)})
        stack = Stack(home)
        try:
            stack.up(lambda _: None, airflow=False)
            environ = {**os.environ, **exports(home), "OFFLOAD_PYTHON": sys.executable}
            if s3:
                environ["OFFLOAD_SPARK_JARS"] += os.pathsep + environ.pop("OFFLOAD_SPARK_S3_JARS")
            _run([str(home.checkout / "bin" / "offload"), "init", "--hot-tier"], environ)
            start = datetime.now(timezone.utc) - timedelta(hours=1)
            _insert_trades(environ, start)
            # Train the usual case, a table that already has rows: an append to it also reads existing metadata.
            _offload(environ)
            _insert_trades(environ, start + _SPAN)
            trained, launcher = Path(folder, "trained.jsa"), Path(folder, "launcher.jsa")
            _offload(environ, f"-XX:ArchiveClassesAtExit={trained}", f"-XX:ArchiveClassesAtExit={launcher}")
            _insert_trades(environ, start + 2 * _SPAN)
            # With -Xshare:on, a JVM that cannot use the archive fails instead of continuing without it.
            _offload(
                environ,
                f"-XX:SharedArchiveFile={trained} -Xshare:on",
                f"-XX:SharedArchiveFile={launcher} -Xshare:on",
            )
            _keep(launcher, spark_submit.launcher_archive(target))
            _keep(trained, target)
        finally:
            stack.down(lambda _: None)


def _keep(trained: Path, target: Path) -> None:
    # The folder may be on another file system: copy under another name first, so that the archive appears complete.
    partial = target.with_suffix(".part")
    partial.write_bytes(trained.read_bytes())
    partial.rename(target)


def _insert_trades(environ: dict[str, str], start: datetime) -> None:
    span = ["--from", start.isoformat(), "--to", (start + _SPAN).isoformat()]
    _run([sys.executable, "-m", "devstack.market_feed", "history", "--rows", "500", "--seed", "1", *span], environ)


def _offload(environ: dict[str, str], java_options: str = "", launcher_options: str = "") -> None:
    table = DEFAULT_TABLES[0]
    environ = {**environ, "OFFLOAD_CONNECTIONS": load_connections(environ).with_secrets_json()}
    command = [str(Path(environ["OFFLOAD_SPARK_HOME"], "bin", "spark-submit")), "--master", "local[1]"]
    for key, value in spark_submit.configuration(environ).items():
        command += [
            "--conf",
            f"{key}={value} {java_options}" if key == "spark.driver.extraJavaOptions" else f"{key}={value}",
        ]
    argv = JobArguments(table, Settings(), run_id="training").to_argv()
    values = spark_submit.environment(environ)
    values["SPARK_LAUNCHER_OPTS"] += f" {launcher_options}"
    _run([*command, str(spark_submit.application(environ)), *argv], {**environ, **values})


def _run(command: list[str], environ: dict[str, str]) -> None:
    path = os.pathsep.join([environ.get("PYTHONPATH", ""), str(Layout.of_checkout().checkout)]).lstrip(os.pathsep)
    result = subprocess.run(command, env={**environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if result.returncode:
        raise InstallError(
            f"{' '.join(command[:2])} failed while training the archive:\n{result.stdout}{result.stderr}"
        )


if __name__ == "__main__":
    train(Layout.of_checkout(), s3=S3 in sys.argv[1:])
