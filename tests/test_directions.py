"""Directions to compare with: what each random kind keeps of the model's own, and how those of concepts stand in for emotions'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import Case, load_claims
from cases.emotions import Emotion, load_emotions
from cases.stimuli import Passage, Prompt
from fixtures import dose, lift, nulls, sweeps
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.directions import KINDS, concept_directions, permuted_coordinates, random_kinds, variance_matched
from fixtures.sweeps import SAMPLES, Sweep, plan, target
from fixtures.vectors import neutral_components, project_out, unit
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, judge
from tests.planted import few_stimuli, null

NAMES = ("calm", "angry", "sad")
WIDTH, EACH, NEUTRAL = 12, 3, 40
AXES = (0, 1)
"""The only coordinates along which neutral texts vary, the first three times as much as the second."""


def bench(seed: int = 0, *, run: int | None = None) -> Bench:
    rng = np.random.default_rng(seed)
    stimuli = few_stimuli(
        emotions=tuple(Emotion(name, 0.0, 0.0, name, (name,), ()) for name in NAMES),
        implicit=tuple(Passage(name, str(t), f"{name} {t}") for name in NAMES for t in range(EACH)),
        neutral=tuple(f"neutral {i}" for i in range(NEUTRAL)),
    )
    neutral = np.zeros((NEUTRAL, WIDTH))
    neutral[:, AXES] = rng.normal(size=(NEUTRAL, 2)) * [3.0, 1.0] + 50.0
    rows = {"implicit": rng.normal(size=(len(NAMES) * EACH, WIDTH)), "neutral": neutral}
    # a second layer that is not the judged one
    captured = {key: Activations(np.stack([values, rng.normal(size=values.shape)], axis=1), (0, 1)) for key, values in rows.items()}
    settings = Settings(seed=seed if run is None else run, layer=0)
    return Bench(make=lambda: None, stimuli=stimuli, settings=settings, _captured=captured)  # type: ignore[arg-type, return-value]


def test_there_are_as_many_unit_directions_of_every_kind_as_asked() -> None:
    found = random_kinds(bench(), "implicit", 25, "a test")
    assert tuple(found) == KINDS
    for drawn in found.values():
        assert drawn.shape == (25, WIDTH)
        assert np.linalg.norm(drawn, axis=1) == pytest.approx(np.ones(25))
        assert len(np.unique(drawn.round(9), axis=0)) == 25


def test_directions_are_determined_by_the_runs_seed_and_the_purpose_alone() -> None:
    first, same, purpose, seed = (
        random_kinds(bench(0, run=run), "implicit", 6, what) for run, what in ((0, "a"), (0, "a"), (0, "b"), (1, "a"))
    )
    for kind in KINDS:
        assert (first[kind] == same[kind]).all()
        for other in (purpose, seed):
            assert not np.isclose(np.abs((first[kind] * other[kind]).sum(axis=1)), 1).all()


def test_permuted_directions_have_the_sizes_of_one_of_the_models_own_vectors_and_all_of_them_are_used() -> None:
    b = bench()
    sizes = np.sort(b.vectors("implicit").unit, axis=1)
    drawn = np.sort(random_kinds(b, "implicit", 60, "a test")["coordinate-permuted"], axis=1)
    near = np.abs(drawn[:, None] - sizes[None]).max(axis=2)
    assert near.min(axis=1) == pytest.approx(np.zeros(60), abs=1e-9)
    assert set(near.argmin(axis=1)) == set(range(len(NAMES)))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(2, 8), st.integers(0, 1000))
def test_permuting_coordinates_commutes_with_scaling_and_keeps_unit_sizes(rows: int, width: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, width))
    small, large = (permuted_coordinates(scale * vectors, 4, np.random.default_rng(seed)) for scale in (1.0, 1024.0))
    assert large == pytest.approx(small)
    for drawn in small:
        assert any(np.sort(drawn) == pytest.approx(np.sort(own)) for own in unit(vectors))


def test_permuted_coordinates_lose_their_place() -> None:
    drawn = permuted_coordinates(np.eye(8)[:1], 4000, np.random.default_rng(0))
    # one large coordinate lands everywhere alike, and differently from row to row
    assert drawn.mean(axis=0) == pytest.approx(np.full(8, 1 / 8), abs=0.025)


def test_matched_directions_vary_as_neutral_texts_do_and_nowhere_else() -> None:
    b = bench()
    drawn = random_kinds(b, "implicit", 6000, "a test")["variance-matched"]
    assert np.abs(np.delete(drawn, AXES, axis=1)).max() < 1e-9
    assert drawn.mean(axis=0) == pytest.approx(np.zeros(WIDTH), abs=0.04)
    # the angle of a normal draw is known: its first principal axis is the larger with this probability
    spread = b.activations("neutral").at(0)
    _, sizes, axes = np.linalg.svd(spread - spread.mean(axis=0), full_matrices=False)
    first, second = np.abs(drawn @ axes[0]), np.abs(drawn @ axes[1])
    assert (first > second).mean() == pytest.approx(2 / np.pi * np.arctan(sizes[0] / sizes[1]), abs=0.025)
    assert (first > second).mean() > 0.7


def test_isotropic_directions_prefer_no_axis() -> None:
    drawn = random_kinds(bench(), "implicit", 6000, "a test")["isotropic"]
    assert drawn.T @ drawn / len(drawn) == pytest.approx(np.eye(WIDTH) / WIDTH, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_matched_directions_do_not_see_the_mean_or_the_size_of_neutral_texts(seed: int, scale: float, offset: float) -> None:
    neutral = np.random.default_rng(seed).normal(size=(10, 6))
    plain, moved = (variance_matched(values, 5, np.random.default_rng(1)) for values in (neutral, scale * neutral + offset))
    assert moved == pytest.approx(plain, abs=1e-6)


def test_matched_directions_are_drawn_in_double_precision_from_single_precision_texts() -> None:
    neutral = np.random.default_rng(0).normal(size=(10, 6))
    single = variance_matched((neutral + 1000).astype(np.float32), 4, np.random.default_rng(1))
    assert single.dtype == np.float64
    assert single == pytest.approx(variance_matched(neutral, 4, np.random.default_rng(1)), abs=1e-3)


def test_neutral_texts_that_do_not_vary_give_zero_and_not_nan() -> None:
    assert (variance_matched(np.ones((4, 6)), 3, np.random.default_rng(0)) == 0).all()


# concepts that are no emotions

CONCEPTS = ("formal", "culinary", "spatial")


def with_concepts(values: np.ndarray, labels: tuple[str, ...], seed: int = 0) -> Bench:
    """Return the bench with passages of concepts at the judged layer, and others at the other one."""
    b = bench(seed)
    other = np.random.default_rng(99).normal(size=values.shape)
    b.stimuli = replace(b.stimuli, concepts=tuple(Passage(name, str(i), f"{name} {i}") for i, name in enumerate(labels)))
    b._captured["concepts"] = Activations(np.stack([values, other], axis=1), (0, 1))
    return b


def about(seed: int = 0, own: float = 0.0) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return passages of concepts, mixed, each `own` times an axis of its concept's own beside noise."""
    rng = np.random.default_rng(seed)
    labels = CONCEPTS * EACH
    place = np.array([CONCEPTS.index(name) + len(AXES) for name in labels])
    return rng.normal(size=(len(labels), WIDTH)) + own * np.eye(WIDTH)[place], labels


