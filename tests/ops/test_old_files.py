"""Deleting old files."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from offload_ops.old_files import delete_old_files

NOW = datetime(2026, 3, 8, tzinfo=timezone.utc)
WEEK = timedelta(days=7)


def put(path: Path, age: timedelta) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a line\n")
    set_age(path, age)
    return path


def set_age(path: Path, age: timedelta) -> None:
    moment = (NOW - age).timestamp()
    os.utime(path, (moment, moment))


def test_old_files_and_the_folders_that_become_empty_go(tmp_path: Path) -> None:
    old = put(tmp_path / "run" / "task" / "attempt=1.log", timedelta(days=8))
    young = put(tmp_path / "run2" / "task" / "attempt=1.log", timedelta(days=6))
    for folder in (old.parent, old.parent.parent, tmp_path):
        set_age(folder, timedelta(days=8))

    assert delete_old_files([tmp_path, tmp_path / "missing"], NOW - WEEK) == 1

    assert not old.parent.parent.exists()
    assert young.exists()
    assert tmp_path.exists()


def test_a_folder_that_was_just_made_stays_though_it_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "task"
    folder.mkdir(parents=True)
    set_age(folder, timedelta(days=6))

    assert delete_old_files([tmp_path], NOW - WEEK) == 0
    assert folder.exists()


def test_links_are_neither_followed_nor_deleted(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere" / "precious", timedelta(days=100))
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "file").symlink_to(elsewhere)
    (logs / "folder").symlink_to(elsewhere.parent, target_is_directory=True)

    assert delete_old_files([logs], NOW - WEEK) == 0
    assert elsewhere.exists()
    assert (logs / "file").is_symlink()
