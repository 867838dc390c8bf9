"""A sweep over layers: a bench at another block shares what was captured at all and nothing else, and the best of many is no luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import Case, load_claims
from cases.emotions import Emotion, load_emotions
from cases.stimuli import Pair, Passage, Prompt
from fixtures import dose, nulls, sweeps
from fixtures.activations import Activations
from fixtures.bench import AT_EVERY_LAYER, Bench, Settings
from fixtures.dose import by_layer
from fixtures.models import Subject
from fixtures.sweeps import SAMPLES, Sweep, plan, sweep
from tests.planted import few_stimuli
from tests.tiny import LAYERS, SENTENCES, WIDTH, build, tiny

CASE = load_claims()["dose_response"].case("implicit")
WORDS = (("glad", "joy"), ("sad", "grief"), ("lonesome", "grief"), ("furious", "anger"), ("afraid", "fear"), ("angry", "anger"))
EMOTIONS = tuple(Emotion(name, 0.0, 0.0, cluster, (name,), ()) for name, cluster in WORDS)
SMALL = replace(CASE, settings={"emotions": ("glad", "furious"), "strengths": (-1.0, 0.5, 1.0), "tokens": 4})
CONTRAST = replace(SMALL, settings={"contrast": "fear_calm", "reads": "sad", "strengths": (-1.0, 0.5, 1.0), "tokens": 4})

STIMULI = few_stimuli(
    emotions=EMOTIONS,
    implicit=tuple(Passage(e.name, str(t), f"{SENTENCES[t]} {e.name}") for e in EMOTIONS for t in range(2)),
    scenarios=tuple(Passage("glad", str(t), text) for t, text in enumerate(SENTENCES[:3])),
    concepts=tuple(Passage(name, str(t), f"{name} {SENTENCES[t + 2]}") for name in ("dog", "sea") for t in range(2)),
    neutral=SENTENCES,
    pairs={"fear_calm": tuple(Pair(str(i), text, text[::-1]) for i, text in enumerate(SENTENCES[:4]))},
    prompts=(Prompt("hill", "The boy sat on the hill", " He felt"), Prompt("dog", "Her dog was", " She felt")),
)


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", DRAWS)
    monkeypatch.setitem(nulls.RANDOM_DIRECTIONS, "quick", RANDOM)


DRAWS, RANDOM = 19, 6

# the bench at another block


def bench(subject: Subject | None = None, layer: int = 1, **changes: Any) -> Bench:
    shown = tiny("llama") if subject is None else subject
    return Bench(lambda: shown, STIMULI, Settings(layer=layer, **changes))


def filled(b: Bench) -> Bench:
    for key in ("implicit", "neutral", "concepts", "fear_calm", "scenarios"):
        b.activations(key)
    b.norms()
    return b


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_bench_at_another_block_judges_as_one_that_was_made_for_it(architecture: str, layer: int) -> None:
    moved, fresh = filled(bench(tiny(architecture))).at(layer), bench(tiny(architecture), layer)
    assert (moved.layer, moved.subject) == (layer, fresh.subject)
    for case in (SMALL, CONTRAST):
        for ours, theirs in zip(plan(moved, case), plan(fresh, case), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert moved.activations("scenarios").layers == (layer,)
    np.testing.assert_allclose(moved.activations("scenarios").values, fresh.activations("scenarios").values)
    np.testing.assert_allclose(moved.vectors("implicit").unit, filled(bench(tiny(architecture))).vectors("implicit", layer).unit)


def test_what_was_captured_at_every_layer_is_shared_and_what_was_captured_at_the_judged_one_is_not() -> None:
    b = filled(bench())
    moved = b.at(2)
    assert {key for key in moved._captured} == {"implicit", "neutral", "concepts", "fear_calm"} <= set(AT_EVERY_LAYER)
    assert all(moved.activations(key) is b.activations(key) for key in moved._captured)
    assert moved.norms() is b.norms()
    assert moved.settings == replace(b.settings, layer=2)
    assert (moved.stimuli, moved.progress) == (b.stimuli, b.progress)


def test_nothing_that_a_bench_at_another_block_measures_reaches_the_one_that_it_came_from() -> None:
    b = filled(bench())
    captured, measured = dict(b._captured), dict(b._measured)
    scenarios = b.activations("scenarios").values.copy()
    moved = b.at(2)
    moved.activations("scenarios")
    moved.activations("named")
    moved.once("mine", lambda: np.ones(1))
    sweep(moved, SMALL)
    assert b._captured == captured
    assert b._measured == measured
    assert b.swept == {}
    assert (b.layer, b.settings.layer) == (1, 1)
    assert b.activations("scenarios").layers == (1,)
    assert (b.activations("scenarios").values == scenarios).all()


def test_a_sweep_at_another_block_is_its_own() -> None:
    b = bench()
    here, there = sweep(b, SMALL), sweep(b.at(2), SMALL)
    assert sweep(b, SMALL) is here
    assert there is not here
    assert not np.allclose(there.readout, here.readout, atol=1e-2)
    again = sweep(b.at(1), SMALL)
    np.testing.assert_allclose(again.readout, here.readout, atol=1e-5)
    assert again.texts == here.texts


def test_the_model_is_built_once_for_all_blocks() -> None:
    built = []

    def make() -> Subject:
        built.append(1)
        return build("llama")

    b = Bench(make, STIMULI, Settings(layer=1))
    for layer in range(LAYERS):
        assert b.at(layer).subject is b.subject
    assert built == [1]


def test_a_twin_at_another_block_captures_there() -> None:
    twin = bench()
    twin.is_twin = True
    twin.activations("implicit")
    assert twin.at(2).activations("implicit").at(2).shape == (len(STIMULI.implicit), WIDTH)


# planted sweeps at many blocks

PROMPTS, BLOCKS = 8, 5
CORE = tuple(load_emotions())
PLANTED = replace(SMALL, settings={"emotions": ("happy", "angry"), "strengths": (0.5, 1.0), "tokens": 4})
OWN = [[emotion.name for emotion in CORE].index(name) for name in PLANTED.settings["emotions"]]
"""The read-outs of the steered emotions."""


def planted_bench(blocks: int = BLOCKS, seed: int = 0) -> Bench:
    rng = np.random.default_rng(5)
    stimuli = few_stimuli(
        emotions=CORE,
        implicit=tuple(Passage(e.name, str(t), f"{e.name} {t}") for e in CORE for t in range(2)),
        neutral=tuple(f"neutral {i}" for i in range(6)),
        prompts=tuple(Prompt(f"prompt {i}", f"text {i}", " He felt") for i in range(PROMPTS)),
    )
    counts = {"implicit": len(stimuli.implicit), "neutral": 6}
    return Bench(
        make=lambda: SimpleNamespace(layers=blocks),  # type: ignore[arg-type, return-value]
        stimuli=stimuli,
        settings=Settings(seed=seed, layer=0),
        _captured={k: Activations(rng.normal(size=(n, blocks, 8)).astype(np.float32), tuple(range(blocks))) for k, n in counts.items()},
        _measured={"norms": np.ones(blocks)},
    )


def planted(b: Bench, effect: float, seed: int | Sequence[int], everywhere: bool = False, case: Case = PLANTED) -> Sweep:
    """Return a coherent sweep in which the directions raise their own read-out (or every one) by `effect` times the strength."""
    which, strength, rows = plan(b, case)
    readout = 0.5 * np.random.default_rng(seed).normal(size=(PROMPTS, len(rows), len(CORE)))
    for row, (d, s) in enumerate(zip(which, strength, strict=True)):
        if d < len(case.settings["emotions"]):
            readout[:, row, slice(None) if everywhere else OWN[d]] += effect * s
    still, ones = np.zeros((PROMPTS, len(rows))), np.ones((PROMPTS, len(rows)))
    base = {"nll": np.linspace(0.5, 1.5, 40), "distinct": np.ones(SAMPLES), "loop": np.zeros(SAMPLES)}
    return Sweep(which, strength, readout, ones, ones, still, ones, base, [])


def swept(sweeps_of: dict[int, Sweep] | Sweep, b: Bench, case: Case = PLANTED) -> dict[str, Any]:
    """Return what is found where each block's sweep is planted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_sweep", lambda at, case: sweeps_of if isinstance(sweeps_of, Sweep) else sweeps_of[at.layer])
        return by_layer(b, case)


