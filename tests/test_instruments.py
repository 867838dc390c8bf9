"""Separation, geometry, lens and lift on benches with planted activations: structure is found, noise is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cases.claims import load_claims
from cases.emotions import coordinates, load_emotions, opposite, similarity
from cases.stimuli import Pair, Passage
from fixtures import geometry, lens, lift, nulls, separation, verdicts
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.nulls import PERMUTED
from fixtures.statistics import bootstrap_estimate
from fixtures.synonyms import apart, centring, clusters, mantel, rearranged
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, judge
from tests.planted import few_stimuli, null

CLAIMS = load_claims()
EMOTIONS = tuple(load_emotions())
COUNT, WIDTH, TOPICS, PAIRS = len(EMOTIONS), 48, 4, 40
WORDS = [word for emotion in EMOTIONS for word in emotion.family]
CONTROLS = tuple(f"control{i}" for i in range(60))
CONTRASTS = ("fear_calm", "matched")
STIMULI = few_stimuli(
    emotions=EMOTIONS,
    implicit=tuple(Passage(e.name, f"topic {t}", f"{e.name} {t}") for e in EMOTIONS for t in range(TOPICS)),
    neutral=tuple(f"neutral {i}" for i in range(12)),
    pairs={name: tuple(Pair(f"{name}/{i}", f"first {i}", f"second {i}") for i in range(PAIRS)) for name in CONTRASTS},
    frames=("He feels", "She feels", "They feel"),
    controls=CONTROLS,
)
PROJECTION = np.random.default_rng(99).normal(size=(2, WIDTH))


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=100))
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def pairs(rng: np.random.Generator, effect: float, count: int = PAIRS) -> np.ndarray:
    """Return sides that share a situation and differ by `effect` along the first axis, first sides then second."""
    situation, axis = rng.normal(size=(count, WIDTH)), np.eye(WIDTH)[0]
    sides = [situation + 0.5 * rng.normal(size=(count, WIDTH)) + sign * effect * axis for sign in (0.5, -0.5)]
    return np.concatenate(sides)


def passages(rng: np.random.Generator, circumplex: float, own: float = 0.0) -> np.ndarray:
    """Return passages with `circumplex` times their emotion's place on it, and `own` times an axis of their emotion's own."""
    place = circumplex * coordinates(EMOTIONS) @ PROJECTION / 4 + own * np.eye(COUNT, WIDTH)
    return np.repeat(place, TOPICS, axis=0) + 0.5 * rng.normal(size=(COUNT * TOPICS, WIDTH))


def bench(
    make: Callable[[np.random.Generator], np.ndarray],
    seed: int,
    *,
    twin: Callable[[np.random.Generator], np.ndarray] | None = None,
    words: np.ndarray | None = None,
    subject: Any = None,
) -> Bench:
    """Return a bench whose activations `make` plants; its untrained twins' come from `twin`, its text-only twin's are `words`."""
    rng = np.random.default_rng(seed)
    implicit = make(rng)
    rows = {key: implicit for key in ("implicit", *CONTRASTS)} | {"neutral": rng.normal(size=(12, WIDTH))}
    features = rng.normal(size=(len(implicit) + 12, WIDTH)) if words is None else words
    measured = {f"{kind} {(key, 'neutral')}": features for kind in ("tfidf", "embeddings") for key in rows}
    found = Bench(
        make=lambda: subject or SimpleNamespace(device="cpu", bytes=0),
        stimuli=STIMULI,
        settings=Settings(seed=seed, layer=0),
        _captured={key: Activations(values[:, None].astype(np.float32), (0,)) for key, values in rows.items()},
        _measured=measured | {"norms": np.ones(1)},
    )
    if twin is not None:
        found.twins = tuple(bench(twin, 1000 * seed + i + 1, subject=subject) for i in range(3))
    return found


def verdict(m: Measurement, family: str, case: str, seed: int = 0) -> Judgement:
    return judge(m, CLAIMS[family], CLAIMS[family].case(case), np.random.default_rng(seed))


def noise(rng: np.random.Generator) -> np.ndarray:
    return pairs(rng, 0.0)


# separation


def separate(b: Bench, case: str) -> Measurement:
    return separation.measure(b, CLAIMS["separation"].case(case))


def test_separation_finds_a_planted_contrast() -> None:
    m = separate(bench(partial(pairs, effect=3.0), 1, twin=noise), "natural-present")
    found = verdict(m, "separation", "natural-present")
    assert (found.verdict, m.layer, len(m.clusters), len(m.items)) == (SUPPORTED, 0, PAIRS, PAIRS)
    assert found.estimate.value > 0.9
    assert m.details["within pair"] == 1


def test_separation_of_noise_is_supported_in_at_most_5_per_cent_and_its_permutations_centre_on_one_half() -> None:
    found, centres = Counter[str](), []
    for seed in range(40):
        m = separate(bench(noise, seed, twin=noise), "natural-present")
        found[verdict(m, "separation", "natural-present", seed).verdict] += 1
        centres.append(null(m, PERMUTED).level)
    assert found[SUPPORTED] <= 2
    assert np.mean(centres) == pytest.approx(0.5, abs=0.02)


def test_permuted_sides_do_not_carry_a_planted_contrast() -> None:
    m = separate(bench(partial(pairs, effect=3.0), 1, twin=noise), "natural-present")
    draws = null(m, PERMUTED).draws
    assert draws.mean() == pytest.approx(0.5, abs=0.05)
    assert draws.max() < 0.9


def test_separation_that_the_words_or_the_untrained_twin_share_is_not_supported() -> None:
    plant = partial(pairs, effect=3.0)
    words = np.concatenate([plant(np.random.default_rng(5)), np.zeros((12, WIDTH))])
    beyond = verdict(separate(bench(plant, 1, words=words), "matched-beyond-words"), "separation", "matched-beyond-words")
    present = verdict(separate(bench(plant, 1, twin=plant), "matched-present"), "separation", "matched-present")
    assert {beyond.verdict, present.verdict} <= {REFUTED, INCONCLUSIVE}
    assert "text-only twin" in beyond.against.kind
    assert present.against.kind == "untrained twin"
    without = verdict(separate(bench(plant, 1), "matched-beyond-words"), "separation", "matched-beyond-words")
    assert without.verdict == SUPPORTED


def test_separation_does_not_see_the_size_of_activations() -> None:
    def scaled(rng: np.random.Generator) -> np.ndarray:
        return 1024 * pairs(rng, 1.2)

    small, large = (separate(bench(make, 3, twin=noise), "natural-present") for make in (partial(pairs, effect=1.2), scaled))
    assert 0.55 < small.statistic(np.arange(PAIRS)) < 0.95
    assert large.statistic(np.arange(PAIRS)) == pytest.approx(small.statistic(np.arange(PAIRS)), abs=1e-9)
    assert null(large, PERMUTED).level == pytest.approx(null(small, PERMUTED).level, abs=1e-3)


def test_no_pair_is_projected_on_a_direction_that_it_helped_to_build() -> None:
    b = bench(noise, 2)
    before = separation.projections(b, "fear_calm", 0)
    # a pair that differs enormously along its own axis: in the others' direction alone, it moves all but itself
    values = b.activations("fear_calm").at(0).copy()
    values[0, 7] += 1e4
    after = separation.separate(b, "fear_calm", values)
    direction_of_its_fold_is_as_before = after[1][0] == pytest.approx(before[1][0], abs=1e-6)
    assert direction_of_its_fold_is_as_before
    assert not np.allclose(after[1][1:], before[1][1:], atol=1e-3)


def test_the_posts_protocol_builds_on_the_first_pairs_and_tests_on_the_rest() -> None:
    def half(rng: np.random.Generator) -> np.ndarray:
        values = pairs(rng, 3.0)
        # the held-out pairs are turned round
        values[30:40], values[70:80] = values[70:80].copy(), values[30:40].copy()
        return values

    assert separation.post_protocol(bench(partial(pairs, effect=3.0), 1), "fear_calm")["auroc"] > 0.9
    assert separation.post_protocol(bench(half, 1), "fear_calm")["auroc"] < 0.1


# geometry


def map_of(b: Bench, case: str) -> Measurement:
    return geometry.measure(b, CLAIMS["geometry"].case(case))


def flat(rng: np.random.Generator) -> np.ndarray:
    return passages(rng, 0.0)


def test_geometry_finds_a_planted_circumplex_in_the_activations_and_beyond_the_words() -> None:
    b = bench(partial(passages, circumplex=3.0), 1, twin=flat)
    for case in ("implicit-present", "implicit-beyond-words"):
        m = map_of(b, case)
        found = verdict(m, "geometry", case)
        assert (found.verdict, found.estimate.clusters) == (SUPPORTED, COUNT)
        assert found.estimate.value > 0.5
    closeness = {row["pair"]: row["cosine"] for row in m.details["pairs"]}
    assert closeness["happy-joyful"] > 0.5 > 0 > closeness["happy-sad"]


def test_geometry_of_noise_is_not_supported_and_its_permutations_centre_on_0() -> None:
    found, centres = Counter[str](), {"implicit-present": [], "implicit-beyond-words": []}
    for seed in range(15):
        b = bench(flat, seed, twin=flat)
        for case, levels in centres.items():
            m = map_of(b, case)
            found[verdict(m, "geometry", case, seed).verdict] += 1
            levels.append(null(m, PERMUTED).level)
    assert found[SUPPORTED] <= 1
    for levels in centres.values():
        assert np.mean(levels) == pytest.approx(0, abs=0.02)


def test_a_circumplex_that_is_in_the_words_is_present_and_not_beyond_them() -> None:
    words = passages(np.random.default_rng(2), 3.0)

    def make(rng: np.random.Generator) -> np.ndarray:
        return words + 0.6 * rng.normal(size=words.shape)

    copied = bench(make, 1, twin=flat, words=np.concatenate([words, np.random.default_rng(3).normal(size=(12, WIDTH))]))
    assert verdict(map_of(copied, "implicit-present"), "geometry", "implicit-present").verdict == SUPPORTED
    m = map_of(copied, "implicit-beyond-words")
    found = verdict(m, "geometry", "implicit-beyond-words")
    assert found.verdict != SUPPORTED
    assert abs(found.estimate.value) < 0.2
    assert m.details["twins"]["TF-IDF"] > 0.5
    # Smouse, Long and Sokal: the places are permuted, what the words explain of our cosines stays where it is
    counted = apart(EMOTIONS)
    centred = centring(counted)
    ours, (given, *_) = geometry.likeness(copied, "implicit", 0), geometry.words_likeness(copied, "implicit").values()
    plan = similarity(rearranged(EMOTIONS, copied.rng("permuted implicit")))
    expected = mantel(centred(ours), centred(plan), counted, np.arange(COUNT), centred(given))
    assert null(m, PERMUTED).draws[0] == pytest.approx(expected)


def test_permuted_partial_correlation_is_centred_on_0_when_words_and_model_both_carry_the_circumplex() -> None:
    rng = np.random.default_rng(8)
    words = np.concatenate([passages(rng, 1.0), rng.normal(size=(12, WIDTH))])
    m = map_of(bench(partial(passages, circumplex=3.0), 1, words=words), "implicit-beyond-words")
    draws = null(m, PERMUTED).draws
    assert abs(draws.mean()) < 3 * draws.std() / np.sqrt(len(draws)) + 0.01
    assert m.statistic(np.arange(COUNT)) > np.quantile(draws, 0.95) > 0


def clustered(rng: np.random.Generator) -> np.ndarray:
    """Return passages that know their emotion's cluster, and no valence or arousal."""
    numbers = clusters(EMOTIONS)
    place = rng.normal(size=(numbers.max() + 1, WIDTH))[numbers] + 0.5 * rng.normal(size=(COUNT, WIDTH))
    return np.repeat(place, TOPICS, axis=0) + 0.5 * rng.normal(size=(COUNT * TOPICS, WIDTH))


