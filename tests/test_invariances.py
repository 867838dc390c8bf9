"""What must not move a verdict: batch size, padding, order, scale, precision; and what must: a sign, a planted direction."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cases.claims import load_claims
from cases.stimuli import Stimuli, load_stimuli
from fixtures.activations import Activations, capture
from fixtures.bench import Bench, Settings
from fixtures.models import Subject
from fixtures.nulls import Null
from fixtures.statistics import auroc, correlation, hedges_g, holm
from fixtures.steering import steer
from fixtures.synonyms import mantel
from fixtures.vectors import contrast_direction, emotion_vectors, unit
from fixtures.verdicts import judge, mean_measurement
from tests.fuzz import bounded
from tests.runs import instrument_of
from tests.tiny import WIDTH, build, tokens

FEW = ("geometry", "scenarios")
MANY = ("separation", "fear", "geometry", "circumplex", "scenarios", "kinds", "intensity")
FAMILIES = pytest.mark.parametrize("families", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["some", "many"])
STIMULI = load_stimuli("english").limited(2)

TOLERANCE = {torch.float64: 1e-4, torch.bfloat16: 0.05}
"""By dtype, the largest distance of a unit vector from the one of float32."""


@cache
def subject(dtype: torch.dtype = torch.float32) -> Subject:
    return build("llama", dtype=dtype, max_position_embeddings=1024)


@dataclass
class Moved(Bench):
    """A bench whose activations are multiplied by a constant."""

    factor: float = 1.0

    def capture(self, key: str, texts: Any, pooling: str = "mean") -> Activations:
        found = super().capture(key, texts, pooling)
        return replace(found, values=found.values * np.float32(self.factor))


def figures(bench: Bench, families: tuple[str, ...]) -> dict[str, tuple[str, list[float]]]:
    """By case: the verdict, as if two clusters were enough, and the value with its net and the ends of it."""
    found = {}
    for family in families:
        claim = replace(load_claims()[family], minimum_clusters=2)
        instrument = instrument_of(family)
        for case in (case for case in claim.cases if case.verdict == "judged" and "chat" not in case.name):
            j = judge(importlib.import_module(f"fixtures.{instrument}").measure(bench, case), claim, case, np.random.default_rng(0))
            found[f"{family}/{case.name}"] = (j.verdict, [j.estimate.value, j.net.value, j.net.low, j.net.high])
    return found


def bench(stimuli: Stimuli = STIMULI, **changes: Any) -> Bench:
    return Moved(lambda: subject(), stimuli, Settings(batch_size=changes.pop("batch_size", None)), **changes)


@cache
def expected(families: tuple[str, ...]) -> dict[str, tuple[str, list[float]]]:
    return figures(bench(), families)


def alike(ours: dict[str, tuple[str, list[float]]], theirs: dict[str, tuple[str, list[float]]], tolerance: float) -> None:
    assert set(ours) == set(theirs)
    for case, (verdict, values) in ours.items():
        assert verdict == theirs[case][0], case
        np.testing.assert_allclose(values, theirs[case][1], atol=tolerance, err_msg=case)


@FAMILIES
@pytest.mark.parametrize("factor", [-300.0, *(pytest.param(x, marks=pytest.mark.slow) for x in (1e-3, 1e4))])
def test_multiplying_every_activation_by_a_constant_moves_no_verdict(families: tuple[str, ...], factor: float) -> None:
    ours, theirs = figures(bench(factor=factor), families), expected(families)
    if (
        factor < 0
    ):  # the mean of a few random directions, which are not turned too, is mirrored: the value stands, what it is net of may not
        ours, theirs = ({case: (verdict, values[:1]) for case, (verdict, values) in some.items()} for some in (ours, theirs))
    alike(ours, theirs, 1e-5)


@FAMILIES
@pytest.mark.parametrize("size", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_batch_size_and_padding_side_move_no_verdict(families: tuple[str, ...], size: int) -> None:
    side = subject().tokenizer.padding_side
    subject().tokenizer.padding_side = "left" if side == "right" else "right"
    try:
        alike(figures(bench(batch_size=size), families), expected(families), 0.02)
    finally:
        subject().tokenizer.padding_side = side


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_neither_the_order_of_passages_nor_of_emotions_moves_a_value(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def shuffled(rows: Any) -> tuple[Any, ...]:
        return tuple(rows[i] for i in rng.permutation(len(rows)))

    other = replace(STIMULI, emotions=shuffled(STIMULI.emotions), implicit=shuffled(STIMULI.implicit), neutral=shuffled(STIMULI.neutral))
    ours = figures(bench(other), FEW)
    for case, (_, values) in expected(FEW).items():
        assert ours[case][1][0] == pytest.approx(values[0], abs=1e-4), case


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_vectors_of_another_precision_lie_within_the_stated_tolerance(dtype: torch.dtype) -> None:
    def vectors(kind: torch.dtype) -> np.ndarray:
        made = Bench(lambda: subject(kind), STIMULI, Settings())
        return made.vectors("implicit").unit

    distance = np.linalg.norm(vectors(dtype) - vectors(torch.float32), axis=1)
    assert distance.max() < TOLERANCE[dtype]
    assert distance.max() > 0


# signs


FLOATS = arrays.arrays(np.float64, st.integers(3, 12), elements=st.integers(-50, 50).map(float))


@bounded(100)
@given(FLOATS, FLOATS)
def test_a_negated_direction_mirrors_every_statistic(a: np.ndarray, b: np.ndarray) -> None:
    assert auroc(-a, -b) == pytest.approx(1 - auroc(a, b))
    assert hedges_g(-a, -b) == pytest.approx(-hedges_g(a, b), nan_ok=True)
    size = min(len(a), len(b))
    assert correlation(-a[:size], b[:size]) == pytest.approx(-correlation(a[:size], b[:size]))


@bounded(50)
@given(st.integers(0, 2**32 - 1))
def test_swapped_sides_negate_a_contrast_and_mirror_what_it_separates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second, new = rng.normal(size=(3, 9, 6))
    direction = contrast_direction(first, second)
    np.testing.assert_allclose(contrast_direction(second, first), -direction, atol=1e-12)
    assert auroc(new[:4] @ -direction, new[4:] @ -direction) == pytest.approx(1 - auroc(new[:4] @ direction, new[4:] @ direction))


# what was planted comes back


@bounded(6)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2))
def test_directions_planted_in_a_running_model_come_back_at_a_cosine_above_99(seed: int, layer: int) -> None:
    model, names, each = subject(), ("a", "b", "c", "d"), 6
    planted = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(names), WIDTH)).astype(np.float32))
    texts, found, labels = tokens(each, 24, seed=seed % 1000).tolist(), [], []
    size = 8 * float(np.linalg.norm(capture(model, texts).at(layer), axis=1).mean())
    for name, row in zip(names, planted, strict=True):
        with steer(model, layer, row / row.norm() * size):
            found.append(capture(model, texts).at(layer))
        labels += [name] * each
    made = emotion_vectors(np.concatenate(found), labels, names, capture(model, tokens(1, 24).tolist() * 2).at(layer))
    truth = (planted / planted.norm(dim=1, keepdim=True)).numpy()
    truth = unit(truth - truth.mean(axis=0))
    assert ((unit(made.raw) * truth).sum(axis=1) > 0.99).all()


# intervals that no other test simulates


@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_of_a_net_value_covers_the_true_one_at_its_level(paired: bool) -> None:
    claim = replace(load_claims()["separation"], best=100.0, worst=-100.0)
    rng, held, repeats, clusters = np.random.default_rng(3), 0, 400, 24
    for _ in range(repeats):
        shared = rng.normal(size=clusters)
        ours, theirs = (shared + 0.5 * rng.normal(size=clusters) + shift for shift in (2.0, 1.0))
        null = Null("a twin", np.array([theirs.mean()]), (lambda take, t=theirs: float(t[take].mean())) if paired else None)
        m = mean_measurement(ours, [str(i) for i in range(clusters)], [null], items=tuple({"id": str(i)} for i in range(clusters)))
        net = judge(m, claim, claim.cases[0], rng).net
        # unpaired, the null's level is taken as known: the truth is then the value less what was drawn
        truth = 1.0 if paired else 2.0 - theirs.mean()
        held += net.low <= truth <= net.high
    assert 0.92 <= held / repeats <= 0.98


@pytest.mark.slow
def test_the_bootstrap_of_a_mantel_correlation_is_no_narrower_than_its_level() -> None:
    from fixtures.statistics import bootstrap_estimate

    rng, held, repeats, size = np.random.default_rng(5), 0, 150, 20

    def similar(places: np.ndarray) -> np.ndarray:
        return np.asarray(-np.linalg.norm(places[:, None] - places[None], axis=2))

    def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
        places = rng.normal(size=(rows, 2))
        return similar(places), similar(places + 0.7 * rng.normal(size=(rows, 2)))

    truth = float(np.mean([mantel(*drawn(120), ~np.eye(120, dtype=bool), np.arange(120)) for _ in range(20)]))
    for _ in range(repeats):
        a, b = drawn(size)
        found = bootstrap_estimate(lambda take, a=a, b=b: mantel(a, b, ~np.eye(size, dtype=bool), take), size, rng, n=size, draws=150)
        held += found.low <= truth <= found.high
    assert 0.88 <= held / repeats <= 1.0


def test_holm_rejects_a_true_null_in_at_most_5_per_cent_of_families() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([min(holm(list(row))) <= 0.05 for row in rng.uniform(size=(4000, 8))]) <= 0.06
