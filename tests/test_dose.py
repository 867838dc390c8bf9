"""Dose-response: planted sweeps are measured, text outside the band of unsteered text never counts, and tiny models are swept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import Case, load_claims
from cases.emotions import Emotion, load_emotions
from cases.stimuli import Pair, Passage, Prompt
from fixtures import dose, nulls, sweeps
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.dose import slopes, windows
from fixtures.generation import gumbel, plain_ids, read, spoken, write
from fixtures.models import Subject
from fixtures.nulls import PERMUTED
from fixtures.sweeps import COHERENT, SAMPLES, Sweep, log_odds, plan, sweep, target
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.odd import prefixed
from tests.planted import few_stimuli
from tests.tiny import build, tiny

CLAIM = load_claims()["dose_response"]
IMPLICIT, CONTRAST = CLAIM.case("implicit"), CLAIM.case("fear-contrast")
STEERED: tuple[str, ...] = tuple(IMPLICIT.settings["emotions"])
STRENGTHS: tuple[float, ...] = tuple(IMPLICIT.settings["strengths"])
RISING = [s for s in STRENGTHS if s > 0]
EMOTIONS = tuple(load_emotions())
PROMPTS, RANDOM, WIDTH, SIZE = 20, 20, 32, 4.0
CELLS = {-1.0: 0.25, -0.5: 0.375, -0.25: 0.2, -0.1: 0.125, 0.1: 0.125, 0.25: 0.2, 0.5: 0.375, 1.0: 0.25}
"""How wide a stretch each strength of the cases stands for: up to halfway to its neighbours, 0 being one."""


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 20)


def no_model() -> Subject:
    raise AssertionError("the sweep is planted: no model is asked")


def bench(
    make: Callable[[], Subject] = no_model, emotions: tuple[Emotion, ...] = EMOTIONS, prompts: tuple[Prompt, ...] | None = None
) -> Bench:
    """Return a bench with random activations and a residual norm of `SIZE` at the judged layer."""
    rng = np.random.default_rng(5)
    stimuli = few_stimuli(
        emotions=emotions,
        implicit=tuple(Passage(e.name, str(t), f"{e.name} {t}") for e in emotions for t in range(3)),
        neutral=tuple(f"neutral {i}" for i in range(12)),
        pairs={"fear_calm": tuple(Pair(str(i), f"first {i}", f"second {i}") for i in range(8))},
        prompts=tuple(Prompt(f"prompt {i}", f"text {i}", " He felt") for i in range(PROMPTS)) if prompts is None else prompts,
    )
    counts = {"implicit": len(stimuli.implicit), "neutral": 12, "fear_calm": 16}
    return Bench(
        make=make,
        stimuli=stimuli,
        settings=Settings(seed=0, layer=1),
        _captured={key: Activations(rng.normal(size=(count, 2, WIDTH)).astype(np.float32), (0, 1)) for key, count in counts.items()},
        _measured={"norms": np.array([99.0, SIZE])},
    )


def planted(b: Bench, case: Case, effect: float = 0.0, noise: float = 0.5, seed: int = 0) -> Sweep:
    """Return a coherent sweep in which every direction raises its own read-out by `effect` times the strength, with noise."""
    rng = np.random.default_rng(seed)
    which, strength, rows = plan(b, case)
    readout = noise * rng.normal(size=(PROMPTS, len(rows), len(b.stimuli.emotions)))
    own = {d: target(b, case, d) for d in range(names_of(case))}
    for row, (d, s) in enumerate(zip(which, strength, strict=True)):
        if d in own:
            readout[:, row, own[int(d)]] += effect * s
    base = {
        "nll": np.linspace(2.0, 4.0, PROMPTS * SAMPLES).reshape(PROMPTS, SAMPLES),
        "distinct": np.linspace(0.8, 1.0, PROMPTS * SAMPLES).reshape(PROMPTS, SAMPLES),
        "loop": np.zeros((PROMPTS, SAMPLES)),
    }
    shape = (PROMPTS, len(rows))
    return Sweep(
        which=which,
        strength=strength,
        readout=readout,
        nll=np.full(shape, 3.0),
        distinct=np.full(shape, 0.95),
        loop=np.zeros(shape),
        entropy=np.ones(shape),
        base=base,
        texts=[[f"text {p} {row}" for row in range(len(rows))] for p in range(PROMPTS)],
    )


def names_of(case: Case) -> int:
    return len(case.settings.get("emotions", ("contrast",)))


def plant(b: Bench, case: Case, found: Sweep) -> None:
    """Put a sweep where the bench keeps the ones that it made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_sweep", lambda bench, case: found)
        sweep(b, case)
    assert list(b.swept.values()) == [found]