@pytest.mark.parametrize("case", ["implicit-present", "implicit-beyond-words"])
def test_vectors_that_know_the_near_synonyms_alone_have_no_geometry(case: str) -> None:
    found = [verdict(map_of(bench(clustered, seed, twin=flat), case), "geometry", case, seed) for seed in range(20)]
    assert sum(j.verdict == SUPPORTED for j in found) <= 2
    assert np.mean([j.estimate.value for j in found]) == pytest.approx(0, abs=0.07)


# lens and lift: a stand-in model whose output head is linear, one row per word


def head(rng: np.random.Generator, gain: float) -> dict[str, np.ndarray]:
    """Return an unembedding: `gain` on the axis of a word's own emotion, and noise."""
    own = [gain * np.eye(COUNT, WIDTH)[i] for i, emotion in enumerate(EMOTIONS) for _ in emotion.family]
    words = [*own, *(np.zeros(WIDTH) for _ in CONTROLS)]
    return {name: row + rng.normal(size=WIDTH) / 4 for name, row in zip([*WORDS, *CONTROLS], words, strict=True)}


def scored(table: dict[str, np.ndarray], vectors: np.ndarray, words: list[str]) -> np.ndarray:
    return np.asarray(np.asarray(vectors) @ np.stack([table[word] for word in words]).T)


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lens and lift score words with the subject's own `head`, in place of a model."""

    def frames(subject: Any, shown: Any, words: Any, *, vectors: Any = None, **_: Any) -> np.ndarray:
        # the base rate of a word differs between frames and words; a direction adds what it promotes
        rate = np.random.default_rng(5).normal(size=(len(shown), 1, len(words)))
        return rate + (0 if vectors is None else scored(subject.head, vectors.numpy(), list(words)))

    monkeypatch.setattr(lens, "frame_logprobs", frames)
    monkeypatch.setattr(lift, "frame_logprobs", frames)
    monkeypatch.setattr(lens, "lens_logits", lambda subject, vectors, words: scored(subject.head, vectors, words))


