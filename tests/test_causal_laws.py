"""Laws of the causal part: no result depends on the size of batches, on the order of what is asked, or on the side of padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cases.claims import load_claims
from cases.emotions import Emotion
from cases.stimuli import Passage, Prompt
from fixtures import generation, nulls, scoring, side_effects
from fixtures.bench import Bench, Settings
from fixtures.directions import KINDS
from fixtures.generation import Scored, Written, exact_way, gumbel, plain_ids, read, spoken, write
from fixtures.lift import concept_rows, sweep
from fixtures.models import Subject
from fixtures.scoring import fastest_way, frame_logprobs, word_logprobs
from fixtures.side_effects import neutral_ids, steered_nll
from fixtures.sweeps import Sweep
from fixtures.sweeps import sweep as text_sweep
from tests.planted import few_stimuli
from tests.tiny import LAYERS, SENTENCES, VOCABULARY, directions, tiny, tokenizer

KINDS_OF_MODEL = ("gpt2", "llama", "bloom")
"""Absolute positions, rotary ones, and a bias of the attention by distance, where no batch may be widened at the first blocks."""

PROMPTS = ("The boy sat down and felt", "Sad", "After the rain the old man sat on the hill and looked", "Her name was")
"""Prompts of different lengths."""
WORDS = ("glad", "felt", "angry", "lonesome")
"""Words of one token and of several."""
VECTORS, TOKENS = 5, 4

architectures, layers, sides = st.sampled_from(KINDS_OF_MODEL), st.integers(0, LAYERS - 1), st.sampled_from(["left", "right"])
few, fewer = (settings(max_examples=number, deadline=None, derandomize=True, phases=[Phase.generate]) for number in (8, 3))
"""Without shrinking, which would take minutes where every example is a model's work."""


@cache
def padded(architecture: str, side: str, bos: bool = False) -> Subject:
    """Return a tiny subject whose tokenizer pads on a side."""
    own = deepcopy(tokenizer(bos))
    own.padding_side = side
    return replace(tiny(architecture), tokenizer=own)


