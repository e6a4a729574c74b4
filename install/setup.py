"""Set-up: creates the environments, and provides the Java runtime and the jars, that everything else uses.

`make setup` runs `python -m install` before every other target. Set-up needs only the standard library. It installs
what is missing or whose lock file has changed, works on several parts at once, and repairs an interrupted run when it
is run again. `python -m install readers` creates the environment that only some tests need; `python -m install s3`
fetches what only a warehouse in S3 needs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from install import jars, java
from install.airflow_version import AirflowVersion
from install.errors import InstallError
from install.layout import Layout, archive, tail

_STAMP = ".installed"
_S3 = "s3"
_NETWORK_REMEDY = (
    "Check the network and the package index (PIP_INDEX_URL, PIP_CERT, SSL_CERT_FILE), then run make setup again."
)
_print_lock = threading.Lock()


@dataclass(frozen=True)
class Environment:
    """A virtual environment and the lock files that pin its packages."""

    name: str
    locks: tuple[str, ...]


BOOTSTRAP = Environment("bootstrap", ("requirements/bootstrap.txt",))
SPARK = Environment("spark", ("requirements/spark.txt",))
DEVSTACK = Environment("devstack", ("requirements/devstack.txt",))
JAVA = Environment("java", ("requirements/java.txt",))
READERS = Environment("readers", ("requirements/readers.txt",))
PEERS = {
    name: Environment(f"bench-{name}", (f"requirements/bench-{name}.txt",)) for name in ("pyiceberg", "dlt", "sling")
}
"""The programs that `make bench` compares the offload with, each in its own environment."""


def main(arguments: Sequence[str] = ()) -> int:
    """Bring the requested parts up to date and return the exit status: 0 only when all of them are ready.

    Args:
        arguments: `readers` for the readers' environment, `s3` for the client of a warehouse in S3; empty for
            everything else.
    """
    try:
        layout = Layout.of_checkout()
        layout.envs.mkdir(parents=True, exist_ok=True)
        with _setup_lock(layout):
            if READERS.name in arguments:
                _ensure_bootstrap(layout)
                _ensure_environment(layout, READERS)
            if _S3 in arguments:
                _ensure_bootstrap(layout)
                _ensure_environment(layout, SPARK)
                _ensure_environment(layout, DEVSTACK)
                _ensure_java(layout)
                _ensure_jars(layout, layout.s3_jars, jars.S3_JARS)
            if not arguments:
                _install_all(layout)
    except InstallError as error:
        _say(f"setup failed: {error}")
        return 1
    return 0


def install_peer(layout: Layout, name: str) -> Path:
    """Create the environment of one of `PEERS` unless it exists, and return its interpreter.

    Raises:
        InstallError: the environment cannot be created; the message has the reason and the remedy.
    """
    with _setup_lock(layout):
        _ensure_bootstrap(layout)
        _ensure_environment(layout, PEERS[name])
    return layout.python(PEERS[name].name)


def _install_all(layout: Layout) -> None:
    _ensure_bootstrap(layout)
    # Every installation runs to its end even when another one fails, so that the next attempt has less to do.
    with ThreadPoolExecutor(max_workers=3) as pool:
        airflows = [pool.submit(_ensure_environment, layout, environment) for environment in _airflows(layout)]
        others = [pool.submit(_ensure_environment, layout, environment) for environment in (SPARK, DEVSTACK)]
        for other in others:
            other.result()
        _put_on_path(layout)
        _ensure_java(layout)
        _ensure_jars(layout, layout.jars, jars.JARS)
        _ensure_archive(layout)
        for airflow in airflows:
            airflow.result()


def _airflows(layout: Layout) -> list[Environment]:
    """The environments of the requested Airflow version and of the one that the state folder belongs to."""
    versions: dict[str, AirflowVersion] = {
        version.number: version for version in (layout.version, layout.state_version)
    }
    return [Environment(version.environment, version.locks) for version in versions.values()]


def _put_on_path(layout: Layout) -> None:
    """Let the devstack environment import the core from the checkout, as an editable installation would."""
    site_packages = next((layout.envs / DEVSTACK.name / "lib").glob("python3*/site-packages"))
    entry = site_packages / "iceberg-offload.pth"
    content = f"{layout.checkout / 'plugins'}\n"
    if not entry.exists() or entry.read_text() != content:
        entry.write_text(content)


def _ensure_java(layout: Layout) -> None:
    if not java.selection_is_current(layout):
        home = java.find_suitable() or _bundled_java(layout)
        java.select(layout, home)
        _say(f"java: {java.describe(home)}")


def _ensure_jars(layout: Layout, folder: Path, pinned: Sequence[jars.Jar]) -> None:
    missing = jars.missing(folder, pinned)
    if missing:
        with _progress("jars", ", ".join(jar.file_name for jar in missing)):
            jars.resolve(layout, folder, missing, java_home=layout.java_home)


def _ensure_archive(layout: Layout) -> None:
    """Train the class-data archive of the job's JVM unless one that fits exists.

    Without it, every start of the JVM takes a second longer.
    """
    if archive(layout).exists():
        return
    with _progress("appcds", "class-data archive, trained by a small offload"):
        python = str(layout.python(DEVSTACK.name))
        remedy = "Fix the cause that the log names, then run make setup again."
        _run(layout, "appcds", [python, "-m", "devstack.stack.appcds"], remedy=remedy)


def _bundled_java(layout: Layout) -> Path:
    _ensure_environment(layout, JAVA)
    return java.wrap_wheel_runtime(layout)


def _ensure_bootstrap(layout: Layout) -> None:
    """Create the small environment that contains `uv`; pip fetches it, with the user's pip configuration."""
    stamp = _fingerprint(layout, BOOTSTRAP)
    home = layout.envs / BOOTSTRAP.name
    if _is_installed(home, stamp):
        return
    with _progress(BOOTSTRAP.name, "uv, which installs the rest"):
        base = Path(getattr(sys, "_base_executable", sys.executable))
        _run(
            layout,
            BOOTSTRAP.name,
            [str(base), "-m", "venv", "--clear", str(home)],
            remedy="Install Python's venv module (on Debian and Ubuntu: python3-venv), or name a Python: make PYTHON=…",
        )
        python = str(home / "bin" / "python")
        _run(
            layout,
            BOOTSTRAP.name,
            [python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", *_lock_paths(layout, BOOTSTRAP)],
            remedy=_NETWORK_REMEDY,
        )
        (home / _STAMP).write_text(stamp)


def _ensure_environment(layout: Layout, environment: Environment) -> None:
    home = layout.envs / environment.name
    stamp = _fingerprint(layout, environment)
    if _is_installed(home, stamp):
        return
    uv = str(layout.envs / BOOTSTRAP.name / "bin" / "uv")
    variables = _uv_variables(layout)
    with _progress(environment.name, " ".join(environment.locks)):
        (home / _STAMP).unlink(missing_ok=True)
        if not _works(home / "bin" / "python"):
            interpreter = str(layout.envs / BOOTSTRAP.name / "bin" / "python")
            # uv refuses an incomplete environment, such as an interrupted run leaves behind.
            shutil.rmtree(home, ignore_errors=True)
            command = [uv, "venv", "--quiet", "--python", interpreter, str(home)]
            _run(layout, environment.name, command, remedy=_NETWORK_REMEDY, variables=variables)
        command = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(home / "bin" / "python")]
        command += _lock_paths(layout, environment)
        _run(layout, environment.name, command, remedy=_NETWORK_REMEDY, variables=variables)
        (home / _STAMP).write_text(stamp)