def measured(found: Sweep, case: Case = IMPLICIT, b: Bench | None = None) -> tuple[Measurement, Judgement]:
    at = bench() if b is None else b
    plant(at, case, found)
    m = dose.measure(at, case)
    return m, judge(m, CLAIM, case, np.random.default_rng(0))


def incoherent(found: Sweep, directions: list[int], share: float = 1.0, **values: float) -> Sweep:
    """Return a sweep in which `values` replace those of a share of the prompts under some directions."""
    changed = {}
    for key, value in values.items():
        rows = getattr(found, key).copy()
        rows[: round(share * PROMPTS), np.isin(found.which, directions)] = value
        changed[key] = rows
    return replace(found, **changed)


# the measure


@pytest.mark.parametrize("case", [IMPLICIT, CONTRAST], ids=["implicit", "fear-contrast"])
def test_a_planted_rising_dose_response_is_superior_to_nearly_every_random_direction(case: Case) -> None:
    m, found = measured(planted(bench(), case, effect=6.0), case)
    assert (found.verdict, m.gate) == (SUPPORTED, None)
    assert found.estimate.value > 0.97
    assert (len(m.items), found.estimate.clusters, m.layer) == (PROMPTS, PROMPTS, 1)
    draws = next(n for n in m.nulls if n.kind.startswith(PERMUTED)).draws
    assert draws.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("case", [IMPLICIT, CONTRAST], ids=["implicit", "fear-contrast"])
def test_superiority_is_the_share_of_all_random_directions_whose_slope_is_smaller(case: Case) -> None:
    b = bench()
    found = planted(b, case, effect=0.3)
    doses = dose.Doses(b, case, found)
    strengths = np.array([s for s in case.settings["strengths"] if s > 0])
    randoms = found.randoms(names_of(case))
    assert len(randoms) >= 20
    for prompt, share in enumerate(doses.superiority(doses.targets)):
        won = [
            doses.slope(d, strengths, own)[prompt] > doses.slope(random, strengths, own)[prompt]
            for d, own in enumerate(doses.targets)
            for random in randoms
        ]
        assert share == pytest.approx(np.mean(won))


def test_a_planted_falling_dose_response_is_refuted_as_reversed() -> None:
    m, found = measured(planted(bench(), IMPLICIT, effect=-6.0))
    assert (found.verdict, found.reason) == (REFUTED, "reversed")
    assert found.estimate.value < 0.03
    assert m.details["anti-steerable share"] == pytest.approx(np.ones(len(STEERED)), abs=0.1)


def test_a_dose_response_of_noise_is_supported_in_at_most_5_per_cent_and_is_worth_one_half() -> None:
    judged = [measured(planted(bench(), IMPLICIT, seed=seed))[1] for seed in range(6)]
    assert sum(found.verdict == SUPPORTED for found in judged) <= 1
    assert np.mean([found.estimate.value for found in judged]) == pytest.approx(0.5, abs=0.04)


def test_read_outs_that_are_all_alike_are_worth_exactly_one_half() -> None:
    m, found = measured(planted(bench(), IMPLICIT, noise=0.0))
    assert list(m.scores if m.scores is not None else ()) == [0.5] * PROMPTS
    assert found.verdict != SUPPORTED


def test_directions_that_raise_every_emotion_alike_are_no_evidence_of_their_own() -> None:
    found = planted(bench(), IMPLICIT, noise=0.3)
    ours = found.which < len(STEERED)
    found.readout[:, ours] += 6.0 * found.strength[None, ours, None]
    m, judgement = measured(found)
    assert m.statistic(np.arange(PROMPTS)) > 0.97
    assert judgement.against.kind.startswith(PERMUTED)
    assert judgement.verdict != SUPPORTED