def speaker(gain: float, own: float, seed: int = 1, twin: tuple[float, float] = (0.0, 0.0)) -> Bench:
    """Return a bench whose vectors point along their emotion's own axis and whose head reads those axes."""
    rng = np.random.default_rng([seed, 17])

    def subject() -> SimpleNamespace:
        return SimpleNamespace(device="cpu", bytes=0, head=head(rng, gain))

    b = bench(partial(passages, circumplex=0.0, own=own), seed, subject=subject())
    b.twins = tuple(
        bench(
            partial(passages, circumplex=0.0, own=twin[1]),
            1000 * seed + i + 1,
            subject=SimpleNamespace(device="cpu", bytes=0, head=head(rng, twin[0])),
        )
        for i in range(3)
    )
    return b


def measured(instrument: Any, family: str, case: str, b: Bench) -> tuple[Measurement, Judgement]:
    m = instrument.measure(b, CLAIMS[family].case(case))
    return m, verdict(m, family, case)


SPOKEN = [
    (lens, "logit_lens", "implicit-promoted"),
    (lift, "self_steering", "implicit-over-random"),
    (lift, "self_steering", "implicit-over-emotions"),
]


@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize(("instrument", "family", "case"), SPOKEN)
def test_vectors_that_raise_their_own_words_are_found(instrument: Any, family: str, case: str) -> None:
    m, found = measured(instrument, family, case, speaker(2.0, 3.0))
    assert (found.verdict, found.estimate.clusters) == (SUPPORTED, COUNT)
    assert found.estimate.value > 0.8
    assert null(m, PERMUTED).draws.max() < 0.75


