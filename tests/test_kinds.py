"""Other kinds of text: planted vectors rise on them, each kind on the scale of the others, and nothing is worth one half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import load_claims
from cases.emotions import Emotion
from cases.stimuli import KindPair, Passage
from fixtures import kinds, nulls, verdicts
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.kinds import by_emotion, own_rows, standardised
from fixtures.nulls import PERMUTED, chance
from fixtures.separation import areas
from fixtures.statistics import auroc, bootstrap_estimate, on_each
from fixtures.verdicts import INCONCLUSIVE, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli, null

CLAIM = load_claims()["kinds"]
NAMES = tuple(f"e{i}" for i in range(16))
KINDS = ("letter", "notice", "dialogue", "report", "tale")
TOPICS, WIDTH, NEUTRAL = 4, 24, 12
STIMULI = few_stimuli(
    emotions=tuple(Emotion(name, 0.5 if i < 8 else -0.5, 0.0, "", (name,), ()) for i, name in enumerate(NAMES)),
    implicit=tuple(Passage(name, f"topic {t}", f"{name} {t}") for name in NAMES for t in range(TOPICS)),
    neutral=tuple(f"neutral {i}" for i in range(NEUTRAL)),
    kinds=tuple(KindPair(f"{k}/{n}", k, n, f"{k} of {n}", f"{k} beside {n}") for k in KINDS for n in NAMES[::-1]),
)
COUNT = len(STIMULI.kinds)
KIND = np.array([pair.kind for pair in STIMULI.kinds])


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "bootstrap_estimate", lambda *args, **rest: bootstrap_estimate(*args, **{**rest, "draws": 100}))
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def texts(rng: np.random.Generator, own: float) -> dict[str, np.ndarray]:
    """Return features of all texts; the emotional ones of another kind carry `own` of their emotion's axis.

    Neutral passages vary along the last axis; the two texts of a pair share what their kind and their setting add.
    """
    axes = np.eye(len(NAMES), WIDTH)
    style = {kind: rng.normal(size=WIDTH) for kind in KINDS}
    setting = np.stack([style[pair.kind] for pair in STIMULI.kinds]) + 0.3 * rng.normal(size=(COUNT, WIDTH))
    emotional = setting + own * axes[[NAMES.index(pair.emotion) for pair in STIMULI.kinds]]
    return {
        "implicit": 3.0 * np.repeat(axes, TOPICS, axis=0) + 0.3 * rng.normal(size=(len(STIMULI.implicit), WIDTH)),
        "neutral": rng.normal(size=(NEUTRAL, 1)) * np.eye(WIDTH)[23],
        "kinds": np.concatenate([emotional, setting]) + 0.3 * rng.normal(size=(2 * COUNT, WIDTH)),
    }


def bench(seed: int, own: float, *, twin: float = 0.0, words: float = 0.0, twins: bool = True) -> Bench:
    """Return a bench on planted `texts`; the untrained twins' rise by `twin`, the text-only twin's by `words`."""
    planted, alone = texts(np.random.default_rng(seed), own), texts(np.random.default_rng([seed, 1]), words)
    features, keys = np.concatenate(list(alone.values())), ("implicit", "neutral", "kinds")
    found = Bench(
        make=SimpleNamespace,  # type: ignore[arg-type]
        stimuli=STIMULI,
        settings=Settings(seed=seed, layer=0),
        _captured={key: Activations(values[:, None].astype(np.float32), (0,)) for key, values in planted.items()},
        _measured={f"tfidf {keys}": features, f"embeddings {keys}": features},
    )
    if twins:
        found.twins = tuple(bench(1000 * seed + i + 1, twin, twins=False) for i in range(3))
    return found


def changed(b: Bench, change: Callable[[np.ndarray], np.ndarray]) -> Bench:
    """Return the bench after its texts of other kinds, the emotional ones on the neutral ones, were changed."""
    values = change(b._captured["kinds"].values[:, 0].astype(np.float64).copy())
    b._captured["kinds"] = Activations(values[:, None].astype(np.float32), (0,))
    return b


def measured(b: Bench, case: str = "present") -> Measurement:
    return kinds.measure(b, CLAIM.case(case))


def value(m: Measurement) -> float:
    return m.statistic(np.arange(len(m.clusters)))


def verdict(m: Measurement, case: str = "present", seed: int = 0) -> Judgement:
    return judge(m, CLAIM, CLAIM.case(case), np.random.default_rng(seed))


# the instrument


@pytest.mark.parametrize("case", ["present", "beyond-words"])
def test_vectors_that_rise_on_their_own_texts_are_found_on_every_kind(case: str) -> None:
    m = measured(bench(1, own=5.0), case)
    found = verdict(m, case)
    assert (found.verdict, found.estimate.clusters, len(m.items), m.layer) == (SUPPORTED, len(NAMES), COUNT, 0)
    assert found.estimate.value > 0.9
    assert m.details["within pair"] == 1
    assert [row["kind"] for row in m.details["kinds"]] == list(KINDS)
    assert min(row["auroc"] for row in m.details["kinds"]) > 0.9
    assert null(m, PERMUTED).draws.max() < found.estimate.value


def test_texts_of_noise_are_worth_one_half_and_supported_in_at_most_5_per_cent() -> None:
    found, values, centres = Counter[str](), [], []
    for seed in range(40):
        m = measured(bench(seed, own=0.0))
        found[verdict(m, seed=seed).verdict] += 1
        values.append(value(m))
        centres.append([null(m, PERMUTED).level, null(m, "random directions").level])
    assert found[SUPPORTED] <= 2
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)
    assert np.mean(centres, axis=0) == pytest.approx([0.5, 0.5], abs=0.03)


def test_a_rise_that_every_emotion_shows_on_every_emotional_text_is_not_supported() -> None:
    def excited(values: np.ndarray) -> np.ndarray:
        # an arousal that half of the vectors share, whatever the text is about
        values[:COUNT] += 4.0 * np.eye(WIDTH)[:4].sum(axis=0)
        return values

    m = measured(changed(bench(1, own=0.0), excited))
    assert verdict(m).verdict != SUPPORTED
    assert value(m) == pytest.approx(null(m, PERMUTED).level, abs=0.05)


def test_what_the_untrained_twin_or_the_words_share_is_not_supported() -> None:
    b = bench(1, own=5.0, twin=5.0, words=5.0)
    present, beyond = verdict(measured(b)), verdict(measured(b, "beyond-words"), "beyond-words")
    assert SUPPORTED not in (present.verdict, beyond.verdict)
    assert present.against.kind == "untrained twin"
    assert beyond.against.kind == "text-only twin (TF-IDF)"


def test_the_two_texts_of_a_pair_exchanged_turn_the_area_round() -> None:
    def exchanged(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[COUNT:], values[:COUNT]])

    m = measured(changed(bench(1, own=5.0), exchanged))
    assert value(m) < 0.1
    assert m.details["within pair"] == 0


def test_a_kind_on_which_nothing_rises_is_seen_in_its_own_row_alone() -> None:
    def flat(values: np.ndarray) -> np.ndarray:
        here = np.flatnonzero(KIND == "report")
        values[here], values[COUNT + here] = values[COUNT + here].copy(), values[here].copy()
        return values

    rows = {row["kind"]: row for row in measured(changed(bench(1, own=5.0), flat)).details["kinds"]}
    assert rows["report"]["auroc"] < 0.1
    assert min(row["auroc"] for kind, row in rows.items() if kind != "report") > 0.9
    assert rows["report"]["without it"] > 0.9 > max(row["without it"] for kind, row in rows.items() if kind != "report")


def test_neither_the_scale_of_activations_nor_what_all_texts_share_is_seen() -> None:
    before = measured(bench(2, own=1.0))
    after = measured(changed(bench(2, own=1.0), lambda values: 64 * (values + 10 * np.eye(WIDTH)[0])))
    assert 0.55 < value(before) < 0.95
    assert value(after) == pytest.approx(value(before), abs=0.01)
    assert null(after, PERMUTED).level == pytest.approx(null(before, PERMUTED).level, abs=0.01)


def test_the_order_of_the_pairs_decides_nothing() -> None:
    order = np.random.default_rng(0).permutation(COUNT)
    b = changed(bench(3, own=1.0), lambda values: np.concatenate([values[:COUNT][order], values[COUNT:][order]]))
    b.stimuli = replace(STIMULI, kinds=tuple(STIMULI.kinds[i] for i in order))
    before, after = measured(bench(3, own=1.0)), measured(b)
    assert value(after) == pytest.approx(value(before))
    scores = [{row["id"]: row["score"] for row in m.items} for m in (before, after)]
    assert scores[0] == pytest.approx(scores[1])


def test_an_item_names_its_texts_own_scores_and_the_share_of_neutral_texts_that_it_outranks() -> None:
    m = measured(bench(4, own=1.0))
    first, second = (np.array([row[side] for row in m.items]) for side in ("first", "second"))
    assert [row["id"] for row in m.items] == [pair.id for pair in STIMULI.kinds]
    assert value(m) == pytest.approx(auroc(first, second))
    assert np.mean([row["score"] for row in m.items]) == pytest.approx(value(m))


def test_an_activation_that_is_not_a_number_leaves_nothing_to_conclude() -> None:
    def broken(values: np.ndarray) -> np.ndarray:
        values[3] = np.nan
        return values

    found = verdict(measured(changed(bench(1, own=5.0), broken)))
    assert np.isnan(found.estimate.value)
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "the interval cannot be computed")


@pytest.mark.parametrize(
    ("own", "rows"),
    [
        ([0, 0, 1, 1, 2, 2], [[0, 1, 0, 1, 4, 5], [2, 3, 4, 5, 2, 3]]),
        ([2, 1, 1, 0, 2, 2], [[3, 3, 0, 4, 5], [1, 2, 0, 4, 5, 1, 2]]),
    ],
)
def test_an_emotion_is_taken_with_all_its_texts_however_many_these_are(own: list[int], rows: list[list[int]]) -> None:
    scores, takes = np.random.default_rng(0).normal(size=(2, 6)), np.array([[0, 0, 2], [1, 2, 1]])
    found = on_each(by_emotion(scores, np.array(own)), takes)
    np.testing.assert_allclose(found, [auroc(scores[0][some], scores[1][some]) for some in rows])


def test_what_the_texts_of_an_emotion_share_widens_the_interval() -> None:
    b = bench(1, own=0.0)
    own = own_rows(b)
    shared = np.random.default_rng(4).normal(size=len(NAMES))[own, None] * np.eye(len(NAMES), WIDTH)[own]
    m = replace(measured(changed(b, lambda values: values + np.concatenate([shared, np.zeros_like(shared)]))), nulls=(chance(0.5),))
    scores = np.array([[item["first"], item["second"]] for item in m.items]).T
    by_pair = replace(m, clusters=tuple(item["id"] for item in m.items), statistic=areas(scores))
    wide, narrow = (verdict(each).estimate for each in (m, by_pair))
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


def test_an_emotion_without_a_vector_makes_the_claim_not_applicable() -> None:
    b = bench(1, own=5.0)
    assert own_rows(b).tolist() == list(range(len(NAMES)))[::-1] * len(KINDS)
    b.stimuli = replace(STIMULI, emotions=STIMULI.emotions[1:])
    with pytest.raises(NotApplicable, match="about 'e0', of which there are no passages"):
        measured(b)


# standardised


def test_read_outs_are_in_sds_of_the_neutral_texts_of_the_other_kinds() -> None:
    read = np.array([[[5.0], [6.0], [7.0]], [[1.0], [2.0], [4.0]]])
    found = standardised(read, np.array(["a", "b", "b"]))
    # kind a on the neutral texts 2 and 4 (mean 3, SD 1); kind b on the only other one, which has no spread
    assert found[:, :, 0] == pytest.approx(np.array([[2.0, 5.0, 6.0], [-2.0, 1.0, 3.0]]))


def test_the_neutral_texts_of_a_kind_say_nothing_about_its_own_scale() -> None:
    rng = np.random.default_rng(0)
    read, own = rng.normal(size=(2, 9, 3)), np.repeat(["a", "b", "c"], 3)
    before = standardised(read, own)
    read[1, :3] = 40 + 7 * read[1, :3]
    after = standardised(read, own)
    assert after[0, :3] == pytest.approx(before[0, :3])
    assert (np.abs(after[0, 3:] - before[0, 3:]) > 1e-3).all()


def test_emotional_texts_set_nobodys_scale() -> None:
    rng = np.random.default_rng(1)
    read, own = rng.normal(size=(2, 8, 3)), np.repeat(["a", "b"], 4)
    before = standardised(read, own)
    read[0, 0] += 100.0
    after = standardised(read, own)
    assert after[1] == pytest.approx(before[1])
    assert after[0, 1:] == pytest.approx(before[0, 1:])
    assert (after[0, 0] - before[0, 0] > 10).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), st.lists(st.floats(0.01, 100), min_size=3, max_size=3), st.lists(st.floats(-100, 100), min_size=3, max_size=3))
def test_neither_the_scale_nor_the_offset_of_a_vector_is_seen(seed: int, scale: list[float], offset: list[float]) -> None:
    rng = np.random.default_rng(seed)
    read, own = rng.normal(size=(2, 12, 3)), rng.permutation(np.repeat(["a", "b", "c"], 4))
    np.testing.assert_allclose(standardised(read * scale + offset, own), standardised(read, own), rtol=1e-6, atol=1e-6)


def test_a_single_kind_is_standardised_on_its_own_neutral_texts() -> None:
    read = np.random.default_rng(2).normal(size=(2, 6, 2))
    found = standardised(read, np.full(6, "a"))
    assert found[1].mean(axis=0) == pytest.approx([0, 0])
    assert found[1].std(axis=0) == pytest.approx([1, 1])


def test_neutral_texts_alike_but_for_rounding_count_as_alike() -> None:
    emotional = np.arange(6.0)[:, None]
    exact, rounded = (standardised(np.stack([emotional, np.full((6, 1), level)]), np.repeat(["a", "b"], 3)) for level in (0.5, 0.1))
    assert rounded == pytest.approx(exact + 0.4 * np.array([1, 0])[:, None, None], abs=1e-9)
