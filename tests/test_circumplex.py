"""The circumplex's arithmetic against plain arithmetic, what no rotation may change, and planted axes that come back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.emotions import coordinates
from fixtures import circumplex, verdicts
from fixtures.circumplex import components, correlations, decoded, measure, on_components, predictions, products, resampled
from fixtures.nulls import PERMUTED
from fixtures.synonyms import KIND, rearranged
from fixtures.vectors import unit
from fixtures.verdicts import REFUTED, SUPPORTED
from tests.circle import (
    AXES,
    CLAIM,
    COUNT,
    EMOTIONS,
    GROUPS,
    NEUTRAL,
    PLACES,
    TOPICS,
    VALENCE,
    VALENCE_BY,
    WHOLE,
    WIDTH,
    bench,
    direct,
    gram_of,
    neutral,
    noise,
    planted,
    planted_bench,
    stimuli,
    verdict,
)
from tests.circle import fewer_draws as fewer_draws  # every test draws fewer
from tests.planted import null

# Gram matrices of resamples


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), emotions=st.integers(3, 6), topics=st.integers(1, 5), draws=st.integers(1, 4))
def test_grams_of_resamples_equal_the_means_of_the_drawn_passages_centred_at_unit_length(
    seed: int, emotions: int, topics: int, draws: int
) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 3, size=(emotions, topics))
    cells[:, -1] = np.maximum(cells[:, -1], cells.sum(axis=1) == 0)  # every emotion has a passage somewhere
    cells[0] = np.maximum(cells[0], 1)  # the topics appear in their order
    shown = stimuli(EMOTIONS[:emotions], cells)
    features = rng.normal(size=(len(shown.implicit), 7)) + 3.0
    takes = rng.integers(topics, size=(draws, topics))
    # neutral passages that are all alike have no components, so that nothing is projected out
    found = products(bench(features, neutral(), shown=shown), "implicit", features, np.ones((NEUTRAL, 7)))
    expected = np.stack([direct(features, shown, take) for take in takes])
    np.testing.assert_allclose(found.grams(takes), expected, atol=1e-8)


def test_an_emotion_of_whose_topics_none_was_drawn_keeps_all_its_passages_and_moves_no_other_resample() -> None:
    rng = np.random.default_rng(3)
    shown = stimuli(EMOTIONS[:4], [[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 2]])
    features = rng.normal(size=(len(shown.implicit), 7))
    found = products(bench(features, neutral(), shown=shown), "implicit", features, np.ones((NEUTRAL, 7)))
    takes = np.array([[0, 0, 0], [0, 1, 1]])
    both = found.grams(takes)
    np.testing.assert_allclose(both[0], direct(features, shown, takes[0]), atol=1e-9)
    np.testing.assert_allclose(both[1], found.grams(takes[1:])[0], atol=1e-12)
    own = features[-3:].mean(axis=0)
    vectors = np.stack([*features[[0, 3, 6]], own])
    np.testing.assert_allclose(both[0], gram_of(vectors)[0], atol=1e-9)


def test_the_gram_matrix_of_all_topics_is_that_of_the_benchs_own_emotion_vectors() -> None:
    b = planted_bench(2, valence=1.0)
    mine = b.vectors("implicit").unit
    found = products(b, "implicit", b.activations("implicit").at(0), b.activations("neutral").at(0))
    np.testing.assert_allclose(found.grams(WHOLE[None])[0], mine @ mine.T, atol=1e-9)


def test_what_neutral_passages_vary_in_is_projected_out() -> None:
    rng = np.random.default_rng(4)
    drift = np.eye(WIDTH)[5]
    quiet = 20 * rng.normal(size=(NEUTRAL, 1)) * drift + 0.01 * rng.normal(size=(NEUTRAL, WIDTH))
    passages = noise(4)
    b = bench(passages, quiet)
    loud = passages + 50 * rng.normal(size=(len(passages), 1)) * drift
    before, after = (products(b, "implicit", values, quiet).grams(WHOLE[None]) for values in (passages, loud))
    np.testing.assert_allclose(after, before, atol=0.05)
    untouched = products(b, "implicit", loud, np.ones((NEUTRAL, WIDTH))).grams(WHOLE[None])
    assert np.abs(untouched - before).max() > 0.5


def test_an_emotion_whose_vector_has_no_length_has_a_zero_row_and_the_others_unit_length() -> None:
    vectors = np.array([[0.0, 0.0], [3.0, 1.0], [-3.0, -1.0]])
    found = circumplex.unit_gram(circumplex.centred(vectors @ vectors.T))
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[1:, 1:], [[1, -1], [-1, 1]])


def test_centring_a_gram_matrix_is_centring_its_rows() -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 6, 4)) + 2
    rows = vectors - vectors.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(circumplex.centred(vectors @ vectors.swapaxes(1, 2)), rows @ rows.swapaxes(1, 2), atol=1e-9)


def test_passages_that_do_not_differ_between_emotions_give_vectors_without_length() -> None:
    cells = np.random.default_rng(0).integers(1, 3, size=(COUNT, 4))
    shown = stimuli(cells=cells)
    constant = np.tile(np.random.default_rng(1).normal(size=8), (len(shown.implicit), 1))
    found = products(bench(constant, neutral(), shown=shown), "implicit", constant, np.ones((NEUTRAL, 8)))
    takes = np.random.default_rng(1).integers(4, size=(6, 4))
    np.testing.assert_allclose(found.grams(takes), 0, atol=1e-6)


# components


def test_components_are_those_of_the_centred_vectors_with_their_shares_of_variance() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 5)) * [5, 3, 2, 1, 1]
    rows = unit(rows - rows.mean(axis=0))
    left, sizes, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    scores, shares = components((rows @ rows.T)[None])
    np.testing.assert_allclose(np.abs(scores[0]), np.abs(left * sizes)[:, :3], atol=1e-9)
    np.testing.assert_allclose(shares[0], (sizes**2 / np.sum(sizes**2))[:3], atol=1e-12)


def test_correlations_are_pearsons_r_without_its_sign() -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(2, 8, 3)) + 4, rng.normal(size=8)
    expected = [[abs(np.corrcoef(scores[d, :, k], target)[0, 1]) for k in range(3)] for d in range(2)]
    np.testing.assert_allclose(correlations(scores, target), expected, atol=1e-12)
    np.testing.assert_allclose(correlations(-scores, 3 * target - 1), expected, atol=1e-12)


def test_a_constant_component_or_target_is_related_to_nothing() -> None:
    scores = np.random.default_rng(0).normal(size=(1, 8, 3))
    scores[:, :, 1] = 2.5
    assert correlations(scores, VALENCE[:8])[0, 1] == 0
    np.testing.assert_array_equal(correlations(scores, np.full(8, 0.5)), 0)


def test_the_best_of_the_named_components_counts_and_no_other() -> None:
    # three axes of decreasing weight, of which the second is the target
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(np.column_stack([np.ones(12), rng.normal(size=(12, 3))]))[0][:, 1:]
    gram = ((basis * [3, 2, 1]) @ (basis * [3, 2, 1]).T)[None]
    of = partial(on_components, gram, basis[:, 1])
    assert of((2,)) == of((2, 3)) == of((1, 2)) == pytest.approx([1])
    np.testing.assert_allclose([of((1,)), of((3,)), of((1, 3))], 0, atol=1e-7)


def test_components_beyond_the_rank_of_the_vectors_are_related_to_nothing() -> None:
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found.append(on_components(gram_of(np.outer(rng.normal(size=COUNT), rng.normal(size=8))), VALENCE, (2, 3))[0])
    np.testing.assert_allclose(found, 0, atol=1e-6)


# decoding


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), emotions=st.integers(4, 12), width=st.integers(1, 20), groups=st.integers(2, 12))
def test_predictions_equal_a_ridge_regression_made_again_without_each_cluster(seed: int, emotions: int, width: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    rows = unit(rng.normal(size=(emotions, width)) + 0.5)
    target = rng.normal(size=emotions) + 1
    numbers = rng.permutation(np.arange(emotions) % groups)
    middle = rows - rows.mean(axis=0)
    penalty = circumplex.RIDGE * np.sum(middle**2) / emotions
    expected = np.zeros(emotions)
    for group in np.unique(numbers):
        out = numbers == group
        x, y = rows[~out], target[~out]
        centre = x.mean(axis=0)
        weights = np.linalg.solve((x - centre).T @ (x - centre) + (penalty + 1e-12) * np.eye(width), (x - centre).T @ (y - y.mean()))
        expected[out] = y.mean() + (rows[out] - centre) @ weights
    np.testing.assert_allclose(predictions((rows @ rows.T)[None], target, numbers)[0], expected, atol=1e-7)
    if np.std(expected) > 1e-6:
        assert decoded((rows @ rows.T)[None], target, numbers)[0] == pytest.approx(np.corrcoef(expected, target)[0, 1], abs=1e-6)


def test_neither_an_emotions_own_coordinate_nor_a_near_synonyms_has_a_part_in_its_prediction() -> None:
    gram = gram_of(np.random.default_rng(0).normal(size=(COUNT, 10)))
    moved = VALENCE.copy()
    moved[4] += 100
    before, after = predictions(gram, VALENCE, GROUPS)[0], predictions(gram, moved, GROUPS)[0]
    mates = GROUPS == GROUPS[4]
    assert mates.sum() == 3
    np.testing.assert_allclose(after[mates], before[mates], atol=1e-9)
    assert np.abs((after - before)[~mates]).min() > 1e-3


def test_decoding_does_not_see_the_size_of_the_gram_matrix_nor_where_the_target_lies() -> None:
    gram = gram_of(np.outer(VALENCE, AXES[0]) + 0.3 * np.random.default_rng(0).normal(size=(COUNT, WIDTH)))
    assert 0.5 < decoded(gram, VALENCE, GROUPS)[0] < 1
    np.testing.assert_allclose(decoded(1e4 * gram, 5 * VALENCE - 3, GROUPS), decoded(gram, VALENCE, GROUPS), atol=1e-9)
    np.testing.assert_allclose(decoded(gram, -VALENCE, GROUPS), decoded(gram, VALENCE, GROUPS), atol=1e-9)


def test_vectors_without_length_predict_the_mean_of_the_other_clusters_and_decode_no_better_than_chance() -> None:
    nothing = np.zeros((1, COUNT, COUNT))
    others = [VALENCE[group != GROUPS].mean() for group in GROUPS]
    np.testing.assert_allclose(predictions(nothing, VALENCE, GROUPS)[0], others, atol=1e-9)
    assert decoded(nothing, VALENCE, GROUPS)[0] <= 0
    np.testing.assert_array_equal(components(nothing)[0], 0)
    np.testing.assert_array_equal(on_components(nothing, VALENCE, (1, 2, 3)), 0)


@pytest.mark.parametrize(
    "statistic", [partial(decoded, target=VALENCE, groups=GROUPS), partial(on_components, target=VALENCE, which=(2, 3))]
)
def test_a_gram_matrix_with_what_is_no_number_gives_none_and_leaves_its_neighbours_alone(statistic: Any) -> None:
    sound = gram_of(np.random.default_rng(0).normal(size=(COUNT, 10)))
    broken = sound.copy()
    broken[0, 2, 3] = np.nan
    found = statistic(np.concatenate([sound, broken, sound]))
    assert np.isnan(found).tolist() == [False, True, False]
    np.testing.assert_allclose(found[[0, 2]], statistic(sound)[0])


# resamples


@pytest.mark.parametrize("by", list(VALENCE_BY))
def test_many_resamples_at_once_equal_one_at_a_time(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circumplex, "CHUNK", 4)
    statistic = measure(planted_bench(3, valence=1.0), CLAIM.case(VALENCE_BY[by])).statistic
    takes = np.random.default_rng(0).integers(TOPICS, size=(11, TOPICS))
    found = statistic.many(takes)  # type: ignore[attr-defined]
    assert found.shape == (11,)
    assert np.ptp(found) > 1e-4
    np.testing.assert_allclose(found, [statistic(take) for take in takes], atol=1e-10)
    np.testing.assert_allclose(statistic.many(takes[:, ::-1]), found, atol=1e-10)  # type: ignore[attr-defined]


def test_a_resample_equals_the_measurement_of_a_bench_that_has_those_passages_alone() -> None:
    passages = planted(np.random.default_rng(6), valence=1.0)
    take = np.array([2, 5, 5, 11])
    whole = resampled(
        products(bench(passages, neutral()), "implicit", passages, neutral()), partial(decoded, target=VALENCE, groups=GROUPS)
    )
    chosen = passages.reshape(COUNT, TOPICS, WIDTH)[:, take].reshape(-1, WIDTH)
    few = bench(chosen, neutral(), shown=stimuli(topics=len(take)))
    m = measure(few, CLAIM.case("implicit-valence-decoded-beyond-words"))
    assert whole(take) == pytest.approx(m.statistic(np.arange(4)), abs=1e-9)


# measurement


@pytest.mark.parametrize(("axis", "case"), [("valence", "implicit-valence"), ("arousal", "implicit-arousal")])
@pytest.mark.parametrize("suffix", ["present", "decoded-present", "beyond-words", "decoded-beyond-words"])
def test_planted_axes_are_found_and_their_nulls_are_not(axis: str, case: str, suffix: str) -> None:
    m = measure(planted_bench(1, valence=4.0, arousal=2.0), CLAIM.case(f"{case}-{suffix}"))
    found = verdict(m, f"{case}-{suffix}")
    assert found.verdict == SUPPORTED
    assert found.estimate.value > 0.9
    assert all(other.level < 0.45 for other in m.nulls)
    assert (len(m.clusters), len(m.items), m.layer) == (TOPICS, COUNT, 0)


@pytest.mark.parametrize("suffix", ["valence-present", "valence-decoded-present", "arousal-present", "arousal-decoded-present"])
def test_noise_is_seldom_supported_and_lies_where_its_permutations_lie(suffix: str) -> None:
    case, supported, ranks = f"implicit-{suffix}", 0, []
    for seed in range(8):
        b = planted_bench(seed, twins=(1000 + seed, 2000 + seed))
        m = measure(b, CLAIM.case(case))
        found = verdict(m, case)
        supported += found.verdict == SUPPORTED
        ranks.append(np.mean(null(m, PERMUTED).draws < found.estimate.value))
    assert supported <= 1
    assert 0.2 < np.mean(ranks) < 0.8


def test_arousal_on_the_first_component_is_decoded_and_is_no_second_or_third_component() -> None:
    b = planted_bench(1, arousal=4.0, noise=0.2)
    by = {suffix: measure(b, CLAIM.case(f"implicit-arousal-{suffix}")).statistic(WHOLE) for suffix in ("present", "decoded-present")}
    assert by["decoded-present"] > 0.85
    assert by["present"] < 0.6


def test_permuted_places_take_the_best_of_as_many_components_as_the_model_does() -> None:
    b = planted_bench(1)
    two, case = measure(b, CLAIM.case("implicit-arousal-present")), CLAIM.case("implicit-arousal-present")
    one = measure(b, replace(case, settings={**case.settings, "components": (2,)}))
    # the same permutations in both: the best of two components is never below the one of them
    more, fewer = (null(m, f"{PERMUTED} {KIND}").draws for m in (two, one))
    assert np.all(more >= fewer - 1e-12)
    assert more.mean() > fewer.mean() + 0.03


@pytest.mark.parametrize("suffix", ["valence-present", "valence-decoded-present", "arousal-present", "arousal-decoded-present"])
def test_rotating_rescaling_and_moving_the_space_changes_nothing_that_the_vectors_are_worth(suffix: str) -> None:
    rng = np.random.default_rng(8)
    turn, shift = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0], 30 * rng.normal(size=WIDTH)
    passages, quiet = planted(rng, valence=1.5, arousal=1.0), neutral(3)
    case, take = CLAIM.case(f"implicit-{suffix}"), rng.integers(TOPICS, size=TOPICS)
    first = measure(bench(passages, quiet, twins=(noise(1),)), case)
    moved = measure(bench(37.0 * (passages + shift) @ turn, 37.0 * (quiet + shift) @ turn, twins=(noise(1),)), case)
    for drawn in (WHOLE, take):
        assert moved.statistic(drawn) == pytest.approx(first.statistic(drawn), abs=1e-7)
    np.testing.assert_allclose(null(moved, PERMUTED).draws, null(first, PERMUTED).draws, atol=1e-7)
    np.testing.assert_allclose(moved.details["variance explained"], first.details["variance explained"], atol=1e-9)


@pytest.mark.parametrize("by", list(VALENCE_BY))
def test_the_order_of_the_passages_and_of_the_topics_is_of_no_consequence(by: str) -> None:
    rng = np.random.default_rng(9)
    passages, order = planted(rng, valence=1.0), rng.permutation(COUNT * TOPICS)
    shown = stimuli()
    mixed = replace(shown, implicit=tuple(shown.implicit[i] for i in order))
    first = measure(bench(passages, neutral(), twins=(noise(1),)), CLAIM.case(VALENCE_BY[by]))
    other = measure(bench(passages[order], neutral(), shown=mixed, twins=(noise(1)[order],)), CLAIM.case(VALENCE_BY[by]))
    assert other.clusters != first.clusters
    assert set(other.clusters) == set(first.clusters)
    assert other.statistic(WHOLE) == pytest.approx(first.statistic(WHOLE), abs=1e-9)
    # the same topics under their new numbers
    places = np.array([other.clusters.index(name) for name in first.clusters])
    take = rng.integers(TOPICS, size=TOPICS)
    assert other.statistic(places[take]) == pytest.approx(first.statistic(take), abs=1e-9)


@pytest.mark.parametrize("by", list(VALENCE_BY))
def test_valence_that_the_twin_has_too_is_not_the_models(by: str) -> None:
    case = VALENCE_BY[by]
    passages = planted(np.random.default_rng(1), valence=0.9, noise=1.5)  # faint enough to leave room above the twin
    untrained = verdict(measure(bench(passages, neutral(), twins=(passages, passages)), CLAIM.case(case)), case)
    assert (untrained.verdict, untrained.against.kind) == (REFUTED, "untrained twin")
    assert (untrained.net.value, untrained.net.low, untrained.net.high) == pytest.approx((0, 0, 0), abs=1e-9)
    beyond = case.replace("present", "beyond-words")
    words = np.concatenate([passages, neutral()])
    m = measure(bench(passages, neutral(), words=words), CLAIM.case(beyond))
    assert verdict(m, beyond).verdict == REFUTED
    assert m.details["twins"] == pytest.approx(dict.fromkeys(("TF-IDF", "mean input embeddings"), m.statistic(WHOLE)))


def test_several_untrained_twins_are_averaged_on_the_same_topics() -> None:
    case = CLAIM.case("implicit-valence-decoded-present")
    take = np.random.default_rng(1).integers(TOPICS, size=TOPICS)
    both, one, other = (null(measure(planted_bench(0, twins=t), case), "untrained twin") for t in ((3, 4), (3,), (4,)))
    np.testing.assert_allclose(both.draws, [one.draws[0], other.draws[0]], atol=1e-12)
    assert both.statistic is not None
    assert one.statistic is not None
    assert other.statistic is not None
    assert both.statistic(take) == pytest.approx((one.statistic(take) + other.statistic(take)) / 2, abs=1e-12)


def test_a_reported_case_builds_no_untrained_twin() -> None:
    case = replace(CLAIM.case("implicit-valence-present"), verdict="reported")
    m = measure(planted_bench(1, valence=3.0), case)
    assert [found.kind for found in m.nulls] == [f"{PERMUTED} {KIND}", "chance", "random directions"]


def test_details_tell_what_the_statistic_saw() -> None:
    m = measure(planted_bench(1, valence=3.0, arousal=1.5), CLAIM.case("implicit-arousal-present"))
    told = m.details["correlations"]
    assert max(told["arousal"][1:]) == pytest.approx(m.statistic(WHOLE))
    assert told["valence"][0] > 0.9
    assert m.details["variance explained"][0] > m.details["variance explained"][1] > m.details["variance explained"][2] > 0
    np.testing.assert_allclose(np.diag(m.details["cosines"]), 1, atol=1e-3)
    np.testing.assert_array_equal(m.details["circumplex"], PLACES)
    assert [(item["id"], item["valence"], item["arousal"]) for item in m.items] == [(e.name, e.valence, e.arousal) for e in EMOTIONS]
    np.testing.assert_allclose([item["components"] for item in m.items], m.details["scatter"], atol=1e-4)


def test_an_emotion_without_any_passage_leaves_nothing_to_conclude() -> None:
    cells = np.ones((COUNT, TOPICS), int)
    cells[3] = 0
    shown = stimuli(cells=cells)
    values = np.random.default_rng(0).normal(size=(len(shown.implicit), WIDTH))
    with np.errstate(invalid="ignore"):
        for case in ("implicit-valence-beyond-words", "implicit-valence-decoded-beyond-words"):
            m = measure(bench(values, neutral(), shown=shown), CLAIM.case(case))
            found = verdict(m, case)
            assert np.isnan(found.estimate.value)
            assert (found.verdict, found.reason) == (verdicts.INCONCLUSIVE, "the interval cannot be computed")


def clustered(seed: int, own: float = 0.2) -> np.ndarray:
    """Return passages that know their emotion's cluster, and no valence or arousal; `own` is an emotion's share in its variance."""
    rng = np.random.default_rng([seed, 13])
    place = np.sqrt(1 - own) * rng.normal(size=(GROUPS.max() + 1, WIDTH))[GROUPS] + np.sqrt(own) * rng.normal(size=(COUNT, WIDTH))
    return np.repeat(place, TOPICS, axis=0) + 0.5 * rng.normal(size=(COUNT * TOPICS, WIDTH))


@pytest.mark.parametrize("suffix", ["valence-present", "valence-decoded-present", "arousal-present", "arousal-decoded-present"])
def test_passages_that_know_the_near_synonyms_alone_are_seldom_supported(suffix: str) -> None:
    case, found, ranks = CLAIM.case(f"implicit-{suffix}"), [], []
    for seed in range(12):
        m = measure(bench(clustered(seed), neutral(), seed=seed, twins=(noise(seed),)), case)
        found.append(verdict(m, case.name))
        ranks.append(np.mean(null(m, PERMUTED).draws < found[-1].estimate.value))
    assert sum(j.verdict == SUPPORTED for j in found) <= 1
    assert np.mean(ranks) < 0.75


@pytest.mark.parametrize("suffix", ["valence-decoded", "arousal-decoded"])
def test_near_synonyms_that_are_alike_are_not_decoded_from_each_other(suffix: str) -> None:
    case = CLAIM.case(f"implicit-{suffix}-beyond-words")
    found = [verdict(measure(bench(clustered(seed), neutral(), seed=seed), case), case.name) for seed in range(12)]
    assert sum(j.verdict == SUPPORTED for j in found) <= 2
    assert np.mean([j.estimate.value for j in found]) < 0.1


@pytest.mark.parametrize("by", list(VALENCE_BY))
def test_the_permuted_places_are_those_of_rearranged_clusters(by: str) -> None:
    b, case = planted_bench(2, valence=1.0), CLAIM.case(VALENCE_BY[by])
    whole = products(b, "implicit", b.activations("implicit").at(0), b.activations("neutral").at(0)).grams(WHOLE[None])
    target = coordinates(rearranged(EMOTIONS, b.rng(f"permuted {case.name}")))[:, 0]
    expected = decoded(whole, target, GROUPS) if by == "decoding" else on_components(whole, target, (1,))
    assert null(measure(b, case), PERMUTED).draws[0] == pytest.approx(expected[0])
