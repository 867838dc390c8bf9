"""Prompting beside steering: a request is read after the plain prompt with the same draws, and only coherent steering counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import Case, load_claims
from cases.emotions import Emotion, load_emotions
from cases.stimuli import Prompt
from fixtures import prompting, sweeps
from fixtures.bench import Bench, Settings
from fixtures.generation import gumbel, plain_ids, write
from fixtures.models import Subject
from fixtures.prompting import asked, best_coherent
from fixtures.sweeps import COHERENT, SAMPLES, Sweep, log_odds
from fixtures.verdicts import INCONCLUSIVE, REFUTED, REPORTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli
from tests.tiny import WIDTH, as_subject, build, logits, tiny

CLAIM = load_claims()["prompting"]
CASE = CLAIM.case("implicit")
JUDGED = replace(CASE, verdict="judged")
STEERED: tuple[str, ...] = tuple(CASE.settings["emotions"])
STRENGTHS: tuple[float, ...] = tuple(CASE.settings["strengths"])
RISING = [s for s in STRENGTHS if s > 0]
PROMPTS = 20

# asking a tiny model

FELT = tuple(Emotion(n, 0.0, 0.0, c, (n,), ()) for n, c in (("glad", "joy"), ("sad", "grief"), ("lonesome", "grief"), ("furious", "anger")))
SHOWN = (Prompt("hill", "The boy sat on the hill", " He felt"), Prompt("dog", "Her dog was", " She felt"))
SMALL = replace(CASE, settings={**CASE.settings, "emotions": ("glad", "furious"), "tokens": 5})
REQUEST = "{emotion} news, she was {emotion}. {text}"


def bench(subject: Subject, request: str = REQUEST, shown: tuple[Prompt, ...] = SHOWN, seed: int = 0) -> Bench:
    return Bench(lambda: subject, few_stimuli(emotions=FELT, prompts=shown, asked=request), Settings(seed=seed, layer=1))


def untold(subject: Subject, text: str) -> list[int]:
    """Return the tokens of a text without special ones."""
    return [token for token in plain_ids(subject, text) if token not in subject.tokenizer.all_special_ids]


def spoken_slowly(subject: Subject, ids: list[int], word: str) -> float:
    """Return log P(word) after token ids, from one whole pass."""
    after = untold(subject, f" {word}")
    steps = torch.log_softmax(logits(subject, torch.tensor([[*ids, *after]]))[0].double(), dim=-1)
    return float(sum(steps[len(ids) - 1 + i, token] for i, token in enumerate(after)))


def slowly(b: Bench, names: Sequence[str], request: str = REQUEST) -> np.ndarray:
    """Return what `asked` returns: every text written alone after its request, and every word read in a pass of its own."""
    subject, seed, nothing = b.subject, b.settings.seed, torch.zeros(1, WIDTH)
    found = np.zeros((len(b.stimuli.prompts), len(names)))
    for number, prompt in enumerate(b.stimuli.prompts):
        noise, plain = gumbel(subject, 5, (seed, number, 0)), plain_ids(subject, prompt.text)

        def odds(start: str, noise: torch.Tensor = noise, plain: list[int] = plain, frame: str = prompt.frame) -> np.ndarray:
            text = write(subject, plain_ids(subject, start), layer=0, vectors=nothing, noise=noise).ids[0].tolist()
            shown = [*plain, *text, *untold(subject, frame)]
            return np.asarray(log_odds(b, np.array([[spoken_slowly(subject, shown, e.name) for e in FELT]]))[0])

        unasked = odds(prompt.text)
        for d, name in enumerate(names):
            own = b.stimuli.names.index(name)
            found[number, d] = (odds(request.format(emotion=name, text=prompt.text, frame=prompt.frame)) - unasked)[own]
    return found


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "bloom", "gemma2"])
def test_a_request_moves_what_is_written_and_nothing_of_what_it_is_read_after(architecture: str) -> None:
    b, names = bench(tiny(architecture)), ["glad", "furious"]
    found = asked(b, SMALL, names)
    assert found.shape == (len(SHOWN), 2)
    np.testing.assert_allclose(found, slowly(b, names), atol=2e-3)
    assert np.abs(found).max() > 0.05  # the request matters


def test_a_tokenizer_that_begins_every_text_with_a_special_token_begins_no_continuation_or_frame_with_one() -> None:
    b = bench(as_subject(tiny("llama").model, bos=True))
    np.testing.assert_allclose(asked(b, SMALL, ["glad", "furious"]), slowly(b, ["glad", "furious"]), atol=2e-3)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "bloom", "gemma2"])
def test_asking_that_changes_nothing_moves_nothing(architecture: str) -> None:
    assert asked(bench(tiny(architecture), "{text}"), SMALL, ["glad", "furious"]) == pytest.approx(np.zeros((2, 2)), abs=1e-5)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(names=st.permutations(["glad", "sad", "lonesome", "furious"]), number=st.integers(1, 4))
def test_an_emotion_is_asked_for_alone_whatever_is_asked_for_beside_it(names: list[str], number: int) -> None:
    b, every = bench(tiny("llama")), [emotion.name for emotion in FELT]
    case = replace(SMALL, settings={**SMALL.settings, "emotions": tuple(every)})
    whole = asked(b, case, every)
    some = names[:number]
    found = asked(b, replace(case, settings={**case.settings, "emotions": tuple(some)}), some)
    np.testing.assert_allclose(found, whole[:, [every.index(name) for name in some]], atol=1e-4)


def test_the_request_may_hold_text_frame_and_emotion_in_any_order() -> None:
    request = "{text}{frame} {emotion}. {text}"
    b = bench(tiny("llama"), request)
    np.testing.assert_allclose(asked(b, SMALL, ["glad", "furious"]), slowly(b, ["glad", "furious"], request), atol=2e-3)


def test_the_draws_are_those_of_the_runs_seed() -> None:
    first, other = bench(tiny("llama")), bench(tiny("llama"), seed=1)
    found = asked(first, SMALL, ["glad", "furious"])
    assert (asked(first, SMALL, ["glad", "furious"]) == found).all()
    assert not np.allclose(asked(other, SMALL, ["glad", "furious"]), found, atol=1e-2)


def test_the_case_may_name_the_emotion_that_is_read() -> None:
    b = bench(tiny("llama"))
    case = replace(SMALL, settings={**SMALL.settings, "reads": "sad"})
    found, own = asked(b, case, ["glad"]), asked(b, SMALL, ["glad"])
    assert not np.allclose(found, own, atol=1e-2)


def test_a_context_that_holds_the_prompt_but_not_the_request_is_not_applicable() -> None:
    subject = build("gpt2")
    plain = max(len(plain_ids(subject, prompt.text)) for prompt in SHOWN)
    fits = subject.context - plain - 1
    case = replace(SMALL, settings={**SMALL.settings, "tokens": fits})
    with pytest.raises(NotApplicable, match="context of 64"):
        asked(bench(subject), case, ["glad", "furious"])


# the strongest coherent steering


def planted(readout: np.ndarray, strengths: Sequence[float] = STRENGTHS) -> Sweep:
    """Return a coherent sweep of read-outs, shape (prompts, directions, strengths, emotions)."""
    prompts, count, each, emotions = readout.shape
    which, strength = np.repeat(np.arange(count), each), np.tile(np.array(strengths), count)
    even = np.ones((prompts, len(which)))
    base = {"nll": np.linspace(0.5, 1.5, 40), "distinct": np.ones(SAMPLES), "loop": np.zeros(SAMPLES)}
    return Sweep(which, strength, readout.reshape(prompts, -1, emotions), even.copy(), even, 0 * even, even, base, [])


def broken(found: Sweep, direction: int, strength: float, share: float = 1.0) -> None:
    """Make the text of a share of the prompts incoherent, in place."""
    found.nll[: round(share * len(found.nll)), found.at(direction, strength)] = 9.0


def rising(effect: float = 1.0, directions: int = 2, emotions: int = 4) -> np.ndarray:
    """Return read-outs that grow with the strength, the same for all emotions but the direction's own, where they are larger."""
    found = np.zeros((PROMPTS, directions, len(STRENGTHS), emotions))
    for d in range(directions):
        found[:, d, :, d] = effect * np.array(STRENGTHS) + 0.01 * np.arange(PROMPTS)[:, None]
    return found


