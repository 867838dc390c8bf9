from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.vectors import (
    EmotionVectors,
    contrast_direction,
    emotion_vectors,
    folds_of,
    held_out_projections,
    neutral_components,
    project_out,
    split_half,
    unit,
)

WIDTH, EACH = 64, 40
NAMES = ("glad", "sad", "angry", "afraid")


class Planted:
    """Passages with a known direction per emotion, beside a nuisance direction that neutral passages share."""

    def __init__(self, seed: int = 0, noise: float = 0.05) -> None:
        rng = np.random.default_rng(seed)
        axes = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0].T
        self.directions, self.nuisance = axes[:4], axes[4:5]
        self.labels = np.repeat(NAMES, EACH)
        self.passages = 5.0 + np.repeat(self.directions, EACH, axis=0) + self.drift(rng, len(self.labels), noise)
        self.neutral = 5.0 + self.drift(rng, 100, noise)

    def drift(self, rng: np.random.Generator, rows: int, noise: float) -> np.ndarray:
        return 4.0 * rng.normal(size=(rows, 1)) @ self.nuisance + noise * rng.normal(size=(rows, WIDTH))

    def vectors(self, scale: float = 1.0, order: np.ndarray | None = None, names: tuple[str, ...] = NAMES) -> EmotionVectors:
        order = np.arange(len(self.labels)) if order is None else order
        return emotion_vectors(scale * self.passages[order], self.labels[order], names, scale * self.neutral)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (unit(first) * unit(second)).sum(axis=-1)


def test_planted_directions_come_back_once_denoised_and_would_not_raw() -> None:
    world = Planted()
    expected = world.directions - world.directions.mean(axis=0)
    assert cosines(world.vectors().unit, expected).min() > 0.99
    assert cosines(world.vectors().raw, expected).min() < 0.9


def test_vectors_sum_to_zero_over_emotions_and_a_constant_shift_moves_nothing() -> None:
    world = Planted()
    before = world.vectors()
    np.testing.assert_allclose(before.raw.sum(axis=0), 0, atol=1e-9)
    world.passages, world.neutral = world.passages + 100.0, world.neutral - 7.0
    np.testing.assert_allclose(world.vectors().unit, before.unit, atol=1e-9)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(scale=st.floats(1e-4, 1e4))
def test_scaling_every_activation_leaves_unit_vectors_as_they_were(scale: float) -> None:
    world = Planted()
    before, after = world.vectors(), world.vectors(scale)
    np.testing.assert_allclose(after.unit, before.unit, atol=1e-9)
    np.testing.assert_allclose(after.raw, scale * before.raw, rtol=1e-6, atol=1e-9 * scale)
    assert after.components == before.components


def test_denoising_removes_the_neutral_components_and_nothing_else() -> None:
    world, found = Planted(), Planted().vectors()
    axes = neutral_components(world.neutral)
    assert found.components == len(axes) == 1
    assert abs(found.raw @ axes.T).max() > 0.1
    np.testing.assert_allclose(found.denoised @ axes.T, 0, atol=1e-9)
    np.testing.assert_allclose(found.raw - found.denoised, (found.raw @ axes.T) @ axes, atol=1e-9)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_the_order_of_passages_and_of_emotions_does_not_matter(seed: int) -> None:
    world, rng = Planted(), np.random.default_rng(seed)
    before = world.vectors()
    np.testing.assert_allclose(world.vectors(order=rng.permutation(len(world.labels))).denoised, before.denoised, atol=1e-9)
    order = rng.permutation(len(NAMES))
    after = world.vectors(names=tuple(NAMES[i] for i in order))
    assert after.names == tuple(NAMES[i] for i in order)
    np.testing.assert_allclose(after.denoised, before.denoised[order], atol=1e-9)


def test_every_emotion_weighs_the_same_however_many_passages_it_has() -> None:
    world = Planted(noise=0.0)
    few = np.concatenate([np.arange(EACH), EACH + np.arange(EACH * 3)[::4]])
    np.testing.assert_allclose(
        project_out(world.vectors(order=few).raw, world.nuisance), project_out(world.vectors().raw, world.nuisance), atol=1e-9
    )


def test_float16_activations_are_summed_in_float64() -> None:
    passages = np.full((5000, 2), 10.0, dtype=np.float16)
    passages[:2500, 0] = 11.0
    found = emotion_vectors(passages, ["a"] * 2500 + ["b"] * 2500, ["a", "b"], np.eye(2, dtype=np.float16)[::-1])
    np.testing.assert_array_equal(found.raw, [[0.5, 0.0], [-0.5, 0.0]])


