"""Set-up: installs what is missing, nothing twice, and repairs what was interrupted."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from install import jars, setup
from install.errors import InstallError
from install.layout import Layout
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


def test_an_environment_whose_python_was_removed_is_made_anew(layout):
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


def test_what_pip_was_told_holds_for_uv():
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


def test_what_uv_was_told_itself_wins():
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
    del locks[CHECKOUT / "requirements" / "common.in"]  # part of others
    assert len(locks) > 9
    for requirements, locked in locks.items():
        lock = locked.read_text()
        for line in _lines(requirements):
            name, _, rest = line.partition("==")
            if not line.startswith("#") and rest:
                pin = f"\n{name.partition('[')[0]}=={rest.partition(' ')[0]} "
                assert pin in lock, f"{requirements.name}: {line} is not in its lock file; run make lock"


def _lines(requirements: Path) -> list[str]:
    """A requirements file's lines, and in place of `-r` those of the file that it names."""
    found: list[str] = []
    for line in requirements.read_text().splitlines():
        other = line.removeprefix("-r ")
        found += _lines(requirements.parent / other) if other != line else [line]
    return found


def test_the_checks_and_tests_are_the_same_ones_on_both_lines():
    one, other = (
        [line.partition("==")[0] for line in (CHECKOUT / name).read_text().splitlines() if line[:1].isalpha()]
        for name in ("requirements/dev.txt", "requirements/dev-airflow3.txt")
    )

    assert one == other


@pytest.mark.parametrize(
    ("asked", "recorded", "names"),
    [("2", None, ["airflow"]), ("3", None, ["airflow3"]), ("3", "2", ["airflow3", "airflow"])],
)
def test_the_line_that_is_asked_for_is_installed_and_that_of_the_stack_that_is_there(tmp_path, asked, recorded, names):
    if recorded:
        (tmp_path / "airflow").mkdir()
        (tmp_path / "airflow" / "line").write_text(recorded)

    layout = Layout.of_checkout({"OFFLOAD_HOME": str(tmp_path), "OFFLOAD_AIRFLOW": asked})

    assert [environment.name for environment in setup._airflows(layout)] == names
