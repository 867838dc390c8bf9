"""The layer profile: planted layers are found, and the choice of the best one is not mistaken for an effect."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import load_claims
from cases.emotions import load_emotions
from cases.stimuli import Pair
from fixtures import layers, nulls, separation, verdicts
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.layers import measure, overlap, peaks, profile
from fixtures.nulls import PERMUTED
from fixtures.statistics import auroc, bootstrap_estimate, hedges_g, total_sd_d
from fixtures.verdicts import INCONCLUSIVE, REPORTED, judge
from tests.planted import few_stimuli, null

CLAIM = load_claims()["layer_profile"]
CASE = CLAIM.case("natural")
WIDTH, PAIRS = 16, 40
EVERYTHING = np.arange(PAIRS)
STIMULI = few_stimuli(
    emotions=tuple(load_emotions()),
    pairs={"fear_calm": tuple(Pair(f"fear_calm/{i}", f"first {i}", f"second {i}") for i in range(PAIRS))},
)


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=60))
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 30)


def layered(effects: tuple[float, ...], seed: int = 0) -> np.ndarray:
    """Return pairs at as many layers as there are effects, shape (2 pairs, layers, width); sides differ along the first axis."""
    rng = np.random.default_rng(seed)
    found = []
    for effect in effects:
        situation = rng.normal(size=(PAIRS, WIDTH))
        sides = [situation + 0.5 * rng.normal(size=(PAIRS, WIDTH)) + sign * effect * np.eye(WIDTH)[0] for sign in (0.5, -0.5)]
        found.append(np.concatenate(sides))
    return np.stack(found, axis=1)


def bench(values: np.ndarray, *, numbers: tuple[int, ...] | None = None, judged: int = 0, seed: int = 0) -> Bench:
    return Bench(
        make=lambda: SimpleNamespace(device="cpu"),  # type: ignore[arg-type,return-value]
        stimuli=STIMULI,
        settings=Settings(seed=seed, layer=judged),
        _captured={"fear_calm": Activations(values, numbers or tuple(range(values.shape[1])))},
    )


# overlap


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([5, 6, 7], [1, 2, 3], 0),
        ([1, 2, 3], [5, 6, 7], 0),
        ([1, 2, 3], [3, 4, 5], 2 / 6),  # the ranges touch in one value, which both have
        ([0, 4], [1, 2, 3], 3 / 5),
        ([1, 2, 5], [2, 4, 9], 4 / 6),
        ([2, 2], [2, 2], 1),
    ],
)
def test_overlap_is_the_share_of_scores_where_both_ranges_meet(first: list[int], second: list[int], expected: float) -> None:
    assert overlap(np.array(first), np.array(second)) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(first=st.lists(st.integers(-9, 9), min_size=1, max_size=8), second=st.lists(st.integers(-9, 9), min_size=1, max_size=8))
def test_overlap_knows_no_side_no_scale_and_is_0_only_where_one_class_lies_above_the_other(first: list[int], second: list[int]) -> None:
    a, b = np.array(first), np.array(second)
    found = overlap(a, b)
    assert found == overlap(b, a) == overlap(4 * a + 1, 4 * b + 1) == overlap(-a, -b)
    assert (found == 0) == (auroc(a, b) in (0, 1))


# profile


def test_a_row_holds_the_figures_of_its_layers_held_out_projections() -> None:
    b = bench(layered((0.5, 1.5, 1.0)), numbers=(2, 5, 9))
    rows = profile(b, "fear_calm")
    assert [row["layer"] for row in rows] == [2, 5, 9]
    for row in rows:
        first, second = separation.projections(b, "fear_calm", row["layer"])
        assert row["auroc"] == auroc(first, second)
        assert row["hedges_g"] == hedges_g(first, second)
        assert row["total_sd_d"] == total_sd_d(first, second)
        assert row["overlap"] == overlap(first, second)
        assert (row["mean_first"], row["mean_second"]) == (first.mean(), second.mean())
        assert row["mean_difference"] == pytest.approx(np.mean(first - second))
        # classes of one size: the pooled variance is the mean of both
        assert row["within_sd"] == pytest.approx(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2))
        assert row["mean_difference"] / row["within_sd"] * (1 - 3 / (8 * PAIRS - 9)) == pytest.approx(row["hedges_g"])


def test_growth_is_counted_in_multiples_of_the_first_layer_and_spread_and_difference_apart() -> None:
    one = layered((2.0,))[:, 0]
    middle = (one[:PAIRS] + one[PAIRS:]) / 2
    # the same pairs three times as large, and with five times the difference of the sides alone
    far = np.concatenate([middle + 5 * (one[:PAIRS] - middle), middle + 5 * (one[PAIRS:] - middle)])
    rows = profile(bench(np.stack([one, 3 * one, far], axis=1)), "fear_calm")
    assert [row["difference_growth"] for row in rows] == pytest.approx([1, 3, 5])
    assert [row["sd_growth"] for row in rows[:2]] == pytest.approx([1, 3])
    assert 1 < rows[2]["sd_growth"] < 5
    assert rows[1]["auroc"] == rows[0]["auroc"]
    assert rows[1]["total_sd_d"] == pytest.approx(rows[0]["total_sd_d"])


def test_a_first_layer_without_difference_or_spread_leaves_growth_unknown_and_is_no_separation() -> None:
    values = layered((0.0, 2.0))
    values[:, 0] = 1.0
    rows = profile(bench(values), "fear_calm")
    assert (rows[0]["auroc"], rows[0]["mean_difference"], rows[0]["within_sd"], rows[0]["overlap"]) == (0.5, 0, 0, 1)
    assert all(np.isnan(row[name]) for row in rows for name in ("sd_growth", "difference_growth"))
    assert np.isnan(rows[0]["hedges_g"])
    assert rows[1]["auroc"] > 0.85


def test_a_layers_row_does_not_depend_on_the_other_layers() -> None:
    values = layered((0.5, 1.0, 2.0))
    alone, among = profile(bench(values[:, 1:2]), "fear_calm")[0], profile(bench(values), "fear_calm")[1]
    same = set(alone) - {"layer", "sd_growth", "difference_growth"}
    assert {k: among[k] for k in same} == {k: alone[k] for k in same}


# measurement


@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_planted_peak_is_found_wherever_it_lies(at: int) -> None:
    effects = tuple(2.5 if i == at else 0.6 for i in range(4))
    b = bench(layered(effects), numbers=(1, 3, 4, 8), judged=3)
    m = measure(b, CASE)
    layer = (1, 3, 4, 8)[at]
    assert (m.layer, m.details["peak"], m.details["judged layer"]) == (layer, layer, 3)
    assert m.statistic(EVERYTHING) == m.details["layers"][at]["auroc"] > 0.9
    assert m.details["peaks of resamples"][at] > 0.9
    first, second = separation.projections(b, "fear_calm", layer)
    np.testing.assert_array_equal([[item["first"], item["second"]] for item in m.items], np.stack([first, second], axis=1))
    assert np.mean([item["score"] for item in m.items]) == pytest.approx(m.statistic(EVERYTHING))
    assert m.clusters == tuple(pair.id for pair in STIMULI.pairs["fear_calm"])


def test_every_resample_chooses_its_own_best_layer() -> None:
    b = bench(layered((0.9, 0.9, 0.9), seed=5))
    m = measure(b, CASE)
    scores = [separation.projections(b, "fear_calm", layer) for layer in range(3)]
    chosen = set()
    for take in np.random.default_rng(0).integers(PAIRS, size=(20, PAIRS)):
        areas = [auroc(first[take], second[take]) for first, second in scores]
        chosen.add(int(np.argmax(areas)))
        assert m.statistic(take) == max(areas)
    assert len(chosen) > 1


def test_permutations_choose_their_best_layer_too_so_that_noise_at_many_layers_is_no_peak() -> None:
    ranks, values, levels = [], [], []
    for seed in range(14):
        m = measure(bench(layered((0.0,) * 6, seed), seed=seed), CASE)
        draws = null(m, PERMUTED).draws
        values.append(m.statistic(EVERYTHING))
        levels.append(draws.mean())
        ranks.append(np.mean(draws < values[-1]))
    # the best of six layers of noise lies above one half, and its permutations lie there as well
    assert np.mean(values) > 0.53
    assert np.mean(levels) > 0.53
    assert np.mean(levels) == pytest.approx(np.mean(values), abs=0.05)
    assert 0.25 < np.mean(ranks) < 0.75


def test_permutations_of_one_layer_centre_on_one_half_and_do_not_carry_a_planted_contrast() -> None:
    draws = null(measure(bench(layered((3.0,))), CASE), PERMUTED).draws
    assert len(draws) == 30
    assert draws.mean() == pytest.approx(0.5, abs=0.06)
    assert draws.max() < 0.9


def test_a_permutation_swaps_the_same_pairs_at_every_layer() -> None:
    one = layered((1.0,), seed=3)
    single, several = measure(bench(one), CASE), measure(bench(np.repeat(one, 4, axis=1)), CASE)
    np.testing.assert_array_equal(null(several, PERMUTED).draws, null(single, PERMUTED).draws)
    assert several.statistic(EVERYTHING) == single.statistic(EVERYTHING)


def test_a_further_layer_lowers_neither_the_best_nor_any_permutations_best() -> None:
    values = layered((0.5, 0.0, 0.0))
    few, more = measure(bench(values[:, :1]), CASE), measure(bench(values), CASE)
    assert more.statistic(EVERYTHING) >= few.statistic(EVERYTHING)
    assert np.all(null(more, PERMUTED).draws >= null(few, PERMUTED).draws)
    assert null(more, PERMUTED).level > null(few, PERMUTED).level


def test_scaling_turning_and_moving_each_layer_changes_no_area_and_no_permutation() -> None:
    values, rng = layered((0.4, 1.0, 0.7)), np.random.default_rng(1)
    moved = np.stack(
        [k * (values[:, i] + rng.normal(size=WIDTH)) @ np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0] for i, k in enumerate((1, 8, 64))],
        axis=1,
    )
    first, other = measure(bench(values), CASE), measure(bench(moved), CASE)
    assert [row["auroc"] for row in other.details["layers"]] == pytest.approx([row["auroc"] for row in first.details["layers"]])
    np.testing.assert_allclose(null(other, PERMUTED).draws, null(first, PERMUTED).draws, atol=1e-9)
    assert other.layer == first.layer


def test_the_best_layer_is_reported_and_not_judged() -> None:
    assert CLAIM.cases
    for case in CLAIM.cases:
        assert judge(measure(bench(layered((0.0, 3.0))), CASE), CLAIM, case, np.random.default_rng(0)).verdict == REPORTED


def test_layers_that_are_all_constant_are_all_ties_and_the_lowest_is_named() -> None:
    m = measure(bench(np.ones((2 * PAIRS, 3, WIDTH))), CASE)
    assert (m.layer, m.statistic(EVERYTHING), m.details["peaks of resamples"]) == (0, 0.5, [1, 0, 0])
    assert np.all(null(m, PERMUTED).draws == 0.5)


def test_activations_that_are_no_number_at_the_only_layer_leave_nothing_to_conclude() -> None:
    values = layered((2.0,))
    values[3, 0, 0] = np.nan
    m = measure(bench(values), CASE)
    found = judge(m, CLAIM, replace(CASE, verdict="judged"), np.random.default_rng(0))
    assert np.isnan(m.statistic(EVERYTHING))
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "the interval cannot be computed")


@pytest.mark.parametrize(
    "broken",
    [
        0,
        1,
    ],
)
def test_a_layer_that_is_no_number_gives_the_same_best_wherever_it_lies(broken: int) -> None:
    values = layered((2.0, 2.0))
    values[3, broken, 0] = np.nan
    m = measure(bench(values), CASE)
    assert np.isnan(m.statistic(EVERYTHING))
    assert np.isnan(null(m, PERMUTED).level)


# peaks


def test_peaks_are_shares_of_resamples_and_ties_go_to_the_lower_layer() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 2, 12))
    found = peaks([one, one, other], 12, np.random.default_rng(1))
    assert sum(found) == pytest.approx(1)
    assert found[1] == 0
    assert 0 < found[0] < 1
    reordered = peaks([other, one], 12, np.random.default_rng(1))
    assert reordered == pytest.approx([found[2], found[0]], abs=0.05)


def test_peaks_are_those_of_whole_pairs_drawn_again() -> None:
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(2, 9)) + np.array([[shift], [0]]) for shift in (0.3, 0.5, 0.4)]
    expected, drawn = np.zeros(3), np.random.default_rng(4)
    for _ in range(50):
        take = drawn.integers(9, size=9)
        expected[np.argmax([auroc(first[take], second[take]) for first, second in scores])] += 1
    assert layers.peaks(scores, 9, np.random.default_rng(4), draws=50) == pytest.approx(expected / 50)
    assert (expected > 0).sum() > 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 3.0]), st.booleans())
def test_turning_pairs_round_by_inner_products_is_building_each_direction_anew(seed: int, effect: float, alike: bool) -> None:
    values = layered((effect,), seed)[:, 0]
    if alike:  # a tokenizer may make the two sides of a pair one text
        values[PAIRS] = values[0]
    b, flips = bench(values[:, None]), np.random.default_rng(seed).random((5, PAIRS)) < 0.5
    by_hand = []
    for flip in flips:
        first, second = (np.where(f[:, None], values[PAIRS:], values[:PAIRS]) for f in (flip, ~flip))
        by_hand.append(separation.area(separation.separate(b, "fear_calm", np.concatenate([first, second])), EVERYTHING))
    assert separation.turned_areas(b, "fear_calm", values, flips) == pytest.approx(np.array(by_hand), abs=1e-12)
    assert separation.turned_areas(b, "fear_calm", np.zeros_like(values), flips).tolist() == [0.5] * 5
