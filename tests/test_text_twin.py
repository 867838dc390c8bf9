"""The text-only twin against scikit-learn's TF-IDF, and its blindness to word order."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from fixtures.text_twin import TOKEN, tfidf

words = st.sampled_from(["the", "bear", "Bear", "didn't", "came", "not", "l'été", "42", "o'", "x"])
passages = st.lists(st.lists(words, min_size=1, max_size=10).map(lambda found: ", ".join(found) + "!"), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(passages)
def test_features_are_scikit_learns_with_the_same_token_pattern(texts: list[str]) -> None:
    theirs = TfidfVectorizer(token_pattern=TOKEN.pattern).fit_transform(texts).toarray()
    assert tfidf(texts) == pytest.approx(theirs)


@settings(max_examples=20, deadline=None)
@given(st.lists(words, min_size=2, max_size=10), st.randoms())
def test_the_same_words_in_another_order_have_the_same_features(bag: list[str], shuffler: random.Random) -> None:
    shuffled = list(bag)
    shuffler.shuffle(shuffled)
    first, second, other = tfidf([" ".join(bag), " ".join(shuffled).upper(), "something else"])
    assert (first == second).all()
    assert not (first == other).all()


def test_a_contraction_is_one_word_and_letters_count_alone() -> None:
    assert tfidf(["didn't a b", "didn't"]).shape == (2, 3)


def test_a_text_without_words_is_a_zero_row_and_all_others_have_unit_length() -> None:
    features = tfidf(["a bear came", "...", "it left, it left"])
    assert np.linalg.norm(features, axis=1) == pytest.approx([1, 0, 1])


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    row = tfidf(["the bear", "the dog", "the fox"])[0]
    # columns are alphabetical: bear, dog, fox, the
    assert row[0] > row[3] > 0
