"""Bradley-Terry utilities: planted ones come back, an anchor keeps a shift of all visible, and a logistic regression agrees."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression

from fixtures.bradley_terry import ELO, utilities

COUNT = 8
PAIRS = np.array(list(combinations(range(COUNT), 2)))
PLANTED = np.array([-1.5, -0.6, -0.2, 0.0, 0.1, 0.4, 0.7, 1.1])
HALF = COUNT // 2
CROSSED = np.array([(s, c) for s in range(HALF) for c in range(HALF, COUNT)])
"""Every item of the free half against every item of the anchored one."""


def chances(worth: np.ndarray, pairs: np.ndarray = PAIRS) -> np.ndarray:
    """Return the probability of each pair's first item by the model itself."""
    return np.asarray(1 / (1 + np.exp(worth[pairs[:, 1]] - worth[pairs[:, 0]])))


def anchored(worth: np.ndarray) -> np.ndarray:
    """Return anchors for the second half; the first is free."""
    return np.where(np.arange(COUNT) < HALF, np.nan, worth)


def oracle(pairs: np.ndarray, won: np.ndarray, count: int) -> np.ndarray:
    """Fit the same likelihood as a logistic regression: every comparison twice, won and lost, weighed by its share."""
    design = np.eye(count)[pairs[:, 0]] - np.eye(count)[pairs[:, 1]]
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000)
    outcome = np.repeat([1, 0], len(pairs))
    fit.fit(np.concatenate([design, design]), outcome, sample_weight=np.concatenate([won, 1 - won]))
    return np.asarray(fit.coef_[0] - fit.coef_[0].mean())


def test_planted_utilities_come_back_whatever_the_order_and_side_of_the_comparisons() -> None:
    rng = np.random.default_rng(0)
    order, sides = rng.permutation(len(PAIRS)), rng.random(len(PAIRS)) < 0.5
    turned = np.where(sides[:, None], PAIRS[:, ::-1], PAIRS)[order]
    expected = PLANTED - PLANTED.mean()
    assert utilities(PAIRS, chances(PLANTED), COUNT) == pytest.approx(expected, abs=1e-4)
    assert utilities(turned, chances(PLANTED, turned), COUNT) == pytest.approx(expected, abs=1e-4)


def test_an_item_that_is_chosen_more_often_has_the_higher_utility_in_nats_and_elo() -> None:
    found = utilities(np.array([[0, 1]]), np.array([10 / 11]), 2)
    assert found[0] - found[1] == pytest.approx(np.log(10), abs=1e-3)
    assert ELO * (found[0] - found[1]) == pytest.approx(400, abs=0.1)


