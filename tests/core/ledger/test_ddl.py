"""Statements out of `.sql` files."""

from __future__ import annotations

from pathlib import Path

import pytest

from offload_core.errors import FixConfiguration
from offload_core.ledger.ddl import sql_files, statements
from tests.support.checkout import CHECKOUT

SQL = CHECKOUT / "include" / "sql"


@pytest.fixture
def read(tmp_path: Path):
    """The statements of files with these texts."""

    def read(**files: str) -> list[str]:
        for name, text in files.items():
            (tmp_path / f"{name}.sql").write_text(text, encoding="utf-8")
        return list(statements(tmp_path))

    return read


def test_files_are_read_in_the_order_of_their_names(read):
    assert read(b="SELECT 3;", a="SELECT 1;\nSELECT 2;\n") == ["SELECT 1", "SELECT 2", "SELECT 3"]


def test_a_statement_may_span_lines_and_needs_no_last_semicolon(read):
    assert read(a="SELECT\n  1\n;\nSELECT 2") == ["SELECT\n  1", "SELECT 2"]


def test_a_semicolon_inside_a_line_does_not_end_a_statement(read):
    assert read(a="SELECT ';' AS a, 'x;y';  \nSELECT 2;") == ["SELECT ';' AS a, 'x;y'", "SELECT 2"]


def test_comments_are_left_out_wherever_they_stand_and_whatever_they_end_with(read):
    text = "-- First;\nSELECT 1,\n    -- in between;\n    2;\n-- last\n"

    assert read(a=text) == ["SELECT 1,\n    2"]


def test_two_dashes_inside_a_line_are_no_comment(read):
    assert read(a="SELECT '--' || 'x';") == ["SELECT '--' || 'x'"]


def test_a_file_of_comments_and_blank_lines_has_no_statements(read):
    assert read(a="-- nothing\n\n  -- here\n;\n") == []


def test_other_files_of_the_folder_are_left_alone(read, tmp_path):
    (tmp_path / "README.md").write_text("SELECT 9;")

    assert read(a="SELECT 1;") == ["SELECT 1"]


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_sql_is_an_error_and_not_a_silent_success(folder, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(FixConfiguration, match=f"no .sql files in .*/{folder}"):
        sql_files(tmp_path / folder)
    with pytest.raises(FixConfiguration):
        list(statements(tmp_path / folder))


@pytest.mark.parametrize("folder", ["clickhouse", "postgres"])
def test_every_shipped_statement_may_be_run_again(folder):
    found = list(statements(SQL / folder))

    assert len(found) >= 4
    repeatable = (" IF NOT EXISTS ", " DROP CONSTRAINT IF EXISTS ")
    assert [text for text in found if not any(words in text.split("(")[0] for words in repeatable)] == []
