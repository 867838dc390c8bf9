"""The statistics against scipy's, scikit-learn's and statsmodels' own, and every interval against its nominal coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from fixtures.statistics import (
    auroc,
    aurocs,
    bootstrap_estimate,
    clopper_pearson,
    correlation,
    cosines,
    hedges_g,
    holm,
    mean_estimate,
    newcombe,
    rank_p,
    total_sd_d,
    wilson,
)

few = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)
# small integers, so that ties are frequent
scores = st.lists(st.integers(-3, 3), min_size=1, max_size=12).map(lambda values: np.array(values, dtype=float))
rates = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


# effect sizes


@few
@given(scores, scores)
def test_auroc_is_scikit_learns_ties_included(a: np.ndarray, b: np.ndarray) -> None:
    labels = np.r_[np.ones(len(a)), np.zeros(len(b))]
    assert auroc(a, b) == pytest.approx(roc_auc_score(labels, np.r_[a, b]))


def test_auroc_of_scores_that_are_all_tied_is_one_half() -> None:
    assert auroc(np.ones(4), np.ones(7)) == 0.5


@few
@given(scores, scores)
def test_auroc_sees_only_the_order_of_the_scores_and_turns_round_with_the_sides(a: np.ndarray, b: np.ndarray) -> None:
    assert auroc(np.exp(a / 2), np.exp(b / 2)) == auroc(a, b)
    assert auroc(b, a) == pytest.approx(1 - auroc(a, b))


@few
@given(scores, scores, seeds)
def test_aurocs_of_many_resamples_are_bit_for_bit_those_of_each(a: np.ndarray, b: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.choice(a, size=(5, len(a))), rng.choice(b, size=(5, len(b)))
    assert aurocs(first, second).tolist() == [auroc(x, y) for x, y in zip(first, second, strict=True)]


def test_aurocs_keep_what_is_no_number_to_its_own_row() -> None:
    found = aurocs(np.array([[1.0, np.nan], [1.0, 2.0]]), np.zeros((2, 3)))
    assert np.isnan(found[0])
    assert found[1] == 1.0
    assert np.isnan(aurocs(np.zeros((2, 0)), np.zeros((2, 3)))).all()


def test_hedges_g_of_a_worked_example() -> None:
    # means 5 and 2, both variances 2.5, ten items: d = 3 / sqrt(2.5), times 1 - 3 / (4 * 10 - 9)
    a, b = np.array([3.0, 4, 5, 6, 7]), np.array([0.0, 1, 2, 3, 4])
    assert hedges_g(a, b) == pytest.approx(3 / np.sqrt(2.5) * (1 - 3 / 31))


def test_hedges_g_pools_unequal_groups_by_their_degrees_of_freedom() -> None:
    a, b = np.array([0.0, 4.0]), np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    # squared deviations 8 and 0.8 over 1 + 4 degrees of freedom
    assert hedges_g(a, b) == pytest.approx((2 - 1.2) / np.sqrt(8.8 / 5) * (1 - 3 / 19))


@few
@given(seeds, st.floats(0.0, 50.0))
def test_total_sd_d_of_equal_groups_cannot_exceed_2_where_hedges_g_can(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(shift, 1, 20), rng.normal(0, 1, 20)
    assert abs(total_sd_d(a, b)) <= 2
    if shift > 10:
        assert hedges_g(a, b) > 4


@pytest.mark.parametrize("size", [1, 3, 6, 30])
def test_effect_sizes_of_groups_without_spread_are_nan_and_not_the_inverse_of_a_rounding_error(size: int) -> None:
    assert np.isnan(hedges_g(np.full(size, 0.7), np.full(size, 0.2)))
    assert np.isnan(total_sd_d(np.full(size, 0.7), np.full(size, 0.7)))


# correlations


def test_correlation_is_pearsons_r() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 40))
    assert correlation(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)


@few
@given(seeds)
def test_partial_correlation_is_the_correlation_of_regression_residuals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given_ = rng.normal(size=50)
    x, y = 0.8 * given_ + rng.normal(size=50), -0.5 * given_ + rng.normal(size=50)
    design = np.c_[np.ones(50), given_]
    left, right = (v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y))
    assert correlation(x, y, given_) == pytest.approx(stats.pearsonr(left, right).statistic)


def test_partial_correlation_takes_away_what_a_common_cause_makes() -> None:
    rng = np.random.default_rng(0)
    cause = rng.normal(size=4000)
    x, y = cause + rng.normal(size=4000), cause + rng.normal(size=4000)
    assert correlation(x, y) > 0.45
    assert abs(correlation(x, y, cause)) < 0.05


@few
@given(st.floats(-12, 12), st.floats(-12, 12))
def test_correlation_does_not_depend_on_the_units(left: float, right: float) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 20))
    assert correlation(x * 10**left, y * 10**right) == pytest.approx(correlation(x, y))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e12 + 0.1])
def test_correlation_with_what_does_not_vary_is_0(constant: float) -> None:
    flat, varied = np.full(7, constant), np.arange(7.0)
    assert [correlation(flat, varied), correlation(flat, flat), correlation(varied, varied, varied), correlation(flat[:0], flat[:0])] == [
        0
    ] * 4


def test_correlation_with_what_is_not_a_number_is_nan_and_not_0() -> None:
    x = np.array([1.0, np.nan, 3.0])
    assert np.isnan([correlation(x, np.arange(3.0)), correlation(np.arange(3.0), np.array([2.0, 0, 1]), x)]).all()


def test_cosines_do_not_see_lengths_and_a_zero_row_is_similar_to_nothing() -> None:
    rows = np.array([[1.0, 0], [100, 100], [0, 0]])
    assert cosines(rows) == pytest.approx(np.array([[1, 0.5**0.5, 0], [0.5**0.5, 1, 0], [0, 0, 0]]))


# intervals of rates


@few
@given(rates, st.sampled_from([0.8, 0.95]))
def test_wilson_and_clopper_pearson_are_statsmodels(rate: tuple[int, int], level: float) -> None:
    k, n = rate
    assert wilson(k, n, level) == pytest.approx(proportion_confint(k, n, 1 - level, method="wilson"), abs=1e-9)
    assert clopper_pearson(k / n, n, level) == pytest.approx(proportion_confint(k, n, 1 - level, method="beta"), abs=1e-9)


@few
@given(rates, rates)
def test_newcombe_is_statsmodels_and_turns_round_with_the_arms(first: tuple[int, int], second: tuple[int, int]) -> None:
    theirs = confint_proportions_2indep(*first, *second, compare="diff", method="newcomb")
    assert newcombe(*first, *second) == pytest.approx(theirs, abs=1e-9)
    low, high = newcombe(*second, *first)
    assert newcombe(*first, *second) == pytest.approx((-high, -low), abs=1e-9)


def test_newcombe_of_0_of_50_against_0_of_50_has_a_width_of_014() -> None:
    low, high = newcombe(0, 50, 0, 50)
    assert high - low == pytest.approx(0.143, abs=0.001)


def test_rates_without_trials_have_no_interval() -> None:
    assert np.isnan([*wilson(0, 0), *newcombe(0, 0, 1, 5), *newcombe(1, 5, 0, 0)]).all()


@pytest.mark.parametrize(("p", "q", "m", "n"), [(0.02, 0.1, 50, 50), (0.3, 0.5, 20, 40), (0.5, 0.5, 12, 12)])
def test_rates_and_their_differences_are_covered_at_the_nominal_level(p: float, q: float, m: int, n: int) -> None:
    # exact coverage: the sum of the probabilities of the outcomes whose interval holds the truth
    first, second = stats.binom.pmf(np.arange(m + 1), m, p), stats.binom.pmf(np.arange(n + 1), n, q)

    def held(interval: tuple[float, float], truth: float) -> bool:
        return interval[0] <= truth <= interval[1]

    assert 0.92 <= sum(w for k, w in enumerate(first) if held(wilson(k, m), p)) <= 0.99
    assert 0.95 <= sum(w for k, w in enumerate(first) if held(clopper_pearson(k / m, m), p))
    ours = [(w, wilson(k, m)) for k, w in enumerate(first)]
    theirs = [(w, wilson(k, n)) for k, w in enumerate(second)]
    likely = [(i, j) for i, (v, _) in enumerate(ours) for j, (w, _) in enumerate(theirs) if v * w > 1e-4]
    covered = sum(first[i] * second[j] for i, j in likely if held(newcombe(i, m, j, n), p - q))
    assert 0.93 <= covered / sum(first[i] * second[j] for i, j in likely) <= 0.995


# intervals of means


def coverage_of_means(clusters: int, per: int, repeats: int) -> tuple[float, float]:
    """Return how often the clustered t and the naive z interval hold the mean of items that share half their variance."""
    rng = np.random.default_rng(clusters)
    names = np.repeat([f"c{i}" for i in range(clusters)], per)
    held = np.zeros(2)
    for _ in range(repeats):
        items = np.repeat(rng.normal(size=clusters), per) + rng.normal(size=clusters * per)
        found = mean_estimate(items, names)
        naive = 1.96 * items.std(ddof=1) / np.sqrt(len(items))
        held += found.low <= 0 <= found.high, abs(items.mean()) <= naive
    return held[0] / repeats, held[1] / repeats


@pytest.mark.parametrize("clusters", [6, 12, 24])
def test_clustered_t_covers_95_per_cent_with_few_clusters_where_naive_z_does_not(clusters: int) -> None:
    ours, naive = coverage_of_means(clusters, 5, 2000)
    assert 0.935 <= ours <= 0.965
    assert naive < 0.80


def test_clustered_t_with_one_item_per_cluster_is_the_t_interval() -> None:
    items = np.random.default_rng(0).normal(size=20)
    found = mean_estimate(items, [str(i) for i in range(20)], level=0.9)
    theirs = stats.ttest_1samp(items, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert (found.value, found.stderr, found.n, found.clusters) == pytest.approx((items.mean(), stats.sem(items), 20, 20))


def test_clustered_t_with_equal_clusters_is_the_t_interval_of_the_cluster_means_in_any_order() -> None:
    rng = np.random.default_rng(0)
    items, names = rng.normal(size=30), np.repeat(list("abcdef"), 5)
    order = rng.permutation(30)
    found = mean_estimate(items[order], list(names[order]))
    theirs = stats.ttest_1samp(items.reshape(6, 5).mean(axis=1), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert (found.n, found.clusters) == (30, 6)


def test_one_cluster_has_a_value_and_no_interval() -> None:
    of_mean = mean_estimate(np.array([1.0, 3.0]), ["a", "a"])
    of_any = bootstrap_estimate(lambda take: 2.0, 1, np.random.default_rng(0), n=2)
    for found in (of_mean, of_any):
        assert found.value == 2
        assert np.isnan([found.low, found.high, found.stderr]).all()


# whole-cluster bootstrap


def coverage_of_bootstrap(
    draw: Callable[[np.random.Generator], Callable[[np.ndarray], float]], truth: float, clusters: int, repeats: int
) -> float:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(repeats):
        found = bootstrap_estimate(draw(rng), clusters, rng, n=clusters, draws=150)
        held += found.low <= truth <= found.high
    return held / repeats


@pytest.mark.parametrize(("clusters", "shift"), [(30, 0.0), (40, 1.0)])
def test_bootstrap_covers_an_auroc_of_pairs_that_share_their_noise(clusters: int, shift: float) -> None:
    def draw(rng: np.random.Generator) -> Callable[[np.ndarray], float]:
        shared = rng.normal(size=clusters)
        first, second = (np.sqrt(0.5) * (shared + rng.normal(size=clusters)) for _ in range(2))
        return lambda take: auroc(first[take] + shift, second[take])

    assert 0.90 <= coverage_of_bootstrap(draw, stats.norm.cdf(shift / np.sqrt(2)), clusters, 300) <= 0.98


@pytest.mark.parametrize("r", [0.0, 0.6])
def test_bootstrap_covers_a_correlation(r: float) -> None:
    def draw(rng: np.random.Generator) -> Callable[[np.ndarray], float]:
        x, noise = rng.normal(size=(2, 40))
        y = r * x + np.sqrt(1 - r**2) * noise
        return lambda take: correlation(x[take], y[take])

    assert 0.90 <= coverage_of_bootstrap(draw, r, 40, 800) <= 0.98


def test_bootstrap_is_wider_when_whole_clusters_are_drawn_than_when_items_are() -> None:
    rng = np.random.default_rng(0)
    clusters, per = 30, 6
    table = np.repeat(rng.normal(size=(clusters, 1)), per, axis=1) + 0.2 * rng.normal(size=(clusters, per))
    whole = bootstrap_estimate(lambda take: float(table[take].mean()), clusters, rng, n=table.size, draws=400)
    single = bootstrap_estimate(lambda take: float(table.ravel()[take].mean()), table.size, rng, n=table.size, draws=400)
    assert whole.value == pytest.approx(single.value)
    assert whole.stderr > 1.8 * single.stderr
    # the standard error is that of the statistic, not of the mean over resamples
    assert whole.stderr == pytest.approx(stats.sem(table.mean(axis=1)), rel=0.15)


def test_bootstrap_depends_on_its_generator_and_on_nothing_else() -> None:
    values = np.random.default_rng(0).normal(size=20)

    def run(seed: int) -> tuple[float, float]:
        np.random.seed(seed + 1)  # noqa: NPY002  the global generator must not matter
        found = bootstrap_estimate(lambda take: float(values[take].mean()), 20, np.random.default_rng(seed), n=20, draws=50)
        return found.low, found.high

    assert run(1) == run(1)
    assert run(1) != run(2)


# p values


def test_rank_p_counts_itself_and_ties_against_itself() -> None:
    nulls = np.array([0.1, 0.5, 0.5, 0.9])
    assert [rank_p(v, nulls) for v in (1.0, 0.5, 0.0)] == [1 / 5, 4 / 5, 1.0]


def test_rank_p_of_what_is_not_a_number_is_nan_and_not_small() -> None:
    assert np.isnan([rank_p(float("nan"), np.arange(3.0)), rank_p(5.0, np.array([1.0, np.nan]))]).all()


def test_rank_p_is_valid_under_the_null() -> None:
    rng = np.random.default_rng(0)
    found = np.array([rank_p(row[0], row[1:]) for row in rng.normal(size=(4000, 20))])
    for level in (0.05, 0.1, 0.5):
        assert np.mean(found <= level) <= level + 0.015


@settings(few, max_examples=10)
@given(st.lists(st.integers(0, 40).map(lambda p: p / 40), min_size=1, max_size=12))
def test_holm_is_statsmodels_in_the_order_given(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