def test_mean_slopes_are_the_planted_effects() -> None:
    m, _ = measured(planted(bench(), IMPLICIT, effect=6.0, noise=0.1))
    assert m.details["mean slope"] == pytest.approx(np.full(len(STEERED), 6.0), abs=0.15)
    assert m.details["anti-steerable share"] == pytest.approx(np.zeros(len(STEERED)))


@settings(max_examples=3, deadline=None)
@given(order=st.permutations(range(PROMPTS)), scale=st.floats(0.01, 100))
def test_the_order_of_prompts_and_the_unit_of_read_outs_are_irrelevant(order: list[int], scale: float) -> None:
    found = planted(bench(), IMPLICIT, effect=0.7)
    plain = measured(found)[0]
    fields = {k: getattr(found, k)[order] for k in ("readout", "nll", "distinct", "loop", "entropy")}
    moved = measured(replace(found, **{**fields, "readout": scale * fields["readout"]}))[0]
    assert plain.scores is not None
    assert moved.scores == pytest.approx(plain.scores[order])
    assert moved.nulls[0].draws == pytest.approx(plain.nulls[0].draws)


def test_only_the_coherent_strengths_of_a_direction_enter_its_slope() -> None:
    b = bench()
    found = planted(b, IMPLICIT, effect=6.0, noise=0.1)
    for d in range(len(STEERED)):
        # the largest strengths would turn every slope round, but their text loops
        found.readout[:, [found.at(d, s) for s in (0.5, 1.0)], target(b, IMPLICIT, d)] = -50.0
        found.loop[:, [found.at(d, s) for s in (0.5, 1.0)]] = 16
    assert measured(found)[1].estimate.value > 0.9
    found.loop[:] = 0
    assert measured(found)[1].estimate.value < 0.1


@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=5, unique=True), st.floats(-5, 5), st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_the_slope_of_a_line_through_the_origin_is_its_own_and_slopes_add_up(strengths: list[float], a: float, b: float) -> None:
    at, bent = np.array(strengths), np.array(strengths) ** 2
    assert slopes(a * at, at) == pytest.approx(a, abs=1e-9)
    assert slopes(np.stack([a * at + b * bent, b * bent]), at) == pytest.approx(
        [a + b * slopes(bent, at), b * slopes(bent, at)], rel=1e-6, abs=1e-9
    )


# coherence and its gate

OUTSIDE: dict[str, dict[str, float]] = {
    "nats too low": {"nll": 1.0},
    "nats too high": {"nll": 5.0},
    "loops": {"loop": 8},
    "too few distinct pairs": {"distinct": 0.5},
    "nats not a number": {"nll": np.nan},
    "distinct not a number": {"distinct": np.nan},
}


@pytest.mark.parametrize("values", OUTSIDE.values(), ids=OUTSIDE)
def test_text_outside_the_band_of_unsteered_text_is_not_coherent(values: dict[str, float]) -> None:
    found = incoherent(planted(bench(), IMPLICIT), [2], **values)
    assert found.inside().mean(axis=0) == pytest.approx((found.which != 2).astype(float))
    assert not any(found.coherent(2, s) for s in STRENGTHS)
    assert all(found.coherent(1, s) for s in STRENGTHS)


def test_the_band_holds_95_per_cent_of_the_unsteered_text_on_both_sides_and_looping_as_long_as_it_does_is_allowed() -> None:
    found = planted(bench(), IMPLICIT)
    low, high = np.quantile(found.base["nll"], [0.025, 0.975])
    found.base["loop"][:, :2] = 3.0  # a quarter of the samples
    for nll, inside in ((low, True), (high, True), (low - 1e-6, False), (high + 1e-6, False)):
        assert replace(found, nll=np.full_like(found.nll, nll)).inside().all() == inside
    assert replace(found, loop=np.full_like(found.loop, 3.0)).inside().all()
    assert not replace(found, loop=np.full_like(found.loop, 4.0)).inside().any()
    own = replace(found, **{k: found.base[k] for k in ("nll", "distinct", "loop")}).inside()
    assert 0.9 <= own.mean() <= 0.95


