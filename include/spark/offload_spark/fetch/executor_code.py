"""Ships the offload's own modules to Spark's executors. Third-party packages must be installed in their Python."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import offload_core
import offload_spark

if TYPE_CHECKING:
    from pyspark import SparkContext

_PACKAGES = (offload_core, offload_spark)

_lock = threading.Lock()
_shipped: set[str] = set()
"""The Spark applications whose executors have the archive."""


def ship(context: SparkContext) -> None:
    """Let the executors of an application import offload_core and offload_spark. Repeated calls do nothing."""
    from pyspark import SparkFiles

    with _lock:
        if context.applicationId in _shipped:
            return
        # Executors that start late fetch the archive from this folder, which Spark deletes with the application.
        folder = Path(SparkFiles.getRootDirectory(), "offload-code")
        folder.mkdir(exist_ok=True)
        archive = folder / "offload.zip"
        write_archive(archive)
        context.addPyFile(str(archive))
        _shipped.add(context.applicationId)


def write_archive(path: Path) -> None:
    """Write the modules of both packages into a zip file that Python can import from."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            root = Path(str(package.__file__)).parent
            for module in sorted(root.rglob("*.py")):
                archive.write(module, module.relative_to(root.parent))
