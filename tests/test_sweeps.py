"""Sweeps: what a case is swept with, what a text reads as, and tiny models under every strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cases.claims import Case
from cases.emotions import Emotion
from cases.stimuli import Prompt
from fixtures import dose, nulls, sweeps
from fixtures.bench import Bench
from fixtures.generation import gumbel, plain_ids, read, spoken, write
from fixtures.models import Subject
from fixtures.sweeps import SAMPLES, log_odds, plan, sweep
from fixtures.verdicts import NotApplicable
from tests.odd import prefixed
from tests.swept import (
    CONTRAST,
    EMOTIONS,
    IMPLICIT,
    RANDOM,
    RISING,
    SIZE,
    STEERED,
    STRENGTHS,
    bench,
    names_of,
)
from tests.tiny import build, tiny


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 20)


# the plan and the read-out


@pytest.mark.parametrize("case", [IMPLICIT, CONTRAST], ids=["implicit", "fear-contrast"])
def test_the_rows_are_unit_directions_times_their_strength_times_the_residual_norm_of_the_judged_layer(case: Case) -> None:
    b = bench()
    which, strength, rows = plan(b, case)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.abs(strength) * SIZE)
    unit = rows / (strength * SIZE)[:, None]
    for d in range(which.max() + 1):
        assert unit[which == d] == pytest.approx(np.broadcast_to(unit[which == d][0], unit[which == d].shape))
    count, alphas = names_of(case), len(case.settings.get("alphas", ()))
    assert np.unique(which[which >= count]).tolist() == list(range(count, count + RANDOM))
    swept = STRENGTHS if case.settings.get("mirrored") else RISING
    assert len(rows) == count * len(STRENGTHS) + RANDOM * len(swept) + alphas
    assert set(strength[which >= count]) == set(swept)
    assert len(np.unique((unit[which >= count]).round(9), axis=0)) == RANDOM
    assert case.settings.get("mirrored", False) == (case is CONTRAST)


def test_the_directions_are_the_emotions_own_vectors_or_the_contrasts_first_side_less_its_second() -> None:
    b = bench()
    names, vectors = dose.directions(b, IMPLICIT)
    assert tuple(names) == STEERED
    assert vectors[2] == pytest.approx(b.vectors("implicit").unit[b.stimuli.names.index(STEERED[2])])
    values = b.activations("fear_calm").at(1).astype(np.float64)
    (name,), (vector,) = dose.directions(b, CONTRAST)
    difference = values[:8].mean(axis=0) - values[8:].mean(axis=0)
    assert name == "fear_calm"
    assert vector == pytest.approx(difference / np.linalg.norm(difference))


def test_a_steered_emotion_without_passages_makes_the_case_not_applicable() -> None:
    without = bench(emotions=tuple(e for e in EMOTIONS if e.name != "desperate"))
    with pytest.raises(NotApplicable, match="desperate"):
        plan(without, IMPLICIT)


def test_log_odds_compare_a_word_with_the_mean_of_the_words_outside_its_cluster() -> None:
    b, rng = bench(), np.random.default_rng(0)
    words = rng.normal(size=(3, len(EMOTIONS))) - 8
    found = log_odds(b, words)
    for i, emotion in enumerate(EMOTIONS):
        outside = [j for j, other in enumerate(EMOTIONS) if other.cluster != emotion.cluster]
        assert found[:, i] == pytest.approx(words[:, i] - np.log(np.exp(words[:, outside]).mean(axis=1)))
    assert log_odds(b, words - 2000) == pytest.approx(found)
    assert log_odds(b, np.zeros((1, len(EMOTIONS)))) == pytest.approx(np.zeros((1, len(EMOTIONS))))


# a sweep of a tiny model

FELT = tuple(Emotion(n, 0.0, 0.0, c, (n,), ()) for n, c in (("glad", "joy"), ("sad", "grief"), ("lonesome", "grief"), ("furious", "anger")))
SHOWN = (Prompt("hill", "The boy sat on the hill", " He felt"), Prompt("dog", "Her dog was", " She felt"))
SMALL = replace(IMPLICIT, settings={"emotions": ("glad", "furious"), "strengths": (-1.0, 0.0, 1.0), "tokens": 6})


def swept_bench(subject: Subject, shown: tuple[Prompt, ...] = SHOWN) -> Bench:
    return bench(lambda: subject, FELT, shown)


@pytest.mark.parametrize("architecture", ["llama", "bloom"])
def test_under_no_strength_the_text_is_the_unsteered_draw_and_its_read_out_zero(architecture: str) -> None:
    found = sweep(swept_bench(tiny(architecture)), SMALL)
    for d in range(2):
        row = found.at(d, 0.0)
        assert found.readout[:, row] == pytest.approx(np.zeros((2, len(FELT))), abs=1e-4)
        for key in sweeps.MEASURES:
            assert getattr(found, key)[:, row] == pytest.approx(found.base[key][:, 0], rel=1e-4)
    assert np.abs(found.readout[:, found.strength != 0]).max() > 0.1


def test_every_row_is_its_vectors_own_continuation_as_the_unsteered_model_reads_it() -> None:
    subject = tiny("gpt2")
    b = swept_bench(subject)
    found, (_, _, rows) = sweep(b, SMALL), plan(b, SMALL)
    assert found.readout.shape == (2, len(rows), len(FELT))
    assert {v.shape for v in (found.nll, found.distinct, found.loop, found.entropy)} == {(2, len(rows))}
    assert {v.shape for v in found.base.values()} == {(2, SAMPLES)}
    for number, prompt in enumerate(SHOWN):
        ids, frame = plain_ids(subject, prompt.text), plain_ids(subject, prompt.frame)
        for row in (0, 5, len(rows) - 1):
            vectors = torch.from_numpy(np.stack([rows[row], 0 * rows[row]])).float()
            told = write(subject, ids, layer=1, vectors=vectors, noise=gumbel(subject, 6, (0, number, 0)))
            scored = read(subject, ids, told.ids, frame, spoken(subject, b.stimuli.names))
            steered, unsteered = log_odds(b, scored.words)
            assert found.readout[number, row] == pytest.approx(steered - unsteered, abs=1e-4)
            assert found.nll[number, row] == pytest.approx(scored.nll[0], rel=1e-4)
            assert found.entropy[number, row] == pytest.approx(told.entropy[0].mean(), rel=1e-4)
            assert found.texts[number][row] == subject.tokenizer.decode(told.ids[0])


def test_a_case_is_swept_once_and_one_with_other_settings_anew() -> None:
    b = swept_bench(tiny("llama"))
    other = replace(SMALL, settings={**SMALL.settings, "tokens": 4})
    first = sweep(b, SMALL)
    assert sweep(b, SMALL) is first
    assert sweep(b, other) is not first
    assert sweep(b, SMALL) is first


def test_the_unsteered_samples_of_a_prompt_differ_and_depend_on_the_runs_seed() -> None:
    first, other = swept_bench(tiny("llama")), swept_bench(tiny("llama"))
    other.settings = replace(other.settings, seed=1)
    nll = sweep(first, SMALL).base["nll"]
    assert all(len(set(row)) > SAMPLES // 2 for row in nll.round(6))
    assert not np.isclose(sweep(other, SMALL).base["nll"], nll).any()


def test_a_measured_tiny_model_tells_every_text_with_its_direction_and_strength() -> None:
    b = swept_bench(tiny("llama"))
    case = replace(SMALL, settings={**SMALL.settings, "strengths": (-1.0, 0.5, 1.0)})
    m, found = dose.measure(b, case), sweep(b, case)
    assert set(m.texts) == {"hill", "dog"}
    assert m.texts["hill"][0] == f"glad -1: {found.texts[0][0]}"
    assert m.texts["dog"][6] == f"random 1 +0.5: {found.texts[1][6]}"
    assert len(m.texts["dog"]) == len(found.which)


def test_a_context_too_short_for_the_continuation_is_not_applicable() -> None:
    long = replace(SMALL, settings={**SMALL.settings, "tokens": 60})
    with pytest.raises(NotApplicable, match="context of 64"):
        sweep(swept_bench(tiny("gpt2")), long)


def test_a_context_too_short_for_the_longest_word_is_not_applicable() -> None:
    subject = build("gpt2")
    used = len(plain_ids(subject, SHOWN[0].text)) + len(plain_ids(subject, SHOWN[0].frame))
    assert max(len(ids) for (ids,) in spoken(subject, [e.name for e in FELT]).words) > 5
    full = replace(SMALL, settings={**SMALL.settings, "tokens": subject.context - used - 4})
    with pytest.raises(NotApplicable):
        sweep(swept_bench(subject, SHOWN[:1]), full)


def test_a_frame_has_the_tokens_that_it_has_after_the_text_and_without_a_common_beginning_its_own() -> None:
    class Merging:
        """Knows texts as ids, 1 beginning every text; "ab" becomes one token."""

        all_special_ids = (0, 1, 2)

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [1, *(90 if letter == "\0" else ord(letter) for letter in text.replace("ab", "\0")), 2]}

    b = swept_bench(replace(tiny("llama"), tokenizer=Merging()))
    assert sweeps.frame_ids(b, "xa", "cd") == [ord("c"), ord("d")]
    assert sweeps.frame_ids(b, "xa", "bd") == [ord("b"), ord("d")]
    assert sweeps.frame_ids(b, "x", "abd") == [90, ord("d")]


@pytest.mark.parametrize("by", ["normaliser", "pre-tokeniser"])
def test_neither_a_frame_nor_a_word_after_it_begins_with_the_blank_that_a_tokenizer_puts_before_every_text(by: str) -> None:
    subject = replace(tiny("llama"), tokenizer=prefixed(by))
    b, told = swept_bench(subject), subject.tokenizer.convert_ids_to_tokens
    assert told(sweeps.frame_ids(b, "She", " was glad")) == ["\u2581was", "\u2581glad"]
    assert "".join(told(sweeps.frame_ids(b, "She was gl", "ad"))) == "ad"
    assert sweeps.frame_ids(b, "She", "") == []
    words = spoken(subject, [emotion.name for emotion in FELT])
    whole = [plain_ids(subject, f"She was {emotion.name}") for emotion in FELT]
    assert [[*plain_ids(subject, "She was"), *ids] for (ids,) in words.words] == whole
