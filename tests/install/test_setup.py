"""Set-up: it installs what is missing, nothing twice, and repairs interrupted installations."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from install import jars, setup
from install.airflow_version import AIRFLOW_2, AIRFLOW_3
from install.errors import InstallError
from install.layout import Layout
from install.setup import Environment
from tests.support.stack.servers import CHECKOUT

TINY = setup.Environment("tiny", ("tiny.lock.txt",))


@pytest.fixture
def layout(tmp_path) -> Layout:
    """A checkout with one empty lock file, and the real installer."""
    real = Layout.of_checkout()
    made = replace(real, checkout=tmp_path / "checkout", envs=tmp_path / "envs")
    made.checkout.mkdir()
    made.envs.mkdir()
    (made.envs / "bootstrap").symlink_to(real.envs / "bootstrap")
    (made.checkout / "tiny.lock.txt").write_text("# nothing\n")
    return made


def _install(layout: Layout) -> None:
    setup._ensure_environment(layout, TINY)


def _log(layout: Layout) -> str:
    return (layout.envs / "logs" / "tiny.log").read_text()


def test_an_environment_that_is_up_to_date_is_left_alone(layout):
    _install(layout)
    before = _log(layout)

    _install(layout)

    assert _log(layout) == before


def test_a_changed_lock_file_installs_again_into_the_same_environment(layout):
    _install(layout)
    marker = layout.envs / "tiny" / "marker"
    marker.touch()

    (layout.checkout / "tiny.lock.txt").write_text("# still nothing\n")
    _install(layout)

    assert _log(layout).count("pip sync") == 2
    assert marker.exists()


def test_an_interrupted_installation_is_repaired(layout):
    broken = layout.envs / "tiny" / "bin"
    broken.mkdir(parents=True)
    (broken / "python").symlink_to("/nowhere/python3")

    _install(layout)

    assert subprocess.run([broken / "python", "-c", ""], check=True).returncode == 0


def test_an_environment_whose_python_was_removed_is_created_again(layout):
    _install(layout)
    python = layout.envs / "tiny" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")

    _install(layout)

    assert python.exists()


def test_a_failed_installation_says_where_its_log_is_and_is_tried_again(layout):
    (layout.checkout / "tiny.lock.txt").write_text("no such syntax ==\n")

    with pytest.raises(InstallError, match=r"could not install the tiny part .*log: .*then run make setup again"):
        _install(layout)

    (layout.checkout / "tiny.lock.txt").write_text("# nothing\n")
    _install(layout)


def test_a_package_without_its_hash_is_refused(layout):
    (layout.checkout / "tiny.lock.txt").write_text("pydantic==2.14.3\n")

    with pytest.raises(InstallError, match="hash"):
        _install(layout)


def test_the_configuration_of_pip_applies_to_uv():
    listing = "\n".join(
        [
            "global.index-url='https://mirror.example/simple'",
            "global.cert='/file.pem'",
            ":env:.cert='/variable.pem'",
            ":env:.find-links='/wheels /more'",
            "global.extra-index-url='https://one.example\\nhttps://two.example'",
        ]
    )

    assert setup.uv_variables_from_pip(listing, {}) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://one.example https://two.example",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/variable.pem",
    }


def test_the_configuration_of_uv_wins():
    listing = "global.index-url='https://mirror.example/simple'\nglobal.cert='/file.pem'"
    environ = {"UV_DEFAULT_INDEX": "https://other.example/simple", "SSL_CERT_FILE": "/own.pem"}

    assert setup.uv_variables_from_pip(listing, environ) == {}


def test_a_truncated_jar_is_fetched_again(tmp_path):
    for jar in jars.JARS:
        with (tmp_path / jar.file_name).open("wb") as file:
            file.truncate(jar.size)
    assert jars.missing(tmp_path) == []

    with (tmp_path / jars.JARS[0].file_name).open("wb") as file:
        file.truncate(jars.JARS[0].size - 1)

    assert jars.missing(tmp_path) == [jars.JARS[0]]


def test_a_jar_that_is_not_the_pinned_one_is_refused(tmp_path):
    path = tmp_path / "postgresql.jar"
    path.write_bytes(b"something else")

    with pytest.raises(InstallError, match="not the pinned file"):
        jars.verify(path, jars.JARS[1])


def test_the_jars_of_this_checkout_are_the_pinned_ones():
    folder = Layout.of_checkout().jars

    for jar in jars.JARS:
        jars.verify(folder / jar.file_name, jar)


def test_every_package_in_a_requirements_file_is_in_its_lock_file_in_the_same_version():
    locks = {CHECKOUT / "requirements.txt": CHECKOUT / "requirements" / "airflow2.txt"}
    locks |= {path: path.with_suffix(".txt") for path in (CHECKOUT / "requirements").glob("*.in")}
    del locks[CHECKOUT / "requirements" / "common.in"]  # included by others
    assert len(locks) > 9
    for requirements, locked in locks.items():
        lock = locked.read_text()
        for line in _lines(requirements):
            name, _, rest = line.partition("==")
            if not line.startswith("#") and rest:
                pin = f"\n{name.partition('[')[0]}=={rest.partition(' ')[0]} "
                assert pin in lock, f"{requirements.name}: {line} is not in its lock file; run make lock"


def test_every_environment_has_its_lock_files():
    airflows = [Environment(v.environment, v.locks) for v in (AIRFLOW_2, AIRFLOW_3)]
    others = [setup.BOOTSTRAP, setup.SPARK, setup.DEVSTACK, setup.JAVA, setup.READERS, *setup.PEERS.values()]
    for environment in [*airflows, *others]:
        for lock in environment.locks:
            assert "--hash=" in (CHECKOUT / lock).read_text(), lock


def test_set_up_needs_only_the_standard_library():
    """Set-up runs before any environment exists. `-S` leaves site-packages out, `-I` the checkout's other packages."""
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import install.__main__, install.jars, install.java"

    result = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr


def _lines(requirements: Path) -> list[str]:
    """The lines of a requirements file; `-r` is replaced by the lines of the file that it names."""
    lines: list[str] = []
    for line in requirements.read_text().splitlines():
        other = line.removeprefix("-r ")
        lines += _lines(requirements.parent / other) if other != line else [line]
    return lines


def test_checks_and_tests_use_the_same_packages_on_both_airflow_versions():
    one, other = (
        [line.partition("==")[0] for line in (CHECKOUT / name).read_text().splitlines() if line[:1].isalpha()]
        for name in ("requirements/dev.txt", "requirements/dev-airflow3.txt")
    )

    assert one == other


@pytest.mark.parametrize(
    ("requested", "recorded", "names"),
    [("2", None, ["airflow"]), ("3", None, ["airflow3"]), ("3", "2", ["airflow3", "airflow"])],
)
def test_the_requested_airflow_is_installed_and_that_of_an_existing_stack(tmp_path, requested, recorded, names):
    if recorded:
        (tmp_path / "airflow").mkdir()
        (tmp_path / "airflow" / "line").write_text(recorded)

    layout = Layout.of_checkout({"OFFLOAD_HOME": str(tmp_path), "OFFLOAD_AIRFLOW": requested})

    assert [environment.name for environment in setup._airflows(layout)] == names