@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize(("instrument", "family", "case"), SPOKEN)
@pytest.mark.parametrize(("gain", "own"), [(0.0, 3.0), (2.0, 0.0), (0.0, 0.0)])
def test_vectors_or_words_of_noise_are_not_found(instrument: Any, family: str, case: str, gain: float, own: float) -> None:
    verdicts_found = [measured(instrument, family, case, speaker(gain, own, seed))[1].verdict for seed in range(4)]
    assert SUPPORTED not in verdicts_found


@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize(("instrument", "family", "case"), SPOKEN)
def test_what_the_untrained_twin_does_as_well_is_not_supported(instrument: Any, family: str, case: str) -> None:
    _, found = measured(instrument, family, case, speaker(2.0, 3.0, twin=(2.0, 3.0)))
    assert found.verdict != SUPPORTED
    assert found.against.kind == "untrained twin"


@pytest.mark.usefixtures("linear")
def test_the_suppressed_side_scores_the_opposites_words_low() -> None:
    b = speaker(2.0, 3.0)
    # each head row now reads minus the axis of the emotions whose opposite it belongs to
    signs = np.eye(COUNT)
    for i, j in enumerate(opposite(EMOTIONS)):
        signs[j, i] -= 1
    start = iter(np.repeat(np.arange(COUNT), [len(e.family) for e in EMOTIONS]))
    for word in WORDS:
        b.subject.head[word][:COUNT] = 2.0 * signs[next(start)]
    m, found = measured(lens, "logit_lens", "implicit-suppressed", b)
    assert found.verdict == SUPPORTED
    assert [item["family"] for item in m.items] == [EMOTIONS[j].name for j in opposite(EMOTIONS)]
    # turned round, the same words rank high and the claim is refuted as reversed
    for word in WORDS:
        b.subject.head[word][:COUNT] *= -1
    assert measured(lens, "logit_lens", "implicit-suppressed", b)[1].reason == "reversed"