@contextmanager
def batches(size: int) -> Iterator[None]:
    """Let no pass of the causal part hold more than `size` rows."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((scoring, "CHUNK"), (scoring, "LEAVES"), (side_effects, "CHUNK"), (generation, "ROWS")):
            patch.setattr(module, name, size)
        patch.setattr(scoring, "LOGITS", size * VOCABULARY)
        yield


def vectors(seed: int) -> torch.Tensor:
    return 2 * directions(VECTORS, seed)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def taken(values: np.ndarray, *orders: Sequence[int]) -> np.ndarray:
    """Return `values` with every axis in the order given."""
    return values[np.ix_(*orders)]


# words and frames


@few
@given(
    architectures,
    layers,
    sides,
    st.permutations(range(VECTORS)),
    st.permutations(range(len(WORDS))),
    st.integers(1, 6),
    st.integers(0, 50),
)
def test_word_logprobs_see_neither_batches_nor_orders_nor_padding(
    architecture: str, layer: int, side: str, rows: list[int], words: list[int], size: int, seed: int
) -> None:
    steered = vectors(seed)
    straight = word_logprobs(tiny(architecture), PROMPTS[0], WORDS, layer=layer, vectors=steered)
    with batches(size):
        asked = [WORDS[i] for i in words]
        mixed = word_logprobs(padded(architecture, side), PROMPTS[0], asked, layer=layer, vectors=steered[rows])
    same(mixed, taken(straight, rows, words))
    assert np.ptp(straight, axis=0).min() > 1e-3  # the vectors matter


@few
@given(architectures, sides, st.permutations(range(len(WORDS))), st.integers(1, 6), st.sampled_from(["shared", "plain"]))
def test_unsteered_words_see_neither_batches_nor_orders_nor_padding(
    architecture: str, side: str, words: list[int], size: int, way: str
) -> None:
    straight = word_logprobs(tiny(architecture), PROMPTS[2], WORDS)
    with batches(size):
        mixed = word_logprobs(padded(architecture, side), PROMPTS[2], [WORDS[i] for i in words], way=way)
    same(mixed, straight[:, words])


@few
@given(
    architectures,
    layers,
    sides,
    st.permutations(range(len(PROMPTS))),
    st.permutations(range(VECTORS)),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_frame_logprobs_see_neither_batches_nor_the_order_or_company_of_frames_nor_padding(
    architecture: str, layer: int, side: str, frames: list[int], rows: list[int], kept: int, size: int
) -> None:
    steered = vectors(0)
    straight = frame_logprobs(tiny(architecture), PROMPTS, WORDS, layer=layer, vectors=steered)
    with batches(size):
        some = [PROMPTS[i] for i in frames[:kept]]
        mixed = frame_logprobs(padded(architecture, side), some, WORDS, layer=layer, vectors=steered[rows])
    same(mixed, taken(straight, frames[:kept], rows, range(len(WORDS))))


# writing and reading


def written(subject: Subject, prompt: str, layer: int, rows: torch.Tensor, noise: torch.Tensor) -> Written:
    return write(subject, plain_ids(subject, prompt), layer=layer, vectors=rows, noise=noise, way=exact_way(subject, layer))


def told(subject: Subject, prompt: str, ids: np.ndarray, words: Sequence[str], layer: int) -> Scored:
    frame = plain_ids(subject, " and he felt")
    return read(subject, plain_ids(subject, prompt), ids, frame, spoken(subject, words), way=exact_way(subject, layer))


@few
@given(
    architectures,
    layers,
    sides,
    st.sampled_from(PROMPTS),
    st.permutations(range(VECTORS)),
    st.integers(1, VECTORS),
    st.integers(1, 6),
    st.booleans(),
)
def test_what_is_written_sees_neither_batches_nor_the_order_or_company_of_vectors_nor_padding(
    architecture: str, layer: int, side: str, prompt: str, rows: list[int], kept: int, size: int, per_row: bool
) -> None:
    subject, steered, some = tiny(architecture), vectors(1), rows[:kept]
    noise = gumbel(subject, TOKENS, (0, 1))
    if per_row:
        noise = torch.stack([gumbel(subject, TOKENS, (0, k)) for k in range(VECTORS)], dim=1)
    straight = written(subject, prompt, layer, steered, noise)
    with batches(size):
        mixed = written(padded(architecture, side), prompt, layer, steered[some], noise[:, some] if per_row else noise)
    assert (mixed.ids == straight.ids[some]).all()
    same(mixed.entropy, straight.entropy[some])


@few
@given(
    architectures,
    layers,
    sides,
    st.sampled_from(PROMPTS),
    st.permutations(range(VECTORS)),
    st.permutations(range(len(WORDS))),
    st.integers(1, 6),
)
def test_what_is_read_sees_neither_batches_nor_the_order_of_texts_and_words_nor_padding(
    architecture: str, layer: int, side: str, prompt: str, rows: list[int], words: list[int], size: int
) -> None:
    ids = np.random.default_rng(len(prompt)).integers(4, VOCABULARY, size=(VECTORS, TOKENS))
    straight = told(tiny(architecture), prompt, ids, WORDS, layer)
    with batches(size):
        mixed = told(padded(architecture, side), prompt, ids[rows], [WORDS[i] for i in words], layer)
    same(mixed.nll, straight.nll[rows])
    same(mixed.words, taken(straight.words, rows, words))


# what steering costs


@few
@given(
    architectures,
    layers,
    sides,
    st.permutations(range(len(SENTENCES))),
    st.permutations(range(VECTORS)),
    st.integers(1, len(SENTENCES)),
    st.integers(1, 6),
)
def test_steered_nats_see_neither_batches_nor_the_order_or_company_of_texts_and_vectors_nor_padding(
    architecture: str, layer: int, side: str, texts: list[int], rows: list[int], kept: int, size: int
) -> None:
    def costs(subject: Subject, neutral: Sequence[str], steered: np.ndarray) -> np.ndarray:
        b = Bench(lambda: subject, few_stimuli(neutral=tuple(neutral)), Settings(layer=layer))
        return steered_nll(b, neutral_ids(b, len(neutral), 12), steered)

    steered = vectors(2).numpy()
    straight = costs(tiny(architecture), SENTENCES, steered)
    with batches(size):
        mixed = costs(padded(architecture, side), [SENTENCES[i] for i in texts[:kept]], steered[rows])
    same(mixed, taken(straight, texts[:kept], rows))


# the lift of words and the sweep of texts, from a small bench

CASE = load_claims()["self_steering"].case("implicit-over-random")
DOSE = load_claims()["dose_response"].case("implicit")
DOSE = replace(DOSE, settings={"emotions": ("glad", "furious"), "strengths": (-1.0, 0.5, 1.0), "tokens": TOKENS})
EMOTIONS = tuple(Emotion(n, 0.0, 0.0, n, (n,), ()) for n in ("glad", "sad", "furious"))
CONCEPTS = ("dog", "sea")
RANDOM = 3
PASSAGES = tuple(Passage(e.name, str(t), f"{e.name} and {SENTENCES[t + i]}") for i, e in enumerate(EMOTIONS) for t in range(3))
OTHERS = tuple(Passage(name, str(t), f"{SENTENCES[t + 2 * i]} {name}") for i, name in enumerate(CONCEPTS) for t in range(2))


def bench(
    subject: Subject,
    size: int | None = None,
    frames: Sequence[str] = PROMPTS,
    emotions: Sequence[Emotion] = EMOTIONS,
    passages: Sequence[Passage] = PASSAGES,
) -> Bench:
    stimuli = few_stimuli(
        emotions=tuple(emotions),
        implicit=tuple(passages),
        concepts=OTHERS,
        neutral=SENTENCES,
        frames=tuple(frames),
        prompts=tuple(Prompt(str(i), text, " He felt") for i, text in enumerate(PROMPTS[:2])),
    )
    return Bench(lambda: subject, stimuli, Settings(layer=1, batch_size=size))


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nulls.RANDOM_DIRECTIONS, "quick", RANDOM)


def shapes(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lifts of a sweep under emotions (every strength), random directions of each kind, and concepts."""
    count, each = len(EMOTIONS), len(KINDS) * RANDOM
    blocks = len(CASE.settings["reported"]) + 1
    start = count + each
    told = table[start : start + blocks * count].reshape(blocks, count, count)
    return np.concatenate([table[None, :count], told]), table[count:start], table[start + blocks * count :]