def test_a_band_of_what_is_no_number_holds_nothing() -> None:
    found = planted(bench(), IMPLICIT, effect=6.0)
    found.base["nll"][0, 0] = np.nan
    assert not found.inside().any()
    assert measured(found)[1].verdict == INCONCLUSIVE


def test_a_strength_is_coherent_from_three_quarters_of_its_continuations_on() -> None:
    for share, coherent in ((1 - COHERENT, True), (1 - COHERENT + 1 / PROMPTS, False)):
        found = incoherent(planted(bench(), IMPLICIT), [0], share, nll=9.0)
        assert all(found.coherent(0, s) == coherent for s in STRENGTHS)


def test_fewer_than_half_of_the_directions_coherent_concludes_nothing_whatever_the_effect() -> None:
    m, found = measured(incoherent(planted(bench(), IMPLICIT, effect=6.0), [0, 1, 2, 3], nll=9.0))
    assert found.verdict == INCONCLUSIVE
    assert m.gate is not None
    assert found.reason == m.gate
    assert "2 of 6" in m.gate
    assert found.estimate.value > 0.9  # the figures are shown all the same


def test_more_than_half_of_the_directions_coherent_is_judged_by_those_alone() -> None:
    b = bench()
    found = incoherent(planted(b, IMPLICIT, effect=6.0), [0, 1], loop=16)
    for d in (0, 1):
        found.readout[:, found.which == d, target(b, IMPLICIT, d)] = -50.0
    m, judgement = measured(found)
    assert (m.gate, judgement.verdict) == (None, SUPPORTED)
    assert judgement.estimate.value > 0.97


def test_no_coherent_direction_is_worth_one_half_and_concludes_nothing() -> None:
    for case in (IMPLICIT, CONTRAST):
        m, found = measured(incoherent(planted(bench(), case, effect=6.0), list(range(names_of(case))), distinct=0.1), case)
        assert (m.statistic(np.arange(PROMPTS)), found.verdict, found.reason) == (0.5, INCONCLUSIVE, m.gate)
        assert [row["width"] for row in m.details["windows"]] == [0.0] * names_of(case)
        assert {row["largest coherent effect"] for row in m.details["windows"]} == {None}


# what is not a number


@pytest.mark.parametrize("whose", ["a direction's", "random directions'"])
def test_a_read_out_that_is_not_a_number_never_becomes_a_win(whose: str) -> None:
    found = planted(bench(), IMPLICIT, effect=0.7)
    plain = measured(found)[0].scores
    found.readout[3, found.which < len(STEERED) if whose == "a direction's" else found.which >= len(STEERED)] = np.nan
    scores = measured(found)[0].scores
    assert plain is not None
    assert scores is not None
    assert not scores[3] > 0
    others = np.arange(PROMPTS) != 3
    assert (scores[others] == plain[others]).all()


@pytest.mark.parametrize("whose", ["a direction's", "random directions'"])
def test_read_outs_that_are_not_numbers_conclude_nothing(whose: str) -> None:
    found = planted(bench(), IMPLICIT, effect=6.0)
    found.readout[:, found.which < len(STEERED) if whose == "a direction's" else found.which >= len(STEERED)] = np.nan
    assert measured(found)[1].verdict == INCONCLUSIVE


@pytest.mark.parametrize("whose", [0, len(STEERED) + 3])
def test_what_is_not_a_number_opens_no_window(whose: int) -> None:
    b = bench()
    found = planted(b, IMPLICIT, effect=40.0)
    found.readout[2, found.which == whose] = np.nan
    rows = windows_of(b, found)
    assert rows[0]["width"] == (0.0 if whose == 0 else pytest.approx(1.9 - sum(CELLS[s] for s in STRENGTHS)))
    assert rows[0]["largest coherent effect"] is None


# windows


def windows_of(b: Bench, found: Sweep, case: Case = IMPLICIT) -> list[dict[str, Any]]:
    plant(b, case, found)
    return windows(b, case, found)