@pytest.mark.usefixtures("linear")
def test_control_words_are_the_nearest_in_base_rate() -> None:
    b = speaker(0.0, 0.0)
    rates = np.concatenate([np.arange(len(WORDS)) % 50 + 0.2, np.arange(float(len(CONTROLS)))])
    b._measured["base rates"] = rates
    chosen = [near for family in lens.matched_controls(b, 3) for near in family]
    assert len(chosen) == len(WORDS)
    assert [sorted(near) for near in chosen[1:49]] == [[k - 1, k, k + 1] for k in range(1, 49)]


@pytest.mark.usefixtures("linear")
def test_lifts_are_changes_in_proportion_to_the_strength_and_zero_without_steering() -> None:
    b, case = speaker(2.0, 3.0), CLAIMS["self_steering"].case("implicit-over-random")
    strength = case.settings["strength"]
    table = lift.lifts(b, case)
    assert table.shape == (COUNT + lift.randoms(b), COUNT)
    expected = scored(b.subject.head, b.vectors("implicit").unit * strength, list(STIMULI.names))
    assert table[:COUNT] == pytest.approx(expected, abs=1e-5)
    for block, other in enumerate(case.settings["reported"]):
        assert lift.own_lifts(b, case, block) == pytest.approx(np.diag(expected) * other / strength, abs=1e-5)
    raw = lift.own_lifts(b, case, len(case.settings["reported"]))
    assert raw == pytest.approx(np.diag(scored(b.subject.head, b.vectors("implicit").denoised, list(STIMULI.names))), abs=1e-5)


def test_a_vector_wins_only_if_it_beats_every_rival_and_its_own_cluster_is_no_rival() -> None:
    b = bench(flat, 1)
    table = np.zeros((COUNT + 3, COUNT))
    np.fill_diagonal(table, 1.0)
    outside = "emotions outside the cluster"
    assert lift.beaten(b, table, "random directions").all()
    assert lift.beaten(b, table, outside).all()
    mates = [i for i, e in enumerate(EMOTIONS) if e.cluster == EMOTIONS[0].cluster]
    other = next(i for i in range(COUNT) if i not in mates)
    table[COUNT + 1, 4] = 1.0
    table[mates[1], 0] = 5.0
    assert list(np.flatnonzero(lift.beaten(b, table, "random directions") == 0)) == [4]
    assert lift.beaten(b, table, outside).all()
    table[other, 0] = 1.0
    assert list(np.flatnonzero(lift.beaten(b, table, outside) == 0)) == [0]


def test_a_lift_that_is_not_a_number_is_neither_won_nor_lost() -> None:
    b = bench(flat, 1)
    table = np.eye(COUNT + 3, COUNT)
    table[5, 5] = table[COUNT + 1, 7] = np.nan
    for rival in ("random directions", "emotions outside the cluster"):
        assert list(np.flatnonzero(np.isnan(lift.beaten(b, table, rival)))) == [5, 7]


def test_published_figures_count_the_words_that_rise() -> None:
    assert lift.published(np.array([1.0, -0.5, 0.0, 2.5])) == {"raised": 2, "of": 4, "mean": 0.75, "lowest": -0.5, "highest": 2.5}


def test_a_measurement_depends_on_the_runs_seed_and_not_on_what_was_measured_before() -> None:
    first, second = bench(noise, 4, twin=noise), bench(noise, 4, twin=noise)
    separate(second, "matched-present")
    a, b = (separate(found, "natural-present") for found in (first, second))
    assert (null(a, PERMUTED).draws == null(b, PERMUTED).draws).all()
    assert a.items == b.items
    other = bench(noise, 4, twin=noise)
    other.settings = replace(other.settings, seed=5)
    assert not np.array_equal(null(separate(other, "natural-present"), PERMUTED).draws, null(a, PERMUTED).draws)
