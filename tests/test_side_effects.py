"""Side effects: the price of steering is that of one plain pass per vector, planted prices are ranked, spill-over is kept apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import Case, load_claims
from cases.emotions import Emotion, load_emotions
from cases.stimuli import Passage, Prompt
from fixtures import side_effects, sweeps
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.models import Subject
from fixtures.progress import Progress
from fixtures.side_effects import neutral_ids, off_target, steered_nll
from fixtures.sweeps import SAMPLES, Sweep, plan, sweep, target
from fixtures.verdicts import REFUTED, REPORTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli, null
from tests.tiny import ARCHITECTURES, LAYERS, SENTENCES, WIDTH, as_subject, build, directions, logits, pushed, tiny

CLAIM = load_claims()["side_effects"]
CASE = CLAIM.case("implicit")
JUDGED = replace(CASE, verdict="judged")
STEERED: tuple[str, ...] = tuple(CASE.settings["emotions"])
STRENGTHS: tuple[float, ...] = tuple(CASE.settings["strengths"])
RISING = [s for s in STRENGTHS if s > 0]
EMOTIONS = tuple(load_emotions())
RANDOM, PASSAGES, PROMPTS = 20, 16, 2


# the price itself


def small(subject: Subject, layer: int = 1) -> Bench:
    return Bench(lambda: subject, few_stimuli(neutral=SENTENCES), Settings(layer=layer))


def texts_of(subject: Subject, number: int = 3) -> list[list[int]]:
    """Return texts of different lengths."""
    return [subject.tokenizer(text)["input_ids"][: 20 - 5 * i] for i, text in enumerate(SENTENCES[:number])]


def slowly(subject: Subject, layer: int, ids: list[int], vector: np.ndarray) -> float:
    """Return nats per token of a text from one plain pass with one vector pushed."""
    with pushed(subject, layer, torch.from_numpy(vector).float()):
        steps = torch.log_softmax(logits(subject, torch.tensor([ids]))[0].double(), dim=-1)
    return -float(np.mean([float(steps[i, token]) for i, token in enumerate(ids[1:])]))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", [0, LAYERS - 1])
def test_the_nats_of_every_text_under_every_vector_are_those_of_one_plain_pass_each(architecture: str, layer: int) -> None:
    subject, vectors = tiny(architecture), 3 * directions(3).numpy()
    texts = texts_of(subject)
    found = steered_nll(small(subject, layer), texts, vectors)
    assert found.shape == (len(texts), len(vectors))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[slowly(subject, layer, ids, vector) for vector in vectors] for ids in texts], rtol=1e-4)
    assert np.ptp(found, axis=1).min() > 0.01  # the vectors matter


@pytest.mark.parametrize("architecture", ["gpt2", "bloom"])
@settings(max_examples=10, deadline=None)
@given(rows=st.permutations(range(7)), texts=st.permutations(range(3)), chunk=st.integers(1, 8))
def test_neither_the_order_of_vectors_and_texts_nor_the_size_of_batches_matters(
    architecture: str, rows: list[int], texts: list[int], chunk: int
) -> None:
    subject, vectors = tiny(architecture), 3 * directions(7).numpy()
    ids = texts_of(subject)
    straight = steered_nll(small(subject), ids, vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(side_effects, "CHUNK", chunk)
        mixed = steered_nll(small(subject), [ids[i] for i in texts], vectors[rows])
    np.testing.assert_allclose(mixed, straight[texts][:, rows], rtol=1e-5)


def test_a_zero_vector_costs_nothing_and_the_first_token_is_not_predicted() -> None:
    subject = tiny("llama")
    (ids,) = texts_of(subject, 1)
    plain, first = steered_nll(small(subject), [ids], np.zeros((2, WIDTH)))[0], ids[0]
    assert plain == pytest.approx(np.full(2, slowly(subject, 1, ids, np.zeros(WIDTH))), rel=1e-4)
    # two tokens: only the second is predicted
    assert steered_nll(small(subject), [ids[:2]], np.zeros((1, WIDTH)))[0, 0] == pytest.approx(
        -float(torch.log_softmax(logits(subject, torch.tensor([[first]]))[0, -1], -1)[ids[1]]), rel=1e-4
    )


def test_the_model_is_left_without_a_hook_and_progress_hears_of_every_token_of_every_row() -> None:
    subject, seen = build("falcon"), Progress(None)
    texts, b = texts_of(subject), small(subject)
    b.progress = seen
    steered_nll(b, texts, directions(5).numpy())
    assert seen.tokens == 5 * sum(map(len, texts))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())


def test_a_direction_that_the_model_cannot_see_costs_nothing_and_one_that_it_reads_costs_something() -> None:
    # GPT-2's norms take the mean over the stream away, so that a shift of all coordinates alike is invisible to it
    subject = tiny("gpt2")
    texts, rows = texts_of(subject), np.concatenate([np.zeros((1, WIDTH)), 20 * np.ones((1, WIDTH)), 20 * np.eye(1, WIDTH)])
    plain, unseen, seen = steered_nll(small(subject), texts, rows).T
    assert unseen == pytest.approx(plain, abs=1e-3)
    assert np.abs(seen - plain).min() > 0.01


# the texts


def test_the_texts_are_the_first_tokens_of_the_first_neutral_passages() -> None:
    subject = as_subject(tiny("llama").model, bos=True)
    found = neutral_ids(small(subject), 3, 5)
    assert found == [subject.tokenizer(text)["input_ids"][:5] for text in SENTENCES[:3]]
    assert {ids[0] for ids in found} == {subject.tokenizer.bos_token_id}
    assert len(neutral_ids(small(subject), 99, 5)) == len(SENTENCES)


@pytest.mark.parametrize("texts", [(), ("The boy sat", "a"), ("The boy sat", "")])
def test_a_passage_without_a_token_to_predict_is_not_applicable(texts: tuple[str, ...]) -> None:
    b = Bench(lambda: tiny("llama"), few_stimuli(neutral=texts), Settings(layer=1))
    with pytest.raises(NotApplicable, match="fewer than two tokens"):
        neutral_ids(b, 16, 24)


# planted prices


def bench(subject: Subject | None = None, emotions: tuple[Emotion, ...] = EMOTIONS) -> Bench:
    """Return a bench with random activations and 16 neutral passages."""
    rng = np.random.default_rng(5)
    stimuli = few_stimuli(
        emotions=emotions,
        implicit=tuple(Passage(e.name, str(t), f"{e.name} {t}") for e in emotions for t in range(3)),
        neutral=tuple(f"{SENTENCES[i % len(SENTENCES)]} {i}" for i in range(PASSAGES)),
        prompts=tuple(Prompt(f"prompt {i}", SENTENCES[i], " He felt") for i in range(PROMPTS)),
    )
    counts = {"implicit": len(stimuli.implicit), "neutral": PASSAGES}
    return Bench(
        make=lambda: tiny("llama") if subject is None else subject,
        stimuli=stimuli,
        settings=Settings(layer=1),
        _captured={key: Activations(rng.normal(size=(number, 2, WIDTH)).astype(np.float32), (0, 1)) for key, number in counts.items()},
        _measured={"norms": np.array([99.0, 4.0])},
    )


def planted(b: Bench, case: Case = CASE, readout: np.ndarray | None = None) -> Sweep:
    which, strength, _ = plan(b, case)
    shape = (len(b.stimuli.prompts), len(which))
    base = {key: np.zeros((shape[0], SAMPLES)) for key in sweeps.MEASURES}
    still = np.zeros(shape)
    shown = np.zeros((*shape, len(b.stimuli.emotions))) if readout is None else readout
    return Sweep(which, strength, shown, still, still, still, still, base, [[""] * shape[1]] * shape[0])


def measured(price: np.ndarray, noise: float = 0.0, case: Case = JUDGED, seed: int = 0) -> tuple[Measurement, Judgement]:
    """Measure a case in which each direction costs its `price` times the strength (first the case's, then random ones)."""
    b, rng = bench(), np.random.default_rng(seed)
    found = planted(b, case)
    costs = price[found.which] * np.abs(found.strength) + noise * rng.normal(size=(PASSAGES, len(found.which)))
    told = np.concatenate([np.zeros((PASSAGES, 1)), costs], axis=1) + rng.uniform(2, 5, size=(PASSAGES, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_sweep", lambda bench, case: found)
        patch.setattr(side_effects, "steered_nll", lambda bench, texts, vectors: told)
        m = side_effects.measure(b, case)
    return m, judge(m, CLAIM, case, np.random.default_rng(0))


def prices(own: float, random: np.ndarray | None = None) -> np.ndarray:
    return np.concatenate([np.full(len(STEERED), own), np.arange(RANDOM) + 0.5 if random is None else random])


@pytest.mark.parametrize(
    ("own", "share", "verdict"), [(-1.0, 1.0, SUPPORTED), (5.0, 0.75, SUPPORTED), (15.0, 0.25, REFUTED), (99.0, 0.0, REFUTED)]
)
def test_a_planted_price_is_worth_the_share_of_random_directions_that_cost_more(own: float, share: float, verdict: str) -> None:
    m, found = measured(prices(own))
    assert m.scores == pytest.approx(np.full(PASSAGES, share))
    assert (found.verdict, len(m.items), found.estimate.clusters, m.layer) == (verdict, PASSAGES, PASSAGES, 1)
    assert found.reason == ("reversed" if verdict == REFUTED else None)


def test_a_direction_is_ranked_by_its_own_price_and_the_score_averages_over_directions() -> None:
    m, _ = measured(np.concatenate([np.arange(6) * 4.0, np.arange(RANDOM) + 0.5]))
    assert m.statistic(np.arange(PASSAGES)) == pytest.approx(np.mean([1 - 4 * d / RANDOM for d in range(6)]))


def test_prices_of_noise_are_worth_one_half_as_random_directions_are_among_themselves() -> None:
    found = [measured(prices(0.0, np.zeros(RANDOM)), noise=1.0, seed=seed) for seed in range(5)]
    assert np.mean([judgement.estimate.value for _, judgement in found]) == pytest.approx(0.5, abs=0.05)
    assert sum(judgement.verdict == SUPPORTED for _, judgement in found) <= 1
    for m, _ in found:
        assert len(null(m, "random directions").draws) == RANDOM
        assert null(m, "random directions").level == pytest.approx(0.5)
    assert null(found[0][0], "chance").level == 0.5


def test_the_cheapest_random_direction_beats_all_others_and_is_no_rival_of_its_own() -> None:
    draws = null(measured(prices(0.0))[0], "random directions").draws
    assert sorted(draws) == pytest.approx(np.arange(RANDOM) / (RANDOM - 1))


def test_what_a_text_costs_anyway_and_what_negative_strengths_cost_do_not_enter_the_score() -> None:
    b = bench()
    found = planted(b)
    ours, price = found.which < len(STEERED), prices(5.0)
    extra = np.where(ours & (found.strength < 0), 1e3, 0.0)
    told = np.concatenate([[0.0], price[found.which] * np.abs(found.strength) + extra])[None] + np.arange(PASSAGES)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_sweep", lambda bench, case: found)
        patch.setattr(side_effects, "steered_nll", lambda bench, texts, vectors: told)
        m = side_effects.measure(b, CASE)
    assert m.scores == pytest.approx(np.full(PASSAGES, 0.75))
    assert m.details["unsteered nats per token"] == pytest.approx(np.mean(np.arange(PASSAGES)))
    rows = {row["strength"]: row for row in m.details["costs"]}
    assert set(rows) == set(STRENGTHS)
    for s, row in rows.items():
        assert row["happy"] == pytest.approx(5.0 * abs(s) + (1e3 if s < 0 else 0))
        assert row["random"] == (pytest.approx(10.0 * s) if s > 0 else None)


def test_nats_per_character_are_over_the_characters_of_the_tokens_that_are_predicted() -> None:
    words = {1: "ab", 2: "cde", 3: "f"}
    spoken = SimpleNamespace(decode=lambda ids: "".join(words[i] for i in ids))
    b: Any = SimpleNamespace(subject=SimpleNamespace(tokenizer=spoken))
    # two predicted tokens of 4 characters at 2 nats each, one of 2 characters at 1 nat
    assert side_effects.per_character(b, [[1, 2, 3], [2, 1]], np.array([2.0, 1.0])) == pytest.approx(5 / 6)
    assert side_effects.per_character(b, [[1]], np.array([0.0])) is None


def test_the_claim_is_reported_and_never_judged() -> None:
    for own in (-1.0, 99.0):
        _, found = measured(prices(own), case=CASE)
        assert (found.verdict, found.reason) == (REPORTED, CASE.settings["because"])


def test_a_price_that_is_not_a_number_never_becomes_a_win() -> None:
    price = prices(-1.0)
    price[2] = np.nan
    m, _ = measured(price)
    assert not (m.scores is not None and (m.scores > 5 / 6 + 1e-9).any())


def test_prices_that_are_all_alike_are_worth_exactly_one_half() -> None:
    m, _ = measured(prices(0.0, np.zeros(RANDOM)))
    assert list(m.scores if m.scores is not None else ()) == [0.5] * PASSAGES


def test_prices_that_are_not_numbers_have_no_rank() -> None:
    m, _ = measured(prices(np.nan))
    assert m.scores is not None
    assert np.isnan(m.scores).all()


# what is moved beside the emotion


def test_what_is_moved_off_target_is_the_mean_size_of_the_effects_outside_the_emotions_own_cluster() -> None:
    b = bench()
    found = planted(b)
    clusters = np.array([emotion.cluster for emotion in EMOTIONS])
    signs = np.array([1 if i % 2 else -1 for i in range(len(EMOTIONS))])
    mates = {}
    for d, name in enumerate(STEERED):
        own = target(b, CASE, d)
        mates[name] = int((clusters == clusters[own]).sum())
        for s in STRENGTHS:
            effects = np.where(clusters == clusters[own], 1000.0, 2.0 * signs) * s
            effects[own] = 7.0 * s
            # prompts that differ and cancel are no effect: sizes are those of the mean over prompts
            found.readout[:, found.at(d, s)] = effects + np.array([[50.0], [-50.0]])
    assert max(mates.values()) > 1  # else there would be nothing to leave out
    rows = off_target(b, CASE, found, list(STEERED))
    assert [(row["direction"], row["strength"]) for row in rows] == [(name, s) for name in STEERED for s in STRENGTHS]
    for row in rows:
        assert row["own"] == pytest.approx(7.0 * row["strength"])
        assert row["off target"] == pytest.approx(2.0 * abs(row["strength"]))


# a tiny model, end to end

FELT = tuple(Emotion(n, 0.0, 0.0, c, (n,), ()) for n, c in (("glad", "joy"), ("sad", "grief"), ("lonesome", "grief"), ("furious", "anger")))
SMALL = replace(CASE, settings={**CASE.settings, "emotions": ("glad", "furious"), "strengths": (-1.0, 0.5, 1.0), "tokens": 4, "cut": 12})


def taught(subject: Subject, steps: int = 60) -> Subject:
    """Teach a model the sentences of the tests, so that disturbing it costs something."""
    torch.manual_seed(0)
    model = subject.model.requires_grad_(True)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    rows = [torch.tensor([subject.tokenizer(text)["input_ids"]]) for text in SENTENCES]
    for step in range(steps):
        ids = rows[step % len(rows)]
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:]).backward()
        optimiser.step()
    model.requires_grad_(False)
    return subject


def test_a_taught_model_pays_for_what_it_reads_and_a_direction_that_it_cannot_see_is_cheaper_than_nearly_all_random_ones() -> None:
    b = bench(taught(build("gpt2")), FELT)
    other = 3 * np.random.default_rng(0).normal(size=WIDTH)
    # glad lies along what GPT-2's norms take away, and the emotions sum to zero
    implicit = np.repeat([np.ones(WIDTH), other, -1 - other, np.zeros(WIDTH)], 3, axis=0)
    neutral = b.activations("neutral").values
    b._measured.clear()  # the strengths are in its own residual norms
    b._captured["implicit"] = Activations(np.stack([implicit, implicit], axis=1), (0, 1))
    b._captured["neutral"] = Activations(neutral - neutral.mean(axis=-1, keepdims=True), (0, 1))
    only = replace(SMALL, settings={**SMALL.settings, "emotions": ("glad",)})
    m = side_effects.measure(b, only)
    costs = {row["strength"]: row for row in m.details["costs"]}
    assert m.details["unsteered nats per token"] < 3
    assert [row["glad"] for row in costs.values()] == pytest.approx(np.zeros(3), abs=1e-3)
    assert costs[1.0]["random"] > 0.1
    assert m.statistic(np.arange(PASSAGES)) > 0.85
    assert [item["id"] for item in m.items] == [f"neutral {i}" for i in range(1, PASSAGES + 1)]


def test_a_measured_tiny_model_tells_for_every_direction_and_strength_its_price_and_its_spill_over() -> None:
    b = bench(tiny("bloom"), FELT)
    m, found = side_effects.measure(b, SMALL), sweep(b, SMALL)
    ids, (_, _, rows) = neutral_ids(b, PASSAGES, 12), plan(b, SMALL)
    number = count()
    for d, name in enumerate(("glad", "furious")):
        for s in (-1.0, 0.5, 1.0):
            row = found.at(d, s)
            cost = np.mean([slowly(b.subject, 1, text, rows[row]) - slowly(b.subject, 1, text, 0 * rows[row]) for text in ids])
            assert next(r for r in m.details["costs"] if r["strength"] == s)[name] == pytest.approx(cost, abs=1e-3)
            spill = m.details["off target"][next(number)]
            assert (spill["direction"], spill["strength"]) == (name, s)
            assert spill["own"] == pytest.approx(found.readout[:, row, target(b, SMALL, d)].mean())