def test_without_concepts_there_is_no_direction() -> None:
    names, vectors = concept_directions(bench())
    assert names == ()
    assert vectors.shape == (0, WIDTH)


@pytest.mark.parametrize("layer", [0, 1])
def test_a_concepts_direction_is_the_mean_of_its_passages_less_that_of_all_concepts_without_what_neutral_texts_vary_in(layer: int) -> None:
    values, labels = about()
    b = with_concepts(values, labels)
    b.settings = replace(b.settings, layer=layer)
    values = b.activations("concepts").at(layer)
    names, vectors = concept_directions(b)
    assert names == CONCEPTS
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(CONCEPTS)))
    means = np.stack([np.mean([v for v, label in zip(values, labels, strict=True) if label == name], axis=0) for name in CONCEPTS])
    axes = neutral_components(b.activations("neutral").at(layer))
    assert vectors == pytest.approx(unit(project_out(means - means.mean(axis=0), axes)))
    assert np.abs(vectors @ axes.T).max() < 1e-9


def test_planted_concepts_point_along_their_own_axes() -> None:
    names, vectors = concept_directions(with_concepts(*about(own=50.0)))
    own = vectors[:, len(AXES) : len(AXES) + len(names)]
    assert np.diag(own).min() > 0.7
    assert own[~np.eye(len(names), dtype=bool)].max() < 0  # what all concepts share is taken away


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(len(CONCEPTS) * EACH)), st.floats(0.01, 100), st.floats(-50, 50))
def test_the_order_of_passages_and_what_all_share_and_its_scale_change_no_concepts_direction(
    order: list[int], scale: float, offset: float
) -> None:
    values, labels = about()
    plain = dict(zip(*concept_directions(with_concepts(values, labels)), strict=True))
    moved = with_concepts(scale * values[order] + offset, tuple(labels[i] for i in order))
    names, vectors = concept_directions(moved)
    assert names == tuple(dict.fromkeys(labels[i] for i in order))
    for name, vector in zip(names, vectors, strict=True):
        assert vector == pytest.approx(plain[name], abs=1e-6)


