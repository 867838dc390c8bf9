"""Slopes across models: planted ones lie in their interval as often as it says, and three models are no scale."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reports.slopes import FEWEST, permutation_p, slope

SIZES = np.log10([1.7e5, 5e5, 1.2e6, 1.8e6, 4e6, 1e7])


def test_a_planted_slope_is_found_exactly_without_noise_and_within_its_interval_with() -> None:
    exact = slope(SIZES, 0.3 * SIZES - 1.0)
    assert exact.value == pytest.approx(0.3)
    assert exact.theil_sen == pytest.approx(0.3)
    assert exact.intercept == pytest.approx(-1.0)
    noisy = slope(SIZES, 0.3 * SIZES + np.random.default_rng(0).normal(0, 0.02, len(SIZES)))
    assert noisy.value is not None
    assert noisy.low is not None
    assert noisy.high is not None
    assert 0 < noisy.low < 0.3 < noisy.high
    assert noisy.low < noisy.value < noisy.high


@pytest.mark.parametrize("models", [4, 6, 12])
@pytest.mark.parametrize("planted", [0.0, 0.5])
def test_the_interval_covers_a_planted_slope_in_95_of_100_simulations(models: int, planted: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.slopes.permutation_p", lambda x, y: 1.0)
    rng = np.random.default_rng([models, int(10 * planted)])
    covered = 0
    for _ in range(600):
        x = rng.uniform(5, 11, models)
        found = slope(x, planted * x + rng.normal(0, 1, models))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= planted <= found.high
    assert covered / 600 == pytest.approx(0.95, abs=0.03)


def test_the_interval_is_that_of_the_slope_and_not_a_normal_one() -> None:
    y = np.array([0.1, 0.4, 0.35, 0.8])
    found, line = slope(SIZES[:4], y), stats.linregress(SIZES[:4], y)
    assert found.high is not None
    assert found.value is not None
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 2) * line.stderr)


@pytest.mark.parametrize("models", range(FEWEST))
def test_fewer_than_four_models_give_a_reason_and_no_number(models: int) -> None:
    found = slope(SIZES[:models], SIZES[:models] * 2)
    numbers = (found.value, found.low, found.high, found.intercept, found.theil_sen, found.p)
    assert numbers == (None,) * 6
    assert found.reason == f"{models} model{'' if models == 1 else 's'}; a slope needs at least 4"


@pytest.mark.parametrize(("x", "y", "what"), [([6.0] * 4, [1, 2, 3, 4], "size or quality"), ([1, 2, 3, 4], [0.7] * 4, "value")])
def test_models_that_do_not_differ_give_a_reason_and_no_number(x: list[float], y: list[float], what: str) -> None:
    found = slope(x, y)
    assert found.value is None
    assert found.reason == f"all 4 models have the same {what}; no slope and no interval"


def test_p_goes_through_every_permutation_of_few_models() -> None:
    x, y = SIZES[:5], np.array([0.2, 0.1, 0.5, 0.4, 0.9])

    def size(order: np.ndarray) -> float:
        return float(abs(stats.linregress(x[order], y).slope))

    drawn = np.array([size(np.array(order)) for order in itertools.permutations(range(5))])
    assert permutation_p(x, y) == pytest.approx(np.mean(drawn >= size(np.arange(5)) * (1 - 1e-9)))


def test_p_of_models_in_order_is_the_smallest_there_is_and_that_of_noise_is_small_once_in_twenty() -> None:
    assert permutation_p(SIZES[:4], SIZES[:4]) == pytest.approx(1 / 24)
    assert permutation_p(np.arange(4.0), np.arange(4.0)) == pytest.approx(2 / 24)  # evenly spaced: the reverse is as steep
    rng = np.random.default_rng(1)
    drawn = [permutation_p(rng.normal(size=6), rng.normal(size=6)) for _ in range(100)]
    assert np.mean(np.array(drawn) <= 0.05) < 0.1


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)), st.floats(0.1, 10), st.floats(-5, 5))
def test_order_scale_and_origin_of_the_values_decide_nothing(order: list[int], scale: float, shift: float) -> None:
    y = np.array([0.2, 0.1, 0.5, 0.4, 0.9, 0.7])
    first, moved = slope(SIZES, y), slope(SIZES[order], scale * y[order] + shift)
    assert first.value is not None
    assert moved.value == pytest.approx(scale * first.value)
    assert moved.p == pytest.approx(first.p)