@pytest.mark.parametrize(("share", "count"), [(0.3, 1), (0.5, 1), (0.6, 1), (0.7, 2), (0.95, 3)])
def test_the_fewest_components_that_explain_the_share_are_taken(share: float, count: int) -> None:
    sizes = np.sqrt([0.65, 0.25, 0.1])  # shares of the variance
    rows = np.concatenate([sizes[:, None] * np.eye(3), -sizes[:, None] * np.eye(3)]) + 9.0
    axes = neutral_components(rows, share)
    np.testing.assert_allclose(np.abs(axes), np.eye(3)[:count], atol=1e-9)


def test_components_are_orthonormal() -> None:
    axes = neutral_components(np.random.default_rng(0).normal(size=(30, WIDTH)), 0.9)
    assert len(axes) > 5
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-9)


@pytest.mark.parametrize("rows", [1, 5])
def test_neutral_passages_that_do_not_vary_take_nothing_away(rows: int) -> None:
    world = Planted()
    world.neutral = np.repeat(world.neutral[:1], rows, axis=0) * 0.3
    found = world.vectors()
    assert found.components == 0
    np.testing.assert_array_equal(found.denoised, found.raw)


def test_unit_rows_have_length_one_and_a_zero_row_stays_zero() -> None:
    found = unit(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, -1e-30]]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]])


def test_a_planted_contrast_comes_back_and_turns_round_with_its_sides() -> None:
    rng = np.random.default_rng(0)
    planted, base = rng.normal(size=WIDTH), rng.normal(size=(200, WIDTH))
    first, second = base + planted + 0.1 * rng.normal(size=base.shape), base
    assert cosines(contrast_direction(first, second), planted) > 0.99
    np.testing.assert_allclose(contrast_direction(second, first), -contrast_direction(first, second))


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 8)) + 0.5, rng.normal(size=(12, 8)), folds_of(12, 4, rng)


def test_held_out_projections_are_those_of_the_direction_of_the_other_folds(pairs: tuple[np.ndarray, ...]) -> None:
    first, second, folds = pairs
    found = held_out_projections(first, second, folds)
    for i in range(12):
        train = folds != folds[i]
        direction = first[train].mean(0) - second[train].mean(0)
        direction /= np.linalg.norm(direction)
        middle = np.concatenate([first[train], second[train]]).mean(0)
        np.testing.assert_allclose([side[i] for side in found], [(first[i] - middle) @ direction, (second[i] - middle) @ direction])


def test_held_out_projections_never_use_the_test_fold(pairs: tuple[np.ndarray, ...]) -> None:
    first, second, folds = pairs
    before = np.stack(held_out_projections(first, second, folds))
    for i in range(12):
        mates = (folds == folds[i]) & (np.arange(12) != i)
        a, b = first.copy(), second.copy()
        a[mates], b[mates] = 1e6, -1e6
        np.testing.assert_array_equal(np.stack(held_out_projections(a, b, folds))[:, i], before[:, i])


def test_pure_noise_does_not_separate_when_held_out_though_it_does_in_sample() -> None:
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(40):
        first, second = rng.normal(size=(2, 20, 200))
        a, b = held_out_projections(first, second, folds_of(20, 5, rng))
        gaps.append(np.mean(a > b))
    direction = unit(contrast_direction(first, second))
    assert abs(np.mean(gaps) - 0.5) < 0.1
    assert np.mean(first @ direction > second @ direction) == 1.0


@settings(max_examples=30, deadline=None, derandomize=True)
@given(pairs=st.integers(1, 50), count=st.integers(1, 10), seed=st.integers(0, 100))
def test_folds_differ_in_size_by_one_at_most(pairs: int, count: int, seed: int) -> None:
    sizes = np.bincount(folds_of(pairs, count, np.random.default_rng(seed)), minlength=count)
    assert sizes.sum() == pairs
    assert np.ptp(sizes) <= 1


def test_halves_agree_where_there_is_a_direction_and_not_where_there_is_only_noise() -> None:
    world, rng = Planted(), np.random.default_rng(0)
    clean = project_out(world.passages, world.nuisance)
    assert split_half(clean, world.labels, NAMES, rng).min() > 0.98
    noise = [split_half(rng.normal(size=clean.shape), world.labels, NAMES, rng) for _ in range(30)]
    assert abs(np.mean(noise)) < 0.05