def test_the_strength_with_the_largest_effect_is_taken_with_its_effects_by_prompt() -> None:
    found = planted(rising(4.0))
    best, effects = best_coherent(found, 1, 1, RISING)
    assert best == 1.0
    assert effects == pytest.approx(4.0 + 0.01 * np.arange(PROMPTS))
    assert best_coherent(found, 1, 0, RISING)[1] == pytest.approx(np.zeros(PROMPTS))  # another read-out
    assert best_coherent(planted(rising(-4.0)), 0, 0, RISING)[0] == min(RISING)


def test_an_incoherent_strength_is_ignored_whatever_its_effect() -> None:
    found = planted(rising(4.0))
    broken(found, 1, 1.0)
    broken(found, 0, 0.5)
    assert best_coherent(found, 1, 1, RISING)[0] == 0.5
    assert best_coherent(found, 0, 0, RISING)[0] == 1.0
    for share, best in ((1 - COHERENT, 0.5), (1 - COHERENT + 1 / PROMPTS, 0.25)):
        broken(found, 1, 0.5, share)
        assert best_coherent(found, 1, 1, RISING)[0] == best


def test_without_a_coherent_strength_steering_moves_nothing() -> None:
    found = planted(rising(4.0))
    for s in RISING:
        broken(found, 0, s)
    best, effects = best_coherent(found, 0, 0, RISING)
    assert best is None
    assert list(effects) == [0.0] * PROMPTS


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=8, max_size=8), st.sets(st.sampled_from(RISING)))
def test_no_coherent_strength_has_a_larger_effect_than_the_one_taken(curve: list[float], incoherent: set[float]) -> None:
    found = planted(np.broadcast_to(np.array(curve)[None, None, :, None], (PROMPTS, 1, 8, 1)).copy())
    for s in incoherent:
        broken(found, 0, s)
    best, effects = best_coherent(found, 0, 0, RISING)
    left = {s: curve[STRENGTHS.index(s)] for s in RISING if s not in incoherent}
    assert (best in left) if left else best is None
    assert effects == pytest.approx(np.full(PROMPTS, max(left.values(), default=0.0)))


