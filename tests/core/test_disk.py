"""Errors of files: a full disk is told from a folder that can't be written."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from offload_core.disk import disk_errors, says_full
from offload_core.errors import CatalogUnavailable, FreeDiskSpace


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_says_so_and_what_to_do() -> None:
    with (
        pytest.raises(
            FreeDiskSpace, match=r"while fetching rows: No space left on device\. Free space .* next attempt"
        ),
        disk_errors("fetching rows"),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_a_limit_of_a_files_size_counts_as_a_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(FreeDiskSpace, match="File too large"), disk_errors("fetching rows"):
            (tmp_path / "file").write_bytes(b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_can_not_be_made_is_told_from_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogUnavailable, match=r"Not a directory.*may write to it"), disk_errors("fetching rows"):
        (tmp_path / "file" / "folder").mkdir()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Failed to create file: file:/w/part.parquet: No space left on device", True),
        ('ERROR: could not extend file "base/16": No space left on device', True),
        ("Disk quota exceeded", True),
        ("Connection refused", False),
    ],
)
def test_another_programs_words_for_a_full_disk_are_understood(message: str, expected: bool) -> None:
    assert says_full(message) is expected
