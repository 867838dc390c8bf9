"""Intensity: a planted rise with a number is told from one that every direction shows, and nothing is worth one half."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cases.claims import load_claims
from cases.emotions import Emotion
from cases.stimuli import Passage, Template
from fixtures import intensity, nulls
from fixtures.activations import Activations, capture
from fixtures.bench import Bench, Settings
from fixtures.intensity import excursions, statements, superiority
from fixtures.nulls import PERMUTED, random_directions
from fixtures.verdicts import REFUTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli, null
from tests.tiny import SENTENCES, tiny

CLAIM = load_claims()["intensity"]
NAMES = tuple(f"e{i}" for i in range(8))
TOPICS, WIDTH, NEUTRAL = 4, 24, 12
STIMULI = few_stimuli(
    emotions=tuple(Emotion(name, 0.5 if i < 4 else -0.5, 0.0, "", (name,), ()) for i, name in enumerate(NAMES)),
    implicit=tuple(Passage(name, f"topic {t}", f"{name} {t}") for name in NAMES for t in range(TOPICS)),
    neutral=tuple(f"neutral {i}" for i in range(NEUTRAL)),
    templates=tuple(
        Template(f"t{i}", tuple(f"{v} of {i}" for v in range(4 + i % 3)), (NAMES[i % 4],), (NAMES[4 + i % 3], NAMES[7])) for i in range(24)
    ),
)
COUNT = len(STIMULI.templates)
COUNTS = [len(template.texts) for template in STIMULI.templates]
KEY = "intensity, last token"


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def texts(rng: np.random.Generator, told: float, drift: float) -> dict[str, np.ndarray]:
    """Return features of all texts: as a template's number grows, its emotions' axes move by `told`, a random direction by `drift`."""
    axes, rows = np.eye(len(NAMES), WIDTH), []
    for template in STIMULI.templates:
        moved = sum(axes[NAMES.index(name)] for name in template.rises) - sum(axes[NAMES.index(name)] for name in template.falls)
        along = told * moved + drift * random_directions(1, WIDTH, rng)[0]
        rows.append(rng.normal(size=WIDTH) + np.linspace(0, 1, len(template.texts))[:, None] * along)
    return {
        "implicit": 3.0 * np.repeat(axes, TOPICS, axis=0) + 0.3 * rng.normal(size=(len(STIMULI.implicit), WIDTH)),
        "neutral": rng.normal(size=(NEUTRAL, 1)) * np.eye(WIDTH)[23],
        "intensity": np.concatenate(rows) + 0.05 * rng.normal(size=(sum(COUNTS), WIDTH)),
    }


def bench(
    seed: int,
    told: float,
    drift: float = 0.0,
    *,
    twin: tuple[float, float] = (0.0, 1.0),
    words: tuple[float, float] = (0.0, 1.0),
    twins: bool = True,
) -> Bench:
    """Return a bench on planted `texts`; the untrained twins' move as `twin` says, the text-only twin's as `words` does."""
    planted, alone = texts(np.random.default_rng(seed), told, drift), texts(np.random.default_rng([seed, 1]), *words)
    captured = {key: Activations(values[:, None].astype(np.float32), (0,)) for key, values in planted.items()}
    features, keys = np.concatenate(list(alone.values())), ("implicit", "neutral", "intensity")
    found = Bench(
        make=SimpleNamespace,  # type: ignore[arg-type]
        stimuli=STIMULI,
        settings=Settings(seed=seed, layer=0),
        _captured={**captured, KEY: captured["intensity"]},
        _measured={f"tfidf {keys}": features, f"embeddings {keys}": features},
    )
    if twins:
        found.twins = tuple(bench(1000 * seed + i + 1, *twin, twins=False) for i in range(3))
    return found


def measured(b: Bench, case: str = "present") -> Measurement:
    return intensity.measure(b, CLAIM.case(case))


def verdict(m: Measurement, case: str = "present", seed: int = 0) -> Judgement:
    return judge(m, CLAIM, CLAIM.case(case), np.random.default_rng(seed))


# the instrument


@pytest.mark.parametrize("case", ["present", "beyond-words"])
def test_emotions_that_move_with_the_number_are_found(case: str) -> None:
    m = measured(bench(1, told=2.0), case)
    found = verdict(m, case)
    assert (found.verdict, found.estimate.clusters, m.layer) == (SUPPORTED, COUNT, 0)
    assert found.estimate.value > 0.95
    assert null(m, PERMUTED).level < 0.7
    assert [row["id"] for row in m.items] == [template.id for template in STIMULI.templates]


def test_emotions_that_move_against_the_number_are_refuted() -> None:
    found = verdict(measured(bench(1, told=-2.0)))
    assert (found.verdict, found.reason) == (REFUTED, "reversed")
    assert found.estimate.value < 0.05


def test_every_statement_of_a_moving_emotion_has_the_expected_sign_and_a_large_excursion() -> None:
    rows = measured(bench(1, told=2.0)).details["statements"]
    assert len(rows) == 3 * COUNT
    assert [(row["emotion"], row["expected"]) for row in rows[:3]] == [("e0", "rises"), ("e4", "falls"), ("e7", "falls")]
    signs = np.array([1 if row["expected"] == "rises" else -1 for row in rows])
    assert (signs * [row["rho"] for row in rows] > 0.7).all()
    assert np.median(signs * [row["excursion"] for row in rows]) > 1.5


def test_a_drift_that_random_directions_share_gives_perfect_ranks_and_no_support() -> None:
    found, values, ranks = Counter[str](), [], []
    for seed in range(40):
        m = measured(bench(seed, told=0.0, drift=8.0))
        judged = verdict(m, seed=seed)
        found[judged.verdict] += 1
        values.append(judged.estimate.value)
        ranks.extend(abs(row["rho"]) for row in m.details["statements"])
    assert np.mean(ranks) > 0.9
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)
    assert found[SUPPORTED] <= 2


def test_what_the_untrained_twin_or_the_words_share_is_not_supported() -> None:
    b = bench(1, told=2.0, twin=(2.0, 0.0), words=(2.0, 0.0))
    present, beyond = verdict(measured(b)), verdict(measured(b, "beyond-words"), "beyond-words")
    assert SUPPORTED not in (present.verdict, beyond.verdict)
    assert present.against.kind == "untrained twin"
    assert beyond.against.kind == "text-only twin (TF-IDF)"


def test_neither_the_scale_of_activations_nor_what_all_texts_of_a_template_share_is_seen() -> None:
    b, moved = bench(2, told=0.05), bench(2, told=0.05)
    shared = np.repeat(100.0 * np.random.default_rng(0).normal(size=(COUNT, WIDTH)), COUNTS, axis=0)
    moved._captured[KEY] = Activations((64 * (b._captured[KEY].values[:, 0] + shared)[:, None]).astype(np.float32), (0,))
    before, after = measured(b), measured(moved)
    assert after.scores == pytest.approx(before.scores, abs=0.03)
    assert 0.55 < np.mean([row["score"] for row in before.items]) < 0.95


def test_texts_are_read_at_their_last_token() -> None:
    subject = tiny("gpt2")
    stimuli = replace(
        STIMULI,
        templates=tuple(Template(f"t{i}", (text[:20], text[:31], text[:26]), ("e0",), ("e5",)) for i, text in enumerate(SENTENCES)),
        implicit=tuple(Passage(p.emotion, p.topic, SENTENCES[i % 7][i // 7 :][:40]) for i, p in enumerate(STIMULI.implicit)),
        neutral=SENTENCES,
    )
    b = Bench(lambda: subject, stimuli, Settings(layer=1))
    m = measured(b)
    features = capture(subject, b.texts("intensity"), layers=[1], pooling="last", batch_size=1).at(1)
    drawn = random_directions(b.random_directions, subject.width, b.rng("random excursions"))
    moved, spread = (excursions(features, [3] * 7, rows) for rows in (b.vectors("implicit").unit, drawn))
    assert m.scores == pytest.approx(superiority(moved, spread, statements(b)), abs=0.03)
    assert 0 < np.mean(m.scores) < 1


def test_an_emotion_without_a_vector_makes_the_claim_not_applicable() -> None:
    b = bench(1, told=2.0)
    assert statements(b)[5] == [(1, 1), (6, -1), (7, -1)]
    b.stimuli = replace(STIMULI, emotions=STIMULI.emotions[:7])
    with pytest.raises(NotApplicable, match="about 'e7', of which there are no passages"):
        measured(b)


# excursions


def test_an_excursion_is_the_fitted_change_from_the_first_value_to_the_last() -> None:
    rng = np.random.default_rng(0)
    counts, directions = [4, 6, 2], rng.normal(size=(3, 5))
    features = rng.normal(size=(12, 5))
    found = excursions(features, counts, directions)
    for i, rows in enumerate((features[:4], features[4:10], features[10:])):
        slopes = np.polyfit(np.arange(len(rows)), rows @ directions.T, 1)[0]
        assert found[i] == pytest.approx(slopes * (len(rows) - 1))
    assert found[2] == pytest.approx((features[11] - features[10]) @ directions.T)


def test_one_templates_texts_move_no_other_templates_excursion() -> None:
    rng = np.random.default_rng(1)
    features, directions = rng.normal(size=(9, 4)), rng.normal(size=(2, 4))
    before = excursions(features, [4, 5], directions)
    features[3] += 100.0
    after = excursions(features, [4, 5], directions)
    assert after[1] == pytest.approx(before[1])
    assert (np.abs(after[0] - before[0]) > 1).all()


def test_reversing_the_values_reverses_the_excursion_and_a_shared_offset_leaves_it() -> None:
    rng = np.random.default_rng(2)
    features, directions = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    before = excursions(features, [5], directions)
    assert excursions(features[::-1], [5], directions) == pytest.approx(-before)
    assert excursions(features + 1000.0, [5], directions) == pytest.approx(before, abs=1e-9)
    assert excursions(3 * features, [5], -directions) == pytest.approx(-3 * before)


# superiority


def test_superiority_by_hand() -> None:
    spread = np.array([[1.0, 2.0]])  # with both signs: -2, -1, 1, 2
    assert superiority(np.array([[1.5]]), spread, [[(0, 1)]]) == pytest.approx([3 / 4])
    assert superiority(np.array([[1.5]]), spread, [[(0, -1)]]) == pytest.approx([1 / 4])
    assert superiority(np.array([[1.0]]), spread, [[(0, 1)]]) == pytest.approx([5 / 8])
    assert superiority(np.array([[9.0, -9.0, 0.0]]), spread, [[(0, 1), (1, 1), (2, 1), (1, -1)]]) == pytest.approx(
        [(1 + 0 + 1 / 2 + 1) / 4]
    )


def test_texts_that_do_not_change_give_exactly_one_half() -> None:
    features = np.repeat(np.random.default_rng(0).normal(size=(1, 6)), 4, axis=0)
    drawn = random_directions(20, 6, np.random.default_rng(1))
    moved, spread = np.zeros((1, 2)), excursions(features, [4], drawn)
    assert superiority(moved, spread * 0, [[(0, 1), (1, -1)]]) == pytest.approx([0.5])
    assert superiority(moved, spread, [[(0, 1), (1, -1)]]) == pytest.approx([0.5])


@settings(max_examples=40, deadline=None)
@given(arrays(int, (3, 4), elements=st.integers(-3, 3)), arrays(int, (3, 6), elements=st.integers(-3, 3)))
def test_the_opposite_expectation_has_the_opposite_superiority_and_signs_of_random_directions_say_nothing(
    moved: np.ndarray, spread: np.ndarray
) -> None:
    told, against = [[(0, 1), (2, -1)]] * 3, [[(0, -1), (2, 1)]] * 3
    found = superiority(moved, spread, told)
    assert found + superiority(moved, spread, against) == pytest.approx(np.ones(3))
    assert superiority(-moved, spread, against) == pytest.approx(found)
    assert superiority(5 * moved, 5 * spread * np.array([1, -1, 1, -1, 1, -1]), told) == pytest.approx(found)


def test_a_direction_as_random_as_the_others_is_superior_to_half_of_them() -> None:
    rng = np.random.default_rng(3)
    moved, spread = rng.normal(size=(400, 1)), rng.normal(size=(400, 20))
    assert superiority(moved, spread, [[(0, 1)]] * 400).mean() == pytest.approx(0.5, abs=0.05)


def test_an_excursion_that_is_not_a_number_has_no_superiority() -> None:
    found = superiority(np.array([[np.nan], [1.0]]), np.array([[np.nan], [0.5]]), [[(0, 1)], [(0, 1)]])
    assert np.isnan(found[0])
    assert found[1] == 1


# what is described


def test_rank_correlations_are_one_for_any_monotone_rise_and_excursions_are_in_sds_of_random_ones() -> None:
    stimuli = replace(STIMULI, templates=(Template("t", ("a", "b", "c", "d"), ("e0",), ("e1",)),))
    b = replace(bench(1, told=2.0), stimuli=stimuli)
    features = np.outer([0.0, 0.1, 0.2, 9.0], np.ones(WIDTH))
    vectors = np.eye(len(NAMES), WIDTH)
    told, moved = statements(b), excursions(features, [4], vectors)
    rows = intensity.described(b, told, moved, np.array([[3.0, -3.0]]), features, vectors)
    assert [(row["template"], row["emotion"], row["expected"]) for row in rows] == [("t", "e0", "rises"), ("t", "e1", "falls")]
    assert [row["rho"] for row in rows] == pytest.approx([1.0, 1.0])
    assert [row["excursion"] for row in rows] == pytest.approx([moved[0, 0] / 3] * 2)
    still = intensity.described(b, told, moved, np.zeros((1, 2)), -features, vectors)
    assert [row["rho"] for row in still] == pytest.approx([-1.0, -1.0])
    assert np.isnan([row["excursion"] for row in still]).all()


def test_a_read_out_that_never_moves_has_no_rank_correlation() -> None:
    stimuli = replace(STIMULI, templates=(Template("t", ("a", "b", "c", "d"), ("e0",), ("e1",)),))
    b = replace(bench(1, told=2.0), stimuli=stimuli)
    rows = intensity.described(b, statements(b), np.zeros((1, 8)), np.ones((1, 2)), np.ones((4, WIDTH)), np.eye(len(NAMES), WIDTH))
    assert [row["rho"] for row in rows] == pytest.approx([0.0, 0.0])


def test_values_that_a_model_cannot_tell_apart_move_nothing_at_all() -> None:
    rng = np.random.default_rng(3)
    alike = np.repeat(rng.normal(size=(1, WIDTH)).astype(np.float32), 6, axis=0)
    assert np.array_equal(excursions(alike, [6], rng.normal(size=(4, WIDTH))), np.zeros((1, 4)))