def at_blocks(effects: Sequence[float], seed: int = 0, everywhere: bool = False) -> dict[str, Any]:
    b = planted_bench(len(effects), seed)
    return swept({layer: planted(b, effect, (seed, layer), everywhere) for layer, effect in enumerate(effects)}, b)


def values_of(found: dict[str, Any]) -> list[float]:
    return [row["value"] for row in found["rows"]]


@pytest.mark.parametrize("layer", range(BLOCKS))
def test_a_planted_block_is_found_among_many(layer: int) -> None:
    found = at_blocks([6.0 * (i == layer) for i in range(BLOCKS)])
    assert [row["layer"] for row in found["rows"]] == list(range(BLOCKS))
    assert found["best layer"] == layer
    assert found["adjusted p"] < 0.06  # the least that so few draws can give
    values = values_of(found)
    assert values[layer] > 0.95
    assert max(values[:layer] + values[layer + 1 :]) < 0.8
    row = found["rows"][layer]
    assert row["largest coherent effect"] == pytest.approx(6.0, abs=0.5)
    assert row["mean width"] == pytest.approx(0.75)


def test_the_best_of_many_blocks_of_noise_is_no_more_significant_than_one_of_them() -> None:
    found = [at_blocks([0.0] * BLOCKS, seed) for seed in range(16)]
    p = np.array([each["adjusted p"] for each in found])
    assert (p <= 0.05).sum() <= 2
    assert 0.3 < p.mean() < 0.7
    # picked without the adjustment, the best one would look like an effect
    assert np.mean([max(values_of(each)) for each in found]) > 0.55
    assert len({each["best layer"] for each in found}) > 2