@cache
def straight_lifts(architecture: str) -> np.ndarray:
    return sweep(bench(tiny(architecture)), CASE)


@fewer
@given(architectures, sides, st.permutations(range(len(PROMPTS))), st.permutations(range(len(PASSAGES))), st.integers(1, 6))
def test_lifts_see_neither_batches_nor_the_order_of_frames_and_passages_nor_padding(
    architecture: str, side: str, frames: list[int], passages: list[int], size: int
) -> None:
    straight = straight_lifts(architecture)
    b = bench(padded(architecture, side), size, [PROMPTS[i] for i in frames], passages=[PASSAGES[i] for i in passages])
    with batches(size):
        same(sweep(b, CASE), straight)
    assert (concept_rows(b, CASE) == shapes(sweep(b, CASE))[2]).all()


@few
@given(architectures, st.permutations(range(len(EMOTIONS))))
def test_the_order_of_emotions_changes_no_lift_of_an_emotion_a_concept_or_a_direction_drawn_without_them(
    architecture: str, order: list[int]
) -> None:
    ours, random, others = shapes(straight_lifts(architecture))
    found = sweep(bench(tiny(architecture), emotions=[EMOTIONS[i] for i in order]), CASE)
    moved, drawn, concepts = shapes(found)
    same(moved, ours[:, order][:, :, order])
    same(concepts, others[:, order])
    free = [k for k, kind in enumerate(KINDS) if kind != "coordinate-permuted"]
    for k in free:
        same(drawn[k * RANDOM : (k + 1) * RANDOM], random[k * RANDOM : (k + 1) * RANDOM][:, order])


@pytest.mark.parametrize("architecture", KINDS_OF_MODEL)
def test_lifts_of_the_fastest_way_are_those_of_plain_rows(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = straight_lifts(architecture)
    assert fastest_way(tiny(architecture), 1) == ("plain" if architecture == "bloom" else "grouped")
    monkeypatch.setattr(scoring, "fastest_way", lambda subject, layer: "plain")
    same(sweep(bench(tiny(architecture)), CASE), straight)


@fewer
@given(architectures, sides, st.integers(1, 6))
def test_swept_texts_see_neither_batches_nor_padding(architecture: str, side: str, size: int) -> None:
    straight = straight_texts(architecture)
    with batches(size):
        found = text_sweep(bench(padded(architecture, side), size), DOSE)
    assert found.texts == straight.texts
    for key in ("readout", "nll", "distinct", "loop", "entropy"):
        same(getattr(found, key), getattr(straight, key))
    for key, values in straight.base.items():
        same(found.base[key], values)


@cache
def straight_texts(architecture: str) -> Sweep:
    return text_sweep(bench(tiny(architecture)), DOSE)
