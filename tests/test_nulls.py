"""Nulls: what random directions, permutations and twins are worth, and that the given generator alone decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.nulls import PERMUTED, Null, chance, derangements, in_place_of, mean_over, permuted, random_directions, superiority, twin
from fixtures.statistics import auroc, rank_p


def test_random_directions_have_unit_norm() -> None:
    assert np.linalg.norm(random_directions(50, 7, np.random.default_rng(0)), axis=1) == pytest.approx(np.ones(50))


def test_random_directions_are_determined_by_the_generator() -> None:
    first, same, other = (random_directions(3, 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == same).all()
    assert not np.isclose(first, other).any()


def test_random_directions_prefer_no_direction() -> None:
    drawn = random_directions(20000, 4, np.random.default_rng(0))
    assert drawn.mean(axis=0) == pytest.approx(np.zeros(4), abs=0.02)
    assert drawn.T @ drawn / len(drawn) == pytest.approx(np.eye(4) / 4, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(0, 5), st.integers(0, 1000))
def test_derangements_are_permutations_without_a_fixed_point(size: int, count: int, seed: int) -> None:
    found = derangements(size, count, np.random.default_rng(seed))
    assert len(found) == count
    for order in found:
        assert sorted(order) == list(range(size))
        assert (order != np.arange(size)).all()


def test_derangements_are_all_equally_likely() -> None:
    # four items have nine derangements
    found, counts = np.unique(derangements(4, 4500, np.random.default_rng(0)), axis=0, return_counts=True)
    assert len(found) == 9
    assert (np.abs(counts - 500) < 100).all()


def test_permuted_draws_as_many_times_as_asked_from_the_generator_given() -> None:
    null, same = (permuted(lambda rng: float(rng.random()), 25, np.random.default_rng(3)) for _ in range(2))
    assert null.kind == f"{PERMUTED} labels"
    assert len(set(null.draws)) == 25
    assert (null.draws == same.draws).all()
    assert null.statistic is None


def test_the_level_is_the_mean_and_the_summary_gives_mean_and_95th_percentile_as_builtins() -> None:
    found = Null("random directions", np.arange(101.0)).summary()
    assert found == {"kind": "random directions", "n": 101, "mean": 50.0, "p95": 96.0}
    assert {type(v) for v in found.values()} == {str, int, float}


def test_chance_is_one_known_level() -> None:
    assert (chance(0.25).level, len(chance(0.25).draws), chance(0.25).statistic) == (0.25, 1, None)


def test_a_twin_has_one_draw_per_seed_and_its_statistic_on_all_clusters_is_its_level() -> None:
    rng = np.random.default_rng(0)
    seeds = [rng.normal(size=(2, 20)) for _ in range(3)]

    def area(scores: np.ndarray, take: np.ndarray) -> float:
        return auroc(scores[0][take], scores[1][take])

    null = twin("untrained twin", seeds, area, 20)
    assert null.statistic is not None
    assert list(null.draws) == [auroc(*scores) for scores in seeds]
    assert null.statistic(np.arange(20)) == pytest.approx(null.level)
    half = np.arange(10)
    assert null.statistic(half) == pytest.approx(np.mean([auroc(a[half], b[half]) for a, b in seeds]))


def test_mean_over_counts_a_cluster_as_often_as_it_is_taken() -> None:
    assert mean_over(np.array([1.0, 5.0, 9.0]), np.array([0, 0, 2, 2])) == 5.0


@pytest.mark.parametrize("count", [19, 20, 26, 99, 100, 200, 1000])
def test_the_95th_percentile_is_the_draw_beyond_which_the_rank_is_at_most_5_per_cent(count: int) -> None:
    draws = np.random.default_rng(count).normal(size=count)
    null = Null("random directions", draws)
    assert rank_p(null.p95 + 1e-9, draws) <= 0.05 < rank_p(null.p95, draws)
    assert null.summary()["p95"] == null.p95
    assert Null("chance", np.array([0.5])).p95 == 0.5


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_neither_wins_nor_loses(broken: float) -> None:
    own, others = np.array([1.0, 1.0, broken]), np.array([[0.0, 2.0], [0.0, broken], [0.0, 0.0]])
    np.testing.assert_array_equal(superiority(own, others), [0.5, np.nan, np.nan])


def test_in_the_place_of_the_judged_direction_a_random_one_has_the_judged_one_among_the_others() -> None:
    own, others = np.array([2.0, 2.0]), np.array([[1.0, 3.0], [1.0, 0.0]])
    assert in_place_of(own, others).tolist() == [0.25, 0.5]
    assert in_place_of(np.array([0.0, 0.0]), np.zeros((2, 3))).tolist() == [0.5, 0.5, 0.5]