def test_an_effect_turned_round_is_not_the_best_block() -> None:
    found = at_blocks([0.0, 0.0, -6.0, 0.0, 0.0])
    assert found["best layer"] != 2
    assert found["adjusted p"] > 0.05
    assert values_of(found)[2] < 0.05


def test_directions_that_raise_every_emotion_alike_at_one_block_are_not_significant() -> None:
    found = at_blocks([0.0, 6.0, 0.0], everywhere=True)
    assert found["best layer"] == 1
    assert values_of(found)[1] == pytest.approx(1.0, abs=0.05)
    assert found["adjusted p"] > 0.05


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_blocks_that_are_all_alike_count_once(seed: int, blocks: int) -> None:
    # the same exchange of emotions holds at every block, so that copies of a block change no p
    one = planted(planted_bench(1), 0.0, seed)
    alone, many = swept(one, planted_bench(1, seed)), swept(one, planted_bench(blocks, seed))
    assert many["adjusted p"] == alone["adjusted p"]
    assert values_of(many) == values_of(alone) * blocks


def test_the_draws_depend_on_the_runs_seed_and_the_case_alone() -> None:
    one = planted(planted_bench(3), 0.0, 1)
    p = [swept(one, planted_bench(3, seed))["adjusted p"] for seed in (0, 0, 1, 2, 3, 4)]
    assert p[0] == p[1]
    assert len(set(p)) > 1


def test_a_single_direction_is_no_more_significant_than_the_number_of_emotions_that_it_can_be_exchanged_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 200)
    one, b = replace(PLANTED, settings={**PLANTED.settings, "emotions": ("happy",)}), planted_bench(1)
    found = swept(planted(b, 6.0, 0, case=one), b, one)
    outside = sum(emotion.cluster != CORE[OWN[0]].cluster for emotion in CORE)
    assert found["adjusted p"] >= 1 / (1 + outside)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_block_that_is_not_a_number_is_never_the_best(block: int) -> None:
    b = planted_bench(3)
    found = {layer: planted(b, 6.0 * (layer == 1), layer) for layer in range(3)}
    found[block].readout[:, found[block].which < len(OWN)] = np.nan
    told = swept(found, b)
    assert np.isnan(values_of(told)[block])
    assert told["best layer"] != block


# a tiny model


def test_the_profile_of_a_tiny_model_agrees_at_the_judged_block_with_the_case_itself() -> None:
    b = bench(sweep_layers=True)
    m = dose.measure(b, SMALL)
    told = m.details["by layer"]
    assert [row["layer"] for row in told["rows"]] == list(range(LAYERS))
    assert told["rows"][1]["value"] == pytest.approx(m.statistic(np.arange(len(m.clusters))), abs=1e-6)
    assert told["rows"][1]["mean width"] == pytest.approx(np.mean([w["width"] for w in m.details["windows"]]))
    assert told["best layer"] == int(np.argmax(values_of(told)))
    assert 0 < told["adjusted p"] <= 1
    assert [found for key, found in b.swept.items() if key != "spoken"] == [sweep(b, SMALL)]


def test_blocks_are_swept_on_request_only() -> None:
    assert dose.measure(bench(), SMALL).details["by layer"] is None
    assert Settings().sweep_layers is False