def _fingerprint(layout: Layout, environment: Environment) -> str:
    digest = hashlib.sha256()
    for path in _lock_paths(layout, environment):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _lock_paths(layout: Layout, environment: Environment) -> list[str]:
    return [str(layout.checkout / name) for name in environment.locks]


def _is_installed(home: Path, stamp: str) -> bool:
    recorded = home / _STAMP
    # `exists` follows the link to the base interpreter: an environment whose Python was removed is created again.
    return recorded.exists() and recorded.read_text() == stamp and (home / "bin" / "python").exists()


def _works(python: Path) -> bool:
    return python.exists() and subprocess.run([str(python), "-c", ""], check=False, capture_output=True).returncode == 0


def _uv_variables(layout: Layout) -> dict[str, str]:
    """Environment variables for `uv`: the user's pip configuration (indexes, certificates, timeouts) applies to it."""
    python = str(layout.envs / BOOTSTRAP.name / "bin" / "python")
    listing = subprocess.run([python, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True).stdout
    return {**os.environ, **uv_variables_from_pip(listing, os.environ), "UV_PYTHON_DOWNLOADS": "never"}


def uv_variables_from_pip(listing: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Translate the output of `pip config list` into uv's variables.

    Lines look like `global.index-url='…'` or, for PIP_* variables, which take precedence, `:env:.index-url='…'`.
    A variable that the user has set for uv itself is left out of the result, so it wins.
    """
    options: dict[str, str] = {}
    for line in sorted(listing.splitlines(), key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        options[key.rpartition(".")[2]] = value.strip().strip("'\"")
    translation = {
        "UV_DEFAULT_INDEX": options.get("index-url"),
        "UV_INDEX": " ".join(options.get("extra-index-url", "").replace("\\n", " ").split()),
        "UV_FIND_LINKS": ",".join(options.get("find-links", "").replace("\\n", " ").split()),
        "UV_INSECURE_HOST": " ".join(options.get("trusted-host", "").replace("\\n", " ").split()),
        "UV_HTTP_TIMEOUT": options.get("timeout") or options.get("default-timeout"),
        "SSL_CERT_FILE": options.get("cert"),
    }
    return {name: value for name, value in translation.items() if value and not environ.get(name)}


def _run(
    layout: Layout, name: str, command: list[str], *, remedy: str, variables: dict[str, str] | None = None
) -> None:
    """Run one step with its output in `logs/`; if it fails, the error shows the end of that output and the remedy."""
    log = layout.envs / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("a") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        result = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables
        )
    if result.returncode:
        raise InstallError(
            f"could not install the {name} part (exit status {result.returncode}, log: {log}). {remedy}\n{tail(log)}"
        )


@contextmanager
def _setup_lock(layout: Layout) -> Iterator[None]:
    """Hold the lock that keeps two set-ups of one checkout apart; wait for it if necessary."""
    with (layout.envs / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another set-up of this checkout to finish")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _progress(name: str, detail: str) -> Iterator[None]:
    _say(f"{name}: installing {detail} …")
    start = time.monotonic()
    yield
    _say(f"{name}: ready after {time.monotonic() - start:.1f} s")


def _say(text: str) -> None:
    with _print_lock:
        print(f"[setup] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