def test_emotions_and_the_runs_seed_change_no_concepts_direction() -> None:
    values, labels = about()
    b = with_concepts(values, labels)
    plain = concept_directions(b)[1]
    b._captured["implicit"] = Activations(np.random.default_rng(7).normal(size=b.activations("implicit").values.shape), (0, 1))
    b.settings = replace(b.settings, seed=5)
    assert (concept_directions(b)[1] == plain).all()


# concepts in the emotions' places

CLAIMS = load_claims()
EMOTIONS = tuple(load_emotions())
DOSE = CLAIMS["dose_response"].case("implicit")
STEERED = len(DOSE.settings["emotions"])
PROMPTS, RANDOM = 20, 20


def steered_bench(concepts: int = 3) -> Bench:
    """Return a bench of the core emotions with random activations."""
    rng = np.random.default_rng(5)
    stimuli = few_stimuli(
        emotions=EMOTIONS,
        implicit=tuple(Passage(e.name, str(t), f"{e.name} {t}") for e in EMOTIONS for t in range(EACH)),
        concepts=tuple(Passage(name, str(t), f"{name} {t}") for name in CONCEPTS[:concepts] for t in range(EACH)),
        neutral=tuple(f"neutral {i}" for i in range(12)),
        prompts=tuple(Prompt(f"prompt {i}", f"text {i}", " He felt") for i in range(PROMPTS)),
        frames=("He feels",),
    )
    counts = {"implicit": len(stimuli.implicit), "concepts": len(stimuli.concepts), "neutral": 12}
    return Bench(
        make=lambda: None,  # type: ignore[arg-type, return-value]
        stimuli=stimuli,
        settings=Settings(layer=0),
        _captured={key: Activations(rng.normal(size=(count, 1, WIDTH)), (0,)) for key, count in counts.items()},
        _measured={"norms": np.ones(1)},
    )


