"""The words that were given up are found, and their legitimate neighbors are not."""

from __future__ import annotations

import pytest

from tools.vocabulary import findings


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("def tell_all(): ...\n", "tell"),
        ("class NotTold: ...\n", "told"),
        ("def f(asked): ...\n", "asked"),
        ("self.news = 1\n", "news"),
        ('"""The same, for another table."""\n', "The same"),
        ("# waits for ever\n", "for ever"),
    ],
)
def test_a_word_that_was_given_up_is_found_with_its_line(text: str, word: str) -> None:
    (found,) = findings("some/file.py", text)

    assert found.startswith("some/file.py:1: ")
    assert word in found


@pytest.mark.parametrize(
    "text",
    [
        "def test_an_operator_is_told_once(): ...\n",
        'row["told_at"]\n',
        'fields["upkeep"]\n',
        "retold_story = 1\n",
    ],
)
def test_tests_columns_and_keys_may_contain_them(text: str) -> None:
    assert list(findings("some/file.py", text)) == []
