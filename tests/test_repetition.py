"""Repetition of a text: the loops of the posts, and the share of runs of tokens that differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.generation import (
    distinct,
    looped,
)


def longest_loop(row: Sequence[int]) -> int:
    """Return, by trying every stretch, the length of the longest that is a run of up to 8 tokens at least twice over."""
    return max(
        (
            end - start
            for start in range(len(row))
            for end in range(start + 2, len(row) + 1)
            for period in range(1, min(8, (end - start) // 2) + 1)
            if all(row[i] == row[i + period] for i in range(start, end - period))
        ),
        default=0,
    )


def as_ids(*texts: str) -> np.ndarray:
    """Return every word of texts of equal length as a number."""
    index = {word: i for i, word in enumerate(sorted({word for text in texts for word in text.split()}))}
    return np.array([[index[word] for word in text.split()] for text in texts])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I was so confused I was so confused I was so confused", 12),
        ("I was so confused I was so confused", 8),
        ("he was so angry was so angry was so angry and left", 9),
        ("was so angry was so angry", 6),
        ("one day I was so confused I was so confused I was", 10),
        ("it was very very cold", 2),
        ("no no no no no", 5),
        ("the dog saw the cat and the dog ran", 0),
        ("every word of this text is another one", 0),
        ("a b c d e f g h a b c d e f g h", 16),
        ("a b c d e f g h i a b c d e f g h i", 0),
    ],
)
def test_the_posts_loops_are_recognised_and_a_text_without_immediate_repetition_has_none(text: str, tokens: int) -> None:
    assert list(looped(as_ids(text))) == [tokens]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=20, max_size=20), min_size=1, max_size=3))
def test_the_longest_loop_is_that_of_trying_every_stretch(rows: list[list[int]]) -> None:
    assert looped(np.array(rows)).tolist() == [longest_loop(row) for row in rows]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=0, max_size=14), st.integers(1, 3))
def test_repetition_does_not_depend_on_which_tokens_are_which_or_on_the_reading_direction(row: list[int], size: int) -> None:
    ids = np.array([row], dtype=int)
    for other in (100 - 7 * ids, ids[:, ::-1]):
        assert looped(other) == looped(ids)
        assert distinct(other, size) == distinct(ids, size)


def test_distinct_is_the_share_of_runs_that_differ() -> None:
    assert distinct(as_ids("a b c d e", "a a a a a", "a b a b a")).tolist() == [1.0, 0.25, 0.5]
    assert distinct(as_ids("a b a b c"), 1).tolist() == [0.6]
    assert distinct(as_ids("a b a b a"), 3) == pytest.approx([2 / 3])


def test_a_text_too_short_to_repeat_is_wholly_distinct_and_has_no_loop() -> None:
    for tokens in (0, 1):
        ids = np.zeros((2, tokens), dtype=int)
        assert distinct(ids).tolist() == [1.0, 1.0]
        assert looped(ids).tolist() == [0, 0]
