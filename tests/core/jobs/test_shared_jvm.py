"""The program in spark-submit's place, before and after an application accepts a job; tests/spark uses real ones."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from offload_core.jobs import shared_jvm
from offload_core.jobs.shared_jvm import ACCEPTED, EXIT, at

OWN = "#!/bin/sh\necho own application\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an application, and a spark-submit that says that it was called."""
    for name in ("offload_generic.py", "offload_shared.py"):
        (tmp_path / name).touch()
    submit = tmp_path / "spark-submit"
    submit.write_text(OWN)
    submit.chmod(0o700)
    (tmp_path / "share").mkdir(mode=0o700)
    return tmp_path


def environ(place: Path) -> dict[str, str]:
    # With no locale at all, Python would add one to the program's environment, which is part of the application's name.
    return {"OFFLOAD_SPARK_SHARE": str(place / "share"), "LC_ALL": "C.UTF-8"}


def command(place: Path) -> list[str]:
    application = str(place / "offload_generic.py")
    program = [sys.executable, "-I", "-S", str(shared_jvm.__file__), "1", application]
    return [*program, str(place / "spark-submit"), application, "--source-table", "trades"]


def hand_over(place: Path, *answers: bytes) -> subprocess.CompletedProcess[str]:
    """Hand a job to an application that answers with these bytes and closes."""
    options = [str(place / "spark-submit")]
    shared = shared_jvm.SharedJvm.of(options, str(place / "offload_generic.py"), environ(place))
    with socket.socket(socket.AF_UNIX) as listener, at(shared.folder, f"{shared.name}.sock") as address:
        listener.bind(address)
        listener.listen()
        listener.settimeout(60)

        def answer() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(65536)
                for part in answers:
                    caller.sendall(part)

        thread = threading.Thread(target=answer)
        thread.start()
        result = subprocess.run(
            command(place), env=environ(place), capture_output=True, text=True, check=False, timeout=60
        )
        thread.join()
        return result


@pytest.mark.parametrize(
    ("printed", "shown", "status"),
    [
        ([b"one\ntwo\n", EXIT + b"0\n"], "one\ntwo\n", 0),
        ([b"one\nno end", EXIT + b"20\n"], "one\nno end\n", 20),
        ([b"OFFLOAD_EXIT is ours\n", EXIT + b"0\n"], "OFFLOAD_EXIT is ours\n", 0),
        ([b"half a li", b"ne\nOFFLOAD_", b"EXIT 10\n"], "half a line\n", 10),
    ],
)
def test_a_job_prints_and_ends_as_it_would_by_itself(
    place: Path, printed: list[bytes], shown: str, status: int
) -> None:
    result = hand_over(place, ACCEPTED, *printed)

    assert (result.stdout, result.returncode) == (shown, status)


def test_a_job_that_goes_without_a_word_has_failed(place: Path) -> None:
    result = hand_over(place, ACCEPTED, b"working\n")

    assert result.returncode == 1
    assert result.stdout == "working\nThe shared Spark application, or this job in it, was ended.\n"


def test_where_the_folder_takes_no_files_the_job_gets_its_own_application(place: Path) -> None:
    lock = shared_jvm.SharedJvm.of(
        [str(place / "spark-submit")], str(place / "offload_generic.py"), environ(place)
    ).name
    (place / "share" / f"{lock}.lock").mkdir()

    result = subprocess.run(command(place), env=environ(place), capture_output=True, text=True, check=False, timeout=60)

    assert "This job gets a Spark application of its own" in result.stdout
    assert result.stdout.endswith("own application\n")
    assert result.returncode == 0
