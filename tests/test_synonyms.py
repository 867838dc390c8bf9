"""Clusters of near-synonyms: they stay together under permutation, and what is within them changes nothing between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.emotions import all_emotions, coordinates, load_emotions, similarity
from fixtures.nulls import PERMUTED
from fixtures.statistics import correlation
from fixtures.synonyms import KIND, agreement_of, apart, centring, clusters, mantel, permuted_clusters, rearranged
from fixtures.verdicts import NotApplicable

EMOTIONS = load_emotions()
COUNT = len(EMOTIONS)
NUMBERS = clusters(EMOTIONS)
WITHIN = NUMBERS[:, None] == NUMBERS


def test_the_core_emotions_lie_in_13_clusters_and_only_those_of_one_are_not_apart() -> None:
    assert sorted(np.unique(NUMBERS)) == list(range(13))
    far = apart(EMOTIONS)
    for i, one in enumerate(EMOTIONS):
        assert [other.name for other, is_apart in zip(EMOTIONS, far[i], strict=True) if not is_apart] == [
            other.name for other in EMOTIONS if other.cluster == one.cluster
        ]


def test_emotions_of_one_cluster_cannot_be_asked() -> None:
    with pytest.raises(NotApplicable, match="'joy'"):
        apart(EMOTIONS[:3])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), further=st.booleans())
def test_rearranged_clusters_keep_their_inner_distances_and_take_each_others_centres(seed: int, further: bool) -> None:
    emotions = all_emotions() if further else EMOTIONS
    numbers, moved = clusters(emotions), rearranged(emotions, np.random.default_rng(seed))
    within = numbers[:, None] == numbers
    np.testing.assert_allclose(similarity(moved)[within], similarity(emotions)[within], atol=1e-12)
    before, after = ([coordinates(e)[numbers == c].mean(axis=0).round(9).tolist() for c in np.unique(numbers)] for e in (emotions, moved))
    assert sorted(before) == sorted(after)
    assert [replace(a, valence=0.0, arousal=0.0) for a in emotions] == [replace(b, valence=0.0, arousal=0.0) for b in moved]


def test_every_cluster_comes_to_every_place() -> None:
    rng = np.random.default_rng(0)
    first = [rearranged(EMOTIONS, rng)[0] for _ in range(300)]
    assert len({(round(e.valence, 6), round(e.arousal, 6)) for e in first}) == 13


def test_the_null_is_the_statistic_of_rearranged_emotions_from_the_generator_given() -> None:
    null = permuted_clusters(lambda emotions: emotions[3].arousal, EMOTIONS, 5, np.random.default_rng(2))
    rng = np.random.default_rng(2)
    assert null.kind == f"{PERMUTED} {KIND}"
    assert null.guards
    assert list(null.draws) == [rearranged(EMOTIONS, rng)[3].arousal for _ in range(5)]


def test_labels_that_clusters_share_exceed_their_permutations_as_often_as_asked() -> None:
    """Permuted emotions would let 17% pass."""
    valence, found = coordinates(EMOTIONS)[:, 0], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        r = 0.9 * rng.normal(size=13)[NUMBERS] + 0.45 * rng.normal(size=COUNT)
        draws = permuted_clusters(lambda e, r=r: correlation(r, coordinates(e)[:, 0]), EMOTIONS, 59, rng).draws  # type: ignore[misc]
        found.append((1 + np.sum(draws >= correlation(r, valence))) / 60)
    assert np.mean(np.array(found) <= 0.05) < 0.095
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(3, 9), seed=st.integers(0, 1000))
def test_centred_values_are_symmetric_with_no_row_or_column_mean_and_centring_twice_is_centring_once(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = np.arange(size) % max(size - 1, 3)
    counted = numbers[:, None] != numbers
    centred, table = centring(counted), rng.normal(size=(size, size))
    found = centred(table)
    np.testing.assert_array_equal(found[~counted], 0)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(centred(found), found, atol=1e-9)
    np.testing.assert_allclose(centred(table.T), found, atol=1e-9)
    offsets = rng.normal(size=size)
    np.testing.assert_allclose(centred(5 * table + offsets[:, None] - 2 * rng.normal(size=size)), 5 * found, atol=1e-8)
    np.testing.assert_allclose(centred(table + 7 * rng.normal(size=(size, size)) * ~counted), found, atol=1e-9)


def test_without_the_diagonal_alone_the_effects_are_those_of_a_round_robin() -> None:
    table = np.random.default_rng(0).normal(size=(6, 6))
    off = ~np.eye(6, dtype=bool)
    design = np.array([np.concatenate([np.eye(6)[i], np.eye(6)[j]]) for i, j in np.argwhere(off)])
    left = np.zeros((6, 6))
    left[off] = table[off] - design @ np.linalg.lstsq(design, table[off])[0]
    np.testing.assert_allclose(centring(off)(table), (left + left.T) / 2, atol=1e-12)


def test_what_is_no_number_stays_none_in_all_that_it_was_fitted_with() -> None:
    table = np.random.default_rng(0).normal(size=(COUNT, COUNT))
    table[2, 20] = np.nan
    assert np.isnan(centring(apart(EMOTIONS))(table)).any(axis=1).all()


def test_values_that_are_all_alike_leave_nothing_at_all() -> None:
    np.testing.assert_array_equal(centring(apart(EMOTIONS))(np.full((COUNT, COUNT), 0.37)), 0)


def test_two_clusters_of_which_one_has_a_single_emotion_leave_nothing() -> None:
    counted = apart([EMOTIONS[0], EMOTIONS[1], EMOTIONS[3]])
    found = centring(counted)(np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_allclose(found, 0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_pairs_within_a_cluster_and_rows_with_themselves_have_no_part_in_the_correlation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, g = ((m := rng.normal(size=(COUNT, COUNT))) + m.T for _ in range(3))
    counted, take = ~WITHIN, rng.integers(COUNT, size=COUNT)
    pairs = [(take[i], take[j]) for i in range(COUNT) for j in range(i) if NUMBERS[take[i]] != NUMBERS[take[j]]]
    i, j = np.array(pairs).T
    for given_, part in ((None, None), (g, g[i, j])):
        expected = correlation(a[i, j], b[i, j], part)
        assert mantel(a, b, counted, take, given_) == pytest.approx(expected)
        assert mantel(a + 9 * WITHIN, b, counted, take, given_) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_correlation_survives_reordering_both_matrices_and_not_reordering_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, noise, g = ((m := rng.normal(size=(COUNT, COUNT))) + m.T for _ in range(3))
    b, order, everything, off = a + noise / 10, rng.permutation(COUNT), np.arange(COUNT), ~np.eye(COUNT, dtype=bool)
    together = [m[np.ix_(order, order)] for m in (a, b, g)]
    assert mantel(*together[:2], off, everything, together[2]) == pytest.approx(mantel(a, b, off, everything, g))
    assert mantel(a, b, off, order) == pytest.approx(mantel(a, b, off, everything))
    shifted = np.roll(everything, 1)
    assert mantel(a[np.ix_(shifted, shifted)], b, off, everything) < mantel(a, b, off, everything)


def test_no_pair_of_different_clusters_is_worth_0() -> None:
    assert mantel(WITHIN + 0.0, WITHIN + 0.0, ~WITHIN, np.array([0, 1, 2, 2])) == 0


def test_the_agreement_of_a_row_leaves_out_what_does_not_count_and_is_unknown_without_spread() -> None:
    plan = np.array([[0.0, 1.0, 2.0, 3.0]] * 4)
    ours = np.array([[99.0, 2.0, 4.0, 6.0], [1.0, -99.0, -1.0, -2.0], [5.0, 5.0, 7.0, 5.0], [0.0, 1.0, 2.0, 0.0]])
    off = ~np.eye(4, dtype=bool)
    assert agreement_of(ours, plan, off, 0) == pytest.approx(1.0)
    assert agreement_of(ours, plan, off, 1) == pytest.approx(-1.0)
    assert np.isnan(agreement_of(ours, plan, off, 2))
    assert np.isnan(agreement_of(ours, np.ones((4, 4)), off, 0))
    off[0, 2] = False
    ours[0, 2] = -50.0
    assert agreement_of(ours, plan, off, 0) == pytest.approx(1.0)
    assert np.isnan(agreement_of(ours, plan, np.zeros((4, 4), dtype=bool), 0))