def dosed(ours: float, theirs: list[float], case: Case = DOSE) -> tuple[Measurement, Judgement]:
    """Measure a sweep in which emotions raise their own read-out by `ours` times the strength, and each concept all of them by its own."""
    b = steered_bench(len(theirs))
    which, strength, rows = plan(b, case)
    readout = 0.3 * np.random.default_rng(0).normal(size=(PROMPTS, len(rows), len(EMOTIONS)))
    for row, (d, s) in enumerate(zip(which, strength, strict=True)):
        if d < STEERED:
            readout[:, row, target(b, case, int(d))] += ours * s
        elif d >= STEERED + RANDOM:
            readout[:, row] += theirs[d - STEERED - RANDOM] * s
    still, ones = np.zeros((PROMPTS, len(rows))), np.ones((PROMPTS, len(rows)))
    base = {"nll": np.linspace(0.5, 1.5, 40), "distinct": np.ones(SAMPLES), "loop": np.zeros(SAMPLES)}
    names = CONCEPTS[: len(theirs)]
    texts = [[f"text {row}" for row in range(len(rows))]] * PROMPTS
    found = Sweep(which, strength, readout, ones, ones, still, ones, base, texts, names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_sweep", lambda bench, case: found)
        patch.setitem(nulls.PERMUTATIONS, "quick", 20)
        m = dose.measure(b, case)
    return m, judge(m, CLAIMS["dose_response"], case, np.random.default_rng(0))


def test_a_dose_response_that_directions_of_concepts_do_not_have_is_supported() -> None:
    m, found = dosed(6.0, [0.0, 0.0, 0.0])
    assert found.verdict == SUPPORTED
    assert null(m, "concept directions").draws == pytest.approx(np.full(3, 0.5), abs=0.12)
    assert len(null(m, "concept directions").draws) == 3


def test_a_dose_response_that_directions_of_concepts_have_as_well_is_not_supported() -> None:
    m, found = dosed(6.0, [6.0, 6.0, 6.0])
    assert found.against.kind == "concept directions"
    assert found.verdict in (REFUTED, INCONCLUSIVE)
    assert m.statistic(np.arange(PROMPTS)) > 0.95


def test_every_concept_is_a_draw_of_its_own_and_none_is_taken_for_a_random_direction() -> None:
    m, _ = dosed(0.0, [6.0, 0.0, -6.0])
    up, even, down = null(m, "concept directions").draws
    assert (up, down) == (pytest.approx(1.0, abs=0.05), pytest.approx(0.0, abs=0.05))
    assert even == pytest.approx(0.5, abs=0.12)
    # were concepts among the random directions, those that rise steeply would lower the value
    assert dosed(3.0, [60.0] * 3)[0].statistic(np.arange(PROMPTS)) == dosed(3.0, [0.0] * 3)[0].statistic(np.arange(PROMPTS)) > 0.9


def test_without_concepts_there_is_no_such_null() -> None:
    m, found = dosed(6.0, [])
    assert not [n for n in m.nulls if n.kind == "concept directions"]
    assert found.verdict == SUPPORTED


def test_texts_under_a_concepts_direction_are_told_by_its_name() -> None:
    told = dosed(1.0, [0.0, 0.0])[0].texts["prompt 0"]
    assert [line.split(" +")[0] for line in told[-8:]] == ["formal"] * 4 + ["culinary"] * 4
    assert told[-9].startswith(f"random {RANDOM} ")


def lifted(rival: str, ours: float, theirs: float) -> Measurement:
    """Measure self-steering in which emotions raise their own word by `ours` and concepts every word by `theirs`."""
    case, b, count = CLAIMS["self_steering"].case(f"implicit-over-{rival}"), steered_bench(), len(EMOTIONS)
    emotions = ours * np.eye(count)
    blocks = [emotions, np.zeros((lift.randoms(b), count)), *(emotions for _ in case.settings["reported"]), emotions]
    table = np.concatenate([*blocks, np.full((len(CONCEPTS), count), theirs)])
    b.twins = (b,)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lift, "sweep", lambda bench, case: table)
        patch.setitem(nulls.PERMUTATIONS, "quick", 2)
        return lift.measure(b, case)


def test_a_concept_in_an_emotions_place_beats_random_directions_where_it_raises_the_word_more() -> None:
    for theirs, level in ((5.0, 1.0), (-5.0, 0.0)):
        found = null(lifted("random", 1.0, theirs), "concept directions")
        assert (list(found.draws), found.level) == ([level] * len(CONCEPTS), level)


def test_a_concept_in_an_emotions_place_beats_the_other_emotions_where_it_raises_the_word_more() -> None:
    assert list(null(lifted("emotions", 1.0, 5.0), "concept directions").draws) == [1.0] * len(CONCEPTS)