def beyond(rows: list[dict[str, Any]], direction: int) -> list[float]:
    return [point["strength"] for point in rows[direction]["points"] if point["beyond random"] and point["coherent"]]


def test_the_window_of_a_strong_effect_is_every_tested_stretch_but_that_of_no_steering() -> None:
    rows = windows_of(bench(), planted(bench(), IMPLICIT, effect=40.0))
    assert [row["direction"] for row in rows] == list(STEERED)
    for d, row in enumerate(rows):
        assert beyond(rows, d) == sorted(STRENGTHS)
        assert row["width"] == pytest.approx(sum(CELLS.values())) == pytest.approx(2 - 0.1)
        assert row["largest coherent effect"] == pytest.approx(40.0, abs=1.0)


def test_the_window_has_the_cells_that_are_both_coherent_and_beyond_random_directions() -> None:
    b = bench()
    found = planted(b, IMPLICIT, effect=40.0)
    found.nll[:, [found.at(1, s) for s in (-1.0, 0.5, 1.0)]] = 1.0
    found.readout[:, [found.at(1, s) for s in (-0.1, 0.1)], target(b, IMPLICIT, 1)] = 0.0
    rows = windows_of(b, found)
    assert beyond(rows, 1) == [-0.5, -0.25, 0.25]
    assert rows[1]["width"] == pytest.approx(0.375 + 0.2 + 0.2)
    assert rows[1]["largest coherent effect"] == pytest.approx(20.0, abs=0.5)
    assert rows[0]["width"] == pytest.approx(1.9)
    points = {point["strength"]: point for point in rows[1]["points"]}
    assert (points[1.0]["beyond random"], points[1.0]["coherent"], points[1.0]["inside band"]) == (True, False, 0.0)
    assert (points[0.1]["beyond random"], points[0.1]["coherent"], points[0.1]["nats per token"]) == (False, True, 3.0)


def test_an_effect_against_the_sign_of_the_strength_is_not_beyond_random() -> None:
    rows = windows_of(bench(), planted(bench(), IMPLICIT, effect=-40.0))
    assert all(row["width"] == 0 for row in rows)
    assert min(point["random p"] for row in rows for point in row["points"]) > 0.95


def test_effects_as_large_as_those_of_random_directions_of_either_sign_open_no_window() -> None:
    b = bench()
    found = planted(b, IMPLICIT, effect=4.0, noise=0.01)
    random = found.which >= len(STEERED)
    found.readout[:, random] -= 8.0 * found.strength[None, random, None]
    assert all(row["width"] == 0 for row in windows_of(b, found))


def test_a_window_is_open_under_noise_for_about_one_cell_in_twenty() -> None:
    b, open_cells = bench(), []
    for seed in range(8):
        rows = windows_of(bench(), planted(b, IMPLICIT, seed=seed))
        open_cells += [point["beyond random"] for row in rows for point in row["points"]]
    assert 0.01 < np.mean(open_cells) < 0.12


def test_the_contrasts_window_is_read_from_the_emotion_that_it_names_and_its_raw_alphas_stand_apart() -> None:
    b = bench()
    found = planted(b, CONTRAST, effect=40.0, noise=0.1)
    m, _ = measured(found, CONTRAST, b)
    (row,) = m.details["windows"]
    assert (row["direction"], row["width"]) == ("fear_calm", pytest.approx(1.9))
    raw = m.details["raw alphas"]
    assert [line["alpha"] for line in raw] == list(CONTRAST.settings["alphas"])
    assert [line["strength"] for line in raw] == pytest.approx([a / SIZE for a in CONTRAST.settings["alphas"]])
    assert [line["effect"] for line in raw] == pytest.approx([40 * a / SIZE for a in CONTRAST.settings["alphas"]], abs=0.2)
    assert [line["text"] for line in raw] == found.texts[0][-len(raw) :]
    found.loop[:, -1] = 16
    last = dose.raw_alphas(b, CONTRAST, found)[-1]
    assert (last["inside band"], last["loop tokens"]) == (0.0, 16.0)


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
