"""The circumplex of vectors that came without passages: emotions are the clusters, and no words are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cases.emotions import Emotion
from fixtures import verdicts
from fixtures.bench import Settings
from fixtures.circumplex import measure, predictions
from fixtures.given import GivenBench, given_bench
from fixtures.nulls import PERMUTED
from fixtures.synonyms import KIND
from fixtures.verdicts import SUPPORTED, NotApplicable
from tests.circle import (
    AROUSAL,
    AXES,
    CLAIM,
    COUNT,
    EMOTIONS,
    GROUPS,
    TOPICS,
    VALENCE,
    WHOLE,
    WIDTH,
    bench,
    gram_of,
    neutral,
    noise,
    verdict,
)
from tests.circle import fewer_draws as fewer_draws  # every test draws fewer
from tests.planted import null


def given_vectors(folder: Path, values: np.ndarray, emotions: tuple[Emotion, ...] = EMOTIONS, layer: int | None = None) -> GivenBench:
    """Write vectors of shape (emotions, layers, width) to a file and return the bench that reads it."""
    path = folder / "given.npz"
    np.savez(path, vectors=values, emotions=np.array([emotion.name for emotion in emotions]))
    return given_bench(path, SimpleNamespace(norms=None), Settings(layer=layer))


def vectors(seed: int, valence: float, arousal: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    place = valence * np.outer(VALENCE, AXES[0]) + arousal * np.outer(AROUSAL, AXES[1])
    return place + 0.15 * rng.normal(size=(COUNT, WIDTH))


@pytest.mark.parametrize(("case", "which"), [("valence", (1,)), ("valence-decoded", None), ("arousal", (2, 3)), ("arousal-decoded", None)])
def test_planted_axes_are_found_in_given_vectors_with_emotions_as_clusters(tmp_path: Path, case: str, which: Any) -> None:
    b = given_vectors(tmp_path, vectors(0, 2.0, 1.2)[:, None])
    m = measure(b, CLAIM.case(f"implicit-{case}-present"))
    found = verdict(m, f"implicit-{case}-present")
    assert m.clusters == tuple(e.name for e in EMOTIONS)
    assert (found.verdict, m.layer) == (SUPPORTED, 0)
    assert found.estimate.value > 0.9
    assert {other.kind for other in m.nulls} == {f"{PERMUTED} {KIND}", "random directions", "chance"}
    assert all(other.level < 0.45 for other in m.nulls)
    axis = m.details["correlations"][case.split("-")[0]]
    assert which is None or m.statistic(np.arange(COUNT)) == pytest.approx(max(axis[k - 1] for k in which))


@pytest.mark.parametrize("case", ["implicit-valence-present", "implicit-arousal-decoded-present", "implicit-arousal-present"])
def test_given_noise_is_seldom_supported(tmp_path: Path, case: str) -> None:
    found = [verdict(measure(given_vectors(tmp_path, vectors(seed, 0.0)[:, None]), CLAIM.case(case)), case) for seed in range(16)]
    assert sum(j.verdict == SUPPORTED for j in found) <= 2


def test_given_vectors_are_judged_at_the_asked_layer_or_two_thirds_up(tmp_path: Path) -> None:
    values = np.stack([vectors(seed, valence) for seed, valence in ((0, 0.0), (1, 2.0), (2, 0.0))], axis=1)
    case = CLAIM.case("implicit-valence-decoded-present")
    by_layer = [measure(given_vectors(tmp_path, values, layer=layer), case) for layer in (None, 0, 1, 2)]
    assert [m.layer for m in by_layer] == [1, 0, 1, 2]
    found = [m.statistic(np.arange(COUNT)) for m in by_layer]
    assert found[0] == found[2] > 0.9 > 0.7 > max(found[1], found[3])


def test_a_resample_of_emotions_keeps_the_predictions_of_the_whole_set(tmp_path: Path) -> None:
    # every vector with its opposite, so that the unit vectors are centred as well
    half = np.random.default_rng(3).normal(size=(COUNT // 2, WIDTH))
    values = np.concatenate([half, -half])
    m = measure(given_vectors(tmp_path, values[:, None]), CLAIM.case("implicit-valence-decoded-present"))
    guess = predictions(gram_of(values), VALENCE, GROUPS)[0]
    take = np.random.default_rng(0).integers(COUNT, size=COUNT)
    assert m.statistic(take) == pytest.approx(np.corrcoef(guess[take], VALENCE[take])[0, 1], abs=1e-9)


def test_a_component_of_given_vectors_has_one_sign_in_all_resamples(tmp_path: Path) -> None:
    m = measure(given_vectors(tmp_path, vectors(0, 2.0)[:, None]), CLAIM.case("implicit-valence-present"))
    mirrored = measure(given_vectors(tmp_path, -vectors(0, 2.0)[:, None]), CLAIM.case("implicit-valence-present"))
    # emotions among which the rest runs against valence: an |r| would hide it
    scores = np.array(m.details["scatter"])[:, 0]
    scores = scores * np.sign(scores @ VALENCE)
    left = scores - np.polyval(np.polyfit(VALENCE, scores, 1), VALENCE)
    near = np.argsort(np.abs(VALENCE - np.median(VALENCE)))[:8]
    against = near[np.argsort(VALENCE[near])]
    against = against[[np.argmax(left[against[:4]]), 4 + np.argmin(left[against[4:]])]]
    expected = np.sign((scores[against[1]] - scores[against[0]]) * (VALENCE[against[1]] - VALENCE[against[0]]))
    assert m.statistic(against) == pytest.approx(expected)
    assert expected == -1
    assert m.statistic(np.arange(COUNT)) == pytest.approx(mirrored.statistic(np.arange(COUNT)), abs=1e-9)


def test_given_vectors_do_not_depend_on_turning_scaling_or_a_shared_part(tmp_path: Path) -> None:
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(WIDTH, WIDTH)))[0]
    first, other = vectors(4, 0.4, 0.3), (6.0 * vectors(4, 0.4, 0.3) + 2.0) @ turn
    for case in ("implicit-valence-present", "implicit-arousal-present", "implicit-arousal-decoded-present"):
        a, b = (measure(given_vectors(tmp_path, values[:, None]), CLAIM.case(case)) for values in (first, other))
        assert b.statistic(np.arange(COUNT)) == pytest.approx(a.statistic(np.arange(COUNT)), abs=1e-9)
        np.testing.assert_allclose(null(b, PERMUTED).draws, null(a, PERMUTED).draws, atol=1e-9)


@pytest.mark.parametrize("case", ["implicit-valence-beyond-words", "implicit-arousal-decoded-beyond-words", "named-valence-present"])
def test_given_vectors_have_no_words_and_no_named_passages_to_be_judged_by(tmp_path: Path, case: str) -> None:
    with pytest.raises(NotApplicable):
        measure(given_vectors(tmp_path, vectors(0, 2.0)[:, None]), CLAIM.case(case))


FEWEST = ("implicit-valence-present", "implicit-arousal-present", "implicit-valence-decoded-present")


@pytest.mark.parametrize("step", [1, 10])
@pytest.mark.parametrize("emotions", [3, 4])
def test_the_fewest_emotions_that_are_accepted_can_be_measured(tmp_path: Path, emotions: int, step: int) -> None:
    few = EMOTIONS[2 : 2 + emotions] if step == 1 else EMOTIONS[::9][:emotions]
    b = given_vectors(tmp_path, np.random.default_rng(0).normal(size=(emotions, 1, WIDTH)), few)
    for case in FEWEST:
        m = measure(b, CLAIM.case(case))
        assert -1 <= m.statistic(np.arange(emotions)) <= 1
        assert verdict(m, case).verdict == verdicts.INCONCLUSIVE


@pytest.mark.parametrize("case", FEWEST)
def test_near_synonyms_alone_cannot_be_asked(tmp_path: Path, case: str) -> None:
    b = given_vectors(tmp_path, np.random.default_rng(0).normal(size=(3, 1, WIDTH)), EMOTIONS[:3])
    with pytest.raises(NotApplicable, match="near-synonyms, of the cluster 'joy'"):
        measure(b, CLAIM.case(case))


@pytest.mark.parametrize("case", ["implicit-valence-present", "implicit-arousal-present", "implicit-valence-decoded-present"])
def test_a_models_vectors_are_worth_the_same_when_they_come_from_a_file(tmp_path: Path, case: str) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.uniform(0.2, 3, size=(COUNT, 1))
    passages = np.repeat(lengths * vectors(0, 0.3, 0.2), TOPICS, axis=0) + 0.1 * rng.normal(size=(COUNT * TOPICS, WIDTH))
    b = bench(passages, neutral(), twins=(noise(1),))
    own = measure(b, CLAIM.case(case))
    read = measure(given_vectors(tmp_path, b.vectors("implicit").denoised[:, None]), CLAIM.case(case))
    assert read.statistic(np.arange(COUNT)) == pytest.approx(own.statistic(WHOLE), abs=1e-6)
    np.testing.assert_allclose(read.details["cosines"], own.details["cosines"], atol=1e-3)
