"""How words follow a prompt, as token ids: merges, dummy prefixes and special tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fixtures.continuations import Continuations, continuations, continuing, following, surface_variants
from fixtures.models import Subject
from fixtures.reference import load_tokenizer
from tests.odd import bytewise, lettered, prefixed
from tests.tiny import SEVERAL, SINGLE, tiny, tokenizer


class Tokens:
    """A tokenizer that knows the texts it is told, 0 being special and 1 a blank."""

    all_special_ids = (0,)

    def __init__(self, known: dict[str, list[int]]) -> None:
        self.known = known

    def __call__(self, text: str) -> dict[str, Any]:
        return {"input_ids": self.known[text]}

    def decode(self, ids: list[int]) -> str:
        return "".join(" " if i == 1 else str(i) for i in ids)


def knowing(known: dict[str, list[int]]) -> Subject:
    return replace(tiny("llama"), tokenizer=Tokens(known))


def test_surface_variants_follow_a_space_in_lower_case_and_capitalised() -> None:
    assert surface_variants("at ease") == (" at ease", " At ease")


def test_trailing_special_tokens_are_dropped_and_variants_that_come_out_alike_count_once() -> None:
    subject = knowing({"I am": [0, 5, 6, 0], "I am ill": [0, 5, 6, 7, 8, 0], "I am Ill": [0, 5, 6, 7, 8, 0]})
    assert continuations(subject, "I am", ["ill"]) == Continuations((0, 5, 6), (((7, 8),),))


def test_a_variant_that_merges_with_the_prompt_is_tokenised_after_another_text() -> None:
    subject = knowing({"I am": [0, 5, 6], "I am ill": [0, 5, 9, 4], "\n": [0, 2], "\n ill": [0, 2, 7], "I am Ill": [0, 5, 6, 8]})
    assert continuations(subject, "I am", ["ill"]) == Continuations((0, 5, 6), (((7,), (8,)),))


def test_a_text_that_merges_with_every_other_is_tokenised_alone_without_a_bare_blank() -> None:
    merging = {"\n": [0, 2], "\n ill": [0, 3], "a": [0, 4], "a ill": [0, 5]}
    assert continuing(Tokens({**merging, " ill": [0, 1, 6, 1, 7, 0]}), " ill") == [6, 1, 7]
    assert continuing(Tokens({**merging, " ill": [0, 6, 0, 7]}), " ill") == [6, 7]
    assert continuing(Tokens({**merging, " ill": [0, 1]}), " ill") == []
    assert continuing(Tokens({**merging, "a ill": [0, 4, 8, 0, 9]}), " ill") == [8, 9]  # the second text keeps its tokens


def test_a_word_without_tokens_is_refused_and_not_certain() -> None:
    gone = {"I am": [5, 6], "I am ill": [5, 6, 0], "I am Ill": [5, 6, 0]} | {
        before + word: [0] for before in ("", "\n", "a") for word in ("", " ill", " Ill")
    }
    with pytest.raises(ValueError, match="no tokens for 'ill'"):
        continuations(knowing(gone), "I am", ["ill"])
    assert continuations(knowing({**gone, "I am Ill": [5, 6, 9]}), "I am", ["ill"]).words == (((9,),),)


@pytest.mark.parametrize("by", ["normaliser", "pre-tokeniser"])
@pytest.mark.parametrize("text", [" glad", " Glad", " felt", " at the door", " lonesome"])
def test_after_a_dummy_prefix_a_text_has_the_tokens_that_it_has_in_another(by: str, text: str) -> None:
    words = prefixed(by)
    found, whole = continuing(words, text), words(f"She was{text}")["input_ids"]
    assert whole[: -len(found)] == words("She was")["input_ids"]
    assert whole[-len(found) :] == found
    assert words.convert_tokens_to_ids("\u2581") not in found


def test_the_dummy_prefix_of_these_tests_is_a_token_of_its_own_before_a_word_that_follows_a_blank() -> None:
    words = prefixed()
    assert words.convert_ids_to_tokens(words(" glad")["input_ids"]) == ["\u2581", "\u2581glad"]


@pytest.mark.parametrize("by", ["normaliser", "pre-tokeniser"])
def test_a_text_that_goes_on_with_a_word_has_no_dummy_prefix(by: str) -> None:
    subject = replace(tiny("llama"), tokenizer=prefixed(by))
    pieces = subject.tokenizer.convert_ids_to_tokens(following(subject, "She was gl", [("ad",)]).words[0][0])
    assert "".join(pieces) == "ad"


@pytest.mark.parametrize("words", [tokenizer(), tokenizer(bos=True), bytewise(), lettered(), load_tokenizer()])
def test_without_a_dummy_prefix_a_text_has_the_tokens_that_it_has_alone(words: Any) -> None:
    for text in (
        *(variant for word in (*SINGLE, *SEVERAL) for variant in surface_variants(word)),
        " at ease",
        " the old man, and",
        "ad",
        "glad",
        ".",
    ):
        assert continuing(words, text) == [token for token in words(text)["input_ids"] if token not in words.all_special_ids]


def test_leaves_reach_every_token_that_is_wanted_and_no_pass_is_made_twice() -> None:
    plan = Continuations((1,), (((5,), (6, 7)), ((6, 7, 8),), ((6, 9), (4, 3, 2))))
    leaves, wanted = plan.leaves(), plan.wanted()
    assert leaves == [(4, 3), (6, 7)]
    assert wanted == {(): [4, 5, 6], (6,): [7, 9], (6, 7): [8], (4,): [3], (4, 3): [2]}
    assert all(any(leaf[: len(prefix)] == prefix for leaf in leaves) for prefix in wanted)