# steering beside words

EMOTIONS = tuple(load_emotions())


def measured(effect: float, words: float, case: Case = JUDGED, incoherent: Sequence[int] = ()) -> tuple[Measurement, Judgement]:
    """Measure a case in which a strength of 1 moves every read-out by `effect` and asking moves it by `words`."""
    stimuli = few_stimuli(emotions=EMOTIONS, prompts=tuple(Prompt(f"prompt {i}", "text", " He felt") for i in range(PROMPTS)))
    b = Bench(lambda: tiny("llama"), stimuli, Settings(layer=1))
    readout = np.zeros((PROMPTS, len(STEERED), len(STRENGTHS), len(EMOTIONS)))
    for d, name in enumerate(STEERED):
        readout[:, d, :, stimuli.names.index(name)] = effect * np.array(STRENGTHS)
    found = planted(readout)
    found.nll[:, np.isin(found.which, incoherent)] = 9.0
    said = np.full((PROMPTS, len(STEERED)), words) + 0.01 * np.arange(PROMPTS)[:, None] * (words != 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompting, "directions", lambda bench, case: (list(STEERED), np.zeros((len(STEERED), WIDTH))))
        patch.setattr(sweeps, "_sweep", lambda bench, case: found)
        patch.setattr(prompting, "asked", lambda bench, case, names: said)
        m = prompting.measure(b, case)
    return m, judge(m, CLAIM, case, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("effect", "words", "value", "verdict"), [(4.0, 1.0, 1.0, SUPPORTED), (1.0, 4.0, 0.0, REFUTED), (0.0, 0.0, 0.5, REFUTED)]
)
def test_the_value_is_how_often_steering_goes_further_than_words_and_a_tie_counts_half(
    effect: float, words: float, value: float, verdict: str
) -> None:
    m, found = measured(effect, words)
    assert list(m.scores if m.scores is not None else ()) == [value] * PROMPTS
    assert (found.verdict, len(m.items), found.estimate.clusters, m.layer) == (verdict, PROMPTS, PROMPTS, 1)
    assert [null.level for null in m.nulls] == [0.5]


def test_half_of_the_emotions_further_and_half_less_far_is_no_evidence() -> None:
    m, found = measured(4.0, 1.0, incoherent=[1, 3, 5])
    assert m.statistic(np.arange(PROMPTS)) == 0.5
    assert found.verdict in (REFUTED, INCONCLUSIVE)
    assert [row["strength"] for row in m.details["beside words"]] == [1.0, None] * 3


def test_incoherent_steering_goes_no_further_than_words_however_large_its_effect() -> None:
    m, found = measured(99.0, 1.0, incoherent=range(6))
    assert (found.estimate.value, found.verdict, found.reason) == (0.0, REFUTED, "reversed")
    assert {(row["strength"], row["steered"]) for row in m.details["beside words"]} == {(None, 0.0)}


def test_the_claim_is_reported_and_its_details_hold_both_shifts() -> None:
    m, found = measured(4.0, 1.0, CASE)
    assert (found.verdict, found.reason) == (REPORTED, CASE.settings["because"])
    rows = m.details["beside words"]
    assert [row["emotion"] for row in rows] == list(STEERED)
    for row in rows:
        assert (row["strength"], row["steered"]) == (1.0, pytest.approx(4.0))
        assert row["asked in words"] == pytest.approx(1.0 + 0.01 * np.mean(range(PROMPTS)))


@pytest.mark.parametrize("which", ["effect", "words"])
def test_a_shift_that_is_not_a_number_never_becomes_a_win(which: str) -> None:
    m, found = measured(*((np.nan, 1.0) if which == "effect" else (4.0, np.nan)))
    assert m.scores is not None
    assert not (m.scores > 0).any()
    assert found.verdict != SUPPORTED