def test_counted_choices_give_the_utilities_of_a_logistic_regression() -> None:
    rng = np.random.default_rng(1)
    many = np.concatenate([PAIRS] * 3)  # whole choices, so that no share is exact
    won = (rng.random(len(many)) < chances(PLANTED, many)).astype(float)
    assert utilities(many, won, COUNT) == pytest.approx(oracle(many, won, COUNT), abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(arrays(float, len(PAIRS), elements=st.floats(0.05, 0.95)))
def test_any_shares_give_the_utilities_of_a_logistic_regression(won: np.ndarray) -> None:
    assert utilities(PAIRS, won, COUNT) == pytest.approx(oracle(PAIRS, won, COUNT), abs=1e-3)


def test_a_pair_that_is_compared_more_often_weighs_more() -> None:
    pairs = np.array([[0, 1]] * 3 + [[0, 1]])
    found = utilities(pairs, np.array([1.0, 1.0, 1.0, 0.0]), 2)
    assert found[0] - found[1] == pytest.approx(np.log(3), abs=1e-3)


# a shift of all that are free


@pytest.mark.parametrize("shift", [1.5, -0.8])
def test_a_uniform_shift_of_the_free_half_is_recovered_with_anchors(shift: float) -> None:
    moved = PLANTED + shift * (np.arange(COUNT) < HALF)
    before = utilities(CROSSED, chances(PLANTED, CROSSED), COUNT, anchored(PLANTED))
    after = utilities(CROSSED, chances(moved, CROSSED), COUNT, anchored(PLANTED))
    assert before[:HALF] == pytest.approx(PLANTED[:HALF], abs=1e-4)
    assert (after - before)[:HALF] == pytest.approx(np.full(HALF, shift), abs=1e-4)
    assert (after[HALF:] == PLANTED[HALF:]).all()


def test_a_shift_of_everything_against_the_anchors_vanishes_where_the_mean_is_the_anchor() -> None:
    """The trap: utilities whose mean is held at 0 say nothing of a shift that all of them share."""
    moved = PLANTED + 2.0
    free = np.arange(COUNT)
    pairs = np.concatenate([PAIRS, np.stack([free, np.full(COUNT, COUNT)], axis=1)])  # item 8 is known to be worth 0
    won = chances(np.append(moved, 0.0), pairs)
    held = np.append(np.full(COUNT, np.nan), 0.0)
    assert utilities(pairs, won, COUNT + 1, held)[:COUNT] == pytest.approx(moved, abs=1e-4)
    among = utilities(PAIRS, chances(moved), COUNT)
    assert among == pytest.approx(utilities(PAIRS, chances(PLANTED), COUNT), abs=1e-6)
    assert among.mean() == pytest.approx(0, abs=1e-12)


def test_with_mean_anchoring_half_of_a_uniform_shift_seems_to_befall_the_half_that_never_moved() -> None:
    moved = PLANTED + 1.0 * (np.arange(COUNT) < HALF)
    gap = utilities(PAIRS, chances(moved), COUNT) - utilities(PAIRS, chances(PLANTED), COUNT)
    assert gap == pytest.approx(np.repeat([0.5, -0.5], HALF), abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(arrays(float, COUNT, elements=st.floats(-2, 2)), st.floats(-5, 5))
def test_a_constant_added_to_both_halves_changes_no_choice_and_moves_anchored_utilities_by_itself(worth: np.ndarray, by: float) -> None:
    won, shifted = chances(worth), chances(worth + by)
    assert shifted == pytest.approx(won)
    assert utilities(PAIRS, shifted, COUNT) == pytest.approx(utilities(PAIRS, won, COUNT), abs=1e-6)
    before = utilities(PAIRS, won, COUNT, anchored(worth))
    after = utilities(PAIRS, won, COUNT, anchored(worth + by))
    assert after - before == pytest.approx(np.full(COUNT, by), abs=1e-3)


def test_anchors_for_all_come_back_as_they_are() -> None:
    assert (utilities(PAIRS, chances(-PLANTED), COUNT, PLANTED) == PLANTED).all()


def test_anchors_are_left_as_they_were_given() -> None:
    given_anchors, won, pairs = anchored(PLANTED), chances(PLANTED), PAIRS.copy()
    copies = given_anchors.copy(), won.copy()
    utilities(pairs, won, COUNT, given_anchors)
    np.testing.assert_array_equal(given_anchors, copies[0])
    np.testing.assert_array_equal(won, copies[1])
    np.testing.assert_array_equal(pairs, PAIRS)


# the edges


@pytest.mark.parametrize("fixed", [False, True], ids=["mean-anchored", "anchored"])
def test_items_that_always_win_or_lose_stay_finite_and_in_order(fixed: bool) -> None:
    won = (PAIRS[:, 0] < PAIRS[:, 1]).astype(float)  # the first of every pair, always
    found = utilities(PAIRS, won, COUNT, anchored(np.zeros(COUNT)) if fixed else None)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 60
    assert (np.diff(found[:HALF]) < 0).all()
    assert found[0] > 5


def test_what_always_wins_has_settled_and_does_not_depend_on_how_long_was_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    won = (PAIRS[:, 0] < PAIRS[:, 1]).astype(float)
    found = utilities(PAIRS, won, COUNT)
    monkeypatch.setattr("fixtures.bradley_terry.STEPS", 400)
    assert utilities(PAIRS, won, COUNT) == pytest.approx(found, abs=1e-6)


def test_an_item_that_is_never_compared_is_worth_the_mean_of_the_others() -> None:
    found = utilities(np.array([[0, 1]]), np.array([0.8]), 3)
    assert found == pytest.approx([np.log(4) / 2, -np.log(4) / 2, 0.0], abs=1e-3)


def test_shares_of_one_half_are_worth_nothing() -> None:
    assert utilities(PAIRS, np.full(len(PAIRS), 0.5), COUNT) == pytest.approx(np.zeros(COUNT), abs=1e-12)


@pytest.mark.parametrize(
    ("pairs", "won", "fixed", "message"),
    [
        (PAIRS, chances(PLANTED)[:-1], None, r"wants \(comparisons, 2\)"),
        (PAIRS.T, chances(PLANTED), None, r"pairs of shape \(2, 28\) for 28 results"),
        (PAIRS[:, :1], chances(PLANTED), None, r"wants \(comparisons, 2\)"),
        (PAIRS, np.full(len(PAIRS), 1.01), None, "shares from 0 to 1"),
        (PAIRS, np.full(len(PAIRS), -0.01), None, "shares from 0 to 1"),
        (PAIRS, np.full(len(PAIRS), np.nan), None, "shares from 0 to 1"),
        (PAIRS, chances(PLANTED), np.zeros(COUNT - 1), r"anchors of shape \(7,\); wants \(8,\)"),
        (PAIRS, chances(PLANTED), np.zeros((COUNT, 1)), r"anchors of shape \(8, 1\)"),
    ],
)
def test_shapes_that_do_not_fit_and_shares_outside_0_to_1_are_refused(
    pairs: np.ndarray, won: np.ndarray, fixed: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        utilities(pairs, won, COUNT, fixed)
