"""Which contrast's direction separates which pairs: a planted emotion and its planted rivals come apart."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from cases.claims import Case, Needs, load_claims
from cases.emotions import load_emotions
from cases.stimuli import Pair
from fixtures import contrasts, nulls, separation, verdicts
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.contrasts import direction, matrix, measure, rivals, sides
from fixtures.nulls import PERMUTED
from fixtures.statistics import auroc, bootstrap_estimate
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, judge
from tests.planted import few_stimuli, null

CLAIM = load_claims()["fear"]
WIDTH, PAIRS = 24, 30
# what each side of a contrast has of fear, arousal, unpleasantness, threat: the first four axes of the space
SIDES = {
    "fear_calm": ((1, 1, 1, 1), (0, 0, 0, 0)),
    "fear_excitement": ((1, 1, 1, 1), (0, 1, 0, 0)),
    "fear_anger": ((1, 1, 1, 1), (0, 1, 1, 0)),
    "fear_sadness": ((1, 1, 1, 1), (0, 0, 1, 0)),
    "sadness_calm": ((0, 0, 1, 0), (0, 0, 0, 0)),
    "anger_joy": ((0, 1, 1, 0), (0, 1, 0, 0)),
    "unafraid_fear": ((0, 0, 0, 1), (1, 1, 1, 1)),
}
CONTRASTS = tuple(SIDES)
COUNTS = {name: PAIRS + i for i, name in enumerate(CONTRASTS)}
STIMULI = few_stimuli(
    emotions=tuple(load_emotions()),
    pairs={name: tuple(Pair(f"{name}/{i}", f"first {i}", f"second {i}") for i in range(count)) for name, count in COUNTS.items()},
)
FEAR, AROUSAL, EVERYTHING = (4.0, 0.0, 0.0, 0.0), (0.0, 4.0, 0.0, 0.0), (4.0, 4.0, 4.0, 4.0)
NOTHING = (0.0, 0.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=100))
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def activations(
    rng: np.random.Generator, weights: tuple[float, ...], of: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = SIDES
) -> dict[str, np.ndarray]:
    """Return each contrast's pairs: a shared situation, noise, and of every property so much as the side has and `weights` say."""
    rows = {}
    for name, has in of.items():
        situation = rng.normal(size=(COUNTS[name], WIDTH))
        means = np.zeros((2, WIDTH))
        means[:, :4] = np.array(has) * weights
        rows[name] = np.concatenate([situation + 0.5 * rng.normal(size=situation.shape) + mean for mean in means])
    return rows


def bench(
    weights: tuple[float, ...],
    seed: int = 0,
    *,
    twins: tuple[tuple[float, ...], ...] = (NOTHING, NOTHING),
    words: tuple[float, ...] = NOTHING,
    rows: dict[str, np.ndarray] | None = None,
) -> Bench:
    """Return a bench whose activations carry these weights of fear, arousal, unpleasantness, threat; `words` those of the text alone."""
    rows = rows or activations(np.random.default_rng(seed), weights)
    text = activations(np.random.default_rng(500 + seed), words)
    measured = {
        f"{kind} {(built, tested)}": np.concatenate([text[built], text[tested]])
        for kind in ("tfidf", "embeddings")
        for built in CONTRASTS
        for tested in CONTRASTS
    }
    found = Bench(
        make=lambda: SimpleNamespace(device="cpu"),  # type: ignore[arg-type,return-value]
        stimuli=STIMULI,
        settings=Settings(seed=seed, layer=0),
        _captured={name: Activations(values[:, None], (0,)) for name, values in rows.items()},
        _measured=measured,
    )
    found.twins = tuple(bench(twin, 900 + 10 * seed + i, twins=()) for i, twin in enumerate(twins))
    return found


def verdict(m: Measurement, case: str) -> Judgement:
    return judge(m, CLAIM, CLAIM.case(case), np.random.default_rng(0))


def value(m: Measurement) -> float:
    return m.statistic(np.arange(len(m.clusters)))


def test_a_direction_is_the_mean_difference_of_the_first_pairs_sides() -> None:
    features = np.arange(30.0).reshape(6, 5) ** 1.5
    np.testing.assert_allclose(direction(features, 3), (features[:3] - features[3:]).mean(axis=0))
    # what follows the two sides of the pairs, here another contrast's, has no part in it
    np.testing.assert_allclose(direction(features, 2), (features[:2] - features[2:4]).mean(axis=0))


def test_sides_are_projections_on_the_unit_direction_and_a_negative_sign_swaps_them() -> None:
    features = np.random.default_rng(0).normal(size=(8, 3))
    found = sides(features, 4, np.array([0.0, 5.0, 0.0]), 1)
    np.testing.assert_allclose(found, [features[:4, 1], features[4:, 1]])
    np.testing.assert_allclose(sides(features, 4, np.array([0.0, 5.0, 0.0]), -1), found[::-1])


@pytest.mark.parametrize("case", [case.name for case in CLAIM.cases])
def test_planted_fear_is_supported_in_every_case_also_where_fear_is_the_second_side(case: str) -> None:
    m = measure(bench(FEAR), CLAIM.case(case))
    found = verdict(m, case)
    tested = CLAIM.case(case).on
    assert (found.verdict, m.layer, m.clusters[0], len(m.clusters)) == (SUPPORTED, 0, f"{tested}/0", COUNTS[tested])
    assert found.estimate.value > 0.9


def test_arousal_alone_separates_fear_from_sadness_and_neither_from_excitement_nor_beyond_its_rival() -> None:
    b = bench(AROUSAL)
    assert value(measure(b, CLAIM.case("fear-sadness-present"))) > 0.9
    excitement = measure(b, CLAIM.case("fear-excitement-present"))
    assert value(excitement) == pytest.approx(0.5, abs=0.15)
    assert verdict(excitement, "fear-excitement-present").verdict != SUPPORTED


@pytest.mark.parametrize(
    ("case", "rival", "axis"),
    [
        ("fear-excitement-present", "arousal (anger - sadness)", 1),
        ("fear-anger-present", "valence (anger - joy)", 2),
        ("fear-anger-present", "threat (threatened but unafraid - calm)", 3),
        ("fear-sadness-present", "valence (anger - joy)", 2),
    ],
)
def test_what_a_rival_explains_is_not_supported_though_the_pairs_are_told_apart(case: str, rival: str, axis: int) -> None:
    # the tested pairs differ in the rival's property and in nothing else
    alone = tuple(int(i == axis) for i in range(4))
    rows = activations(np.random.default_rng(0), (2.5,) * 4, {**SIDES, CLAIM.case(case).on: (alone, (0, 0, 0, 0))})
    m = measure(bench(NOTHING, rows=rows), CLAIM.case(case))
    found = verdict(m, case)
    assert found.estimate.value > 0.7
    assert found.verdict in (REFUTED, INCONCLUSIVE)
    assert null(m, f"rival: {rival}").level > found.estimate.value
    assert found.net.value < 0


def test_rivals_are_signed_sums_of_the_contrasts_directions_and_never_built_from_the_pairs_under_test() -> None:
    b = bench(EVERYTHING)
    found = rivals(b, CLAIM.case("fear-anger-present"))
    values = {name: b.activations(name).at(0) for name in CONTRASTS}
    means = {name: rows[: COUNTS[name]].mean(axis=0) - rows[COUNTS[name] :].mean(axis=0) for name, rows in values.items()}
    expected = {
        "arousal (excitement - calm)": means["fear_calm"] - means["fear_excitement"],
        "valence (sadness - calm)": means["sadness_calm"],
        "valence (anger - joy)": means["anger_joy"],
        "threat (threatened but unafraid - calm)": means["unafraid_fear"] + means["fear_calm"],
    }
    assert list(found) == list(expected)
    for name, along in expected.items():
        np.testing.assert_allclose(found[name], along, atol=1e-9)
    for case in CLAIM.cases:
        assert all(case.on not in parts for parts in case.settings.get("rivals", {}).values())


@pytest.mark.parametrize(
    ("case", "rival", "axis"),
    [
        ("fear-excitement-present", "arousal (anger - sadness)", 1),
        ("fear-anger-present", "arousal (excitement - calm)", 1),
        ("fear-anger-present", "valence (sadness - calm)", 2),
        ("fear-anger-present", "valence (anger - joy)", 2),
        ("fear-anger-present", "threat (threatened but unafraid - calm)", 3),
        ("fear-sadness-present", "valence (anger - joy)", 2),
    ],
)
def test_a_rival_points_along_the_property_in_its_name(case: str, rival: str, axis: int) -> None:
    along = rivals(bench(EVERYTHING), CLAIM.case(case))[rival]
    assert along[axis] / np.linalg.norm(along) > 0.9


def test_a_rival_is_measured_on_the_pairs_under_test_and_paired_with_them() -> None:
    b, case = bench((1.0, 1.0, 1.0, 1.0)), CLAIM.case("fear-anger-present")
    m, name = measure(b, case), "valence (anger - joy)"
    scores = sides(b.activations("fear_anger").at(0), COUNTS["fear_anger"], rivals(b, case)[name], 1)
    found = null(m, f"rival: {name}")
    take = np.random.default_rng(0).integers(COUNTS["fear_anger"], size=COUNTS["fear_anger"])
    assert found.draws == pytest.approx([auroc(*scores)])
    assert found.statistic is not None
    assert found.statistic(take) == pytest.approx(auroc(scores[0][take], scores[1][take]))
    assert found.statistic(take) != pytest.approx(found.level, abs=1e-6)


@pytest.mark.parametrize("case", ["fear-sadness-present", "unafraid-fear-present"])
def test_a_contrast_that_the_untrained_twin_has_too_is_not_the_models(case: str) -> None:
    found = verdict(measure(bench(FEAR, twins=(FEAR, FEAR)), CLAIM.case(case)), case)
    assert found.estimate.value > 0.9
    assert (found.verdict == SUPPORTED, found.against.kind) == (False, "untrained twin")


def test_an_untrained_twin_is_asked_with_a_direction_of_its_own() -> None:
    # what is fear in the model lies along another axis of the twin: no direction of the model's would find it
    turned = {name: np.roll(rows, 5, axis=1) for name, rows in activations(np.random.default_rng(7), FEAR).items()}
    b = bench(FEAR)
    b.twins = (bench(NOTHING, rows=turned, twins=()),)
    twin = null(measure(b, CLAIM.case("fear-anger-present")), "untrained twin")
    assert twin.level > 0.9
    count = COUNTS["fear_anger"]
    own = contrasts.directed(b.twins[0], "fear_calm")
    assert twin.level == pytest.approx(auroc(*sides(turned["fear_anger"], count, own, 1)))


@pytest.mark.parametrize("case", ["fear-excitement-beyond-words", "unafraid-fear-beyond-words"])
def test_a_contrast_that_the_words_have_too_is_not_beyond_them(case: str) -> None:
    m = measure(bench(FEAR, words=FEAR), CLAIM.case(case))
    found = verdict(m, case)
    assert found.verdict != SUPPORTED
    assert found.against.kind.startswith("text-only twin")
    # both contrasts' features are cut where the first one's end
    assert all(null(m, f"text-only twin ({name})").level > 0.9 for name in ("TF-IDF", "mean input embeddings"))
    assert "contrast matrix" not in m.details


def test_a_text_only_twin_goes_through_the_arithmetic_of_the_model() -> None:
    rows = activations(np.random.default_rng(3), (1.0, 1.0, 1.0, 1.0))
    b = bench(NOTHING, rows=rows)
    for kind in ("tfidf", "embeddings"):
        b._measured[f"{kind} ('fear_calm', 'fear_anger')"] = np.concatenate([rows["fear_calm"], rows["fear_anger"]])
    m = measure(b, CLAIM.case("fear-anger-beyond-words"))
    take = np.random.default_rng(0).integers(COUNTS["fear_anger"], size=COUNTS["fear_anger"])
    twin = null(m, "text-only twin (TF-IDF)")
    assert twin.statistic is not None
    assert twin.level == pytest.approx(value(m))
    assert twin.statistic(take) == pytest.approx(m.statistic(take))


def test_noise_is_seldom_supported_and_its_permutations_centre_on_one_half() -> None:
    supported, centres = 0, []
    for seed in range(25):
        m = measure(bench(NOTHING, seed), CLAIM.case("fear-anger-present"))
        supported += verdict(m, "fear-anger-present").verdict == SUPPORTED
        centres.append(null(m, PERMUTED).level)
    assert supported <= 2
    assert np.mean(centres) == pytest.approx(0.5, abs=0.02)


def test_a_direction_of_luck_is_not_fear_where_all_pairs_of_a_contrast_differ_alike() -> None:
    """The sides differ in every dimension, so that about half of all directions tell them apart and no rival explains it."""
    supported = beyond = 0
    for seed in range(30):
        rng = np.random.default_rng([seed, 2])
        rows = activations(rng, NOTHING)
        for name, values in rows.items():
            values[: COUNTS[name]] += 0.5 * rng.normal(size=WIDTH)
        found = verdict(measure(bench(NOTHING, seed, rows=rows), CLAIM.case("unafraid-fear-present")), "unafraid-fear-present")
        supported += found.verdict == SUPPORTED
        beyond += found.net.low > 0
    assert supported <= 4
    assert beyond >= 6


def test_permuted_sides_do_not_carry_planted_fear_and_random_directions_neither() -> None:
    m = measure(bench(FEAR), CLAIM.case("fear-anger-present"))
    assert null(m, PERMUTED).level == pytest.approx(0.5, abs=0.05)
    assert np.quantile(null(m, PERMUTED).draws, 0.95) < 0.75
    assert len(null(m, "random directions").draws) == nulls.RANDOM_DIRECTIONS["quick"]
    assert abs(null(m, "random directions").level - 0.5) < 0.2 < value(m) - 0.5


@pytest.mark.parametrize("case", ["fear-anger-present", "unafraid-fear-present"])
def test_scaling_and_turning_the_space_changes_neither_value_nor_rivals(case: str) -> None:
    rows = activations(np.random.default_rng(2), (1.0, 0.5, 0.5, 0.5))
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(WIDTH, WIDTH)))[0]
    first, other = (
        measure(bench(NOTHING, rows=values), CLAIM.case(case)) for values in (rows, {n: 64 * v @ turn for n, v in rows.items()})
    )
    assert 0.55 < value(first) < 1
    assert value(other) == pytest.approx(value(first), abs=1e-9)
    kinds = [found.kind for found in first.nulls if found.kind.startswith(("rival", PERMUTED))]
    assert len(kinds) == 1 + len(CLAIM.case(case).settings["rivals"])
    for kind in kinds:
        np.testing.assert_allclose(null(other, kind).draws, null(first, kind).draws, atol=1e-9)


def test_swapping_all_sides_of_the_tested_pairs_is_the_other_sign() -> None:
    rows = activations(np.random.default_rng(4), (0.6, 0.0, 0.0, 0.0))
    count = COUNTS["fear_anger"]
    swapped = {**rows, "fear_anger": np.concatenate([rows["fear_anger"][count:], rows["fear_anger"][:count]])}

    def case(sign: int) -> Case:
        return Case("c", "present", "fear_anger", "judged", Needs(), {"direction": "fear_calm", "sign": sign, "rivals": {}})

    plus, minus, both = (
        value(measure(bench(NOTHING, rows=r), case(s))) for r, s in ((rows, 1), (rows, -1), (swapped, -1))
    )  # fmt: skip
    assert plus != pytest.approx(0.5, abs=0.02)
    assert plus == pytest.approx(1 - minus)
    assert both == pytest.approx(plus)


def test_the_matrix_has_other_contrasts_pairs_as_they_are_and_its_own_held_out() -> None:
    b = bench((1.5, 0.0, 0.0, 0.0))
    found = matrix(b)
    assert found["contrasts"] == list(CONTRASTS)
    table = np.array(found["auroc"])
    i, j = CONTRASTS.index("fear_calm"), CONTRASTS.index("fear_anger")
    m = measure(b, CLAIM.case("fear-anger-present"))
    assert table[i, j] == pytest.approx(value(m))
    assert m.details["contrast matrix"] == found
    assert table[i, i] == pytest.approx(auroc(*separation.projections(b, "fear_calm", 0)))
    # fear on the second side: its direction runs the other way
    assert table[i, CONTRASTS.index("unafraid_fear")] < 0.3


def test_the_diagonal_of_the_matrix_does_not_see_its_own_pairs() -> None:
    found = [np.diag(matrix(bench(NOTHING, seed))["auroc"]) for seed in range(4)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)
    seen = [auroc(*sides(bench(NOTHING).activations(n).at(0), COUNTS[n], contrasts.directed(bench(NOTHING), n), 1)) for n in CONTRASTS]
    assert np.mean(seen) > 0.57


def test_activations_without_any_difference_are_all_ties() -> None:
    rows = {name: np.ones((2 * count, WIDTH)) for name, count in COUNTS.items()}
    m = measure(bench(NOTHING, rows=rows), CLAIM.case("fear-excitement-present"))
    assert value(m) == 0.5
    assert np.all(null(m, PERMUTED).draws == 0.5)
    assert null(m, "rival").level == 0.5
    assert verdict(m, "fear-excitement-present").verdict != SUPPORTED


def test_an_activation_that_is_no_number_leaves_nothing_to_conclude() -> None:
    rows = activations(np.random.default_rng(0), FEAR)
    rows["fear_calm"][0, 0] = np.nan
    m = measure(bench(NOTHING, rows=rows), CLAIM.case("fear-anger-beyond-words"))
    found = verdict(m, "fear-anger-beyond-words")
    assert np.isnan(found.estimate.value)
    assert found.verdict == INCONCLUSIVE


def test_an_items_score_is_the_share_of_pairs_that_its_fearful_side_outranks() -> None:
    b = bench((1.0, 0.0, 0.0, 0.0))
    for case, sign in (("fear-anger-present", 1), ("unafraid-fear-present", -1)):
        m, tested = measure(b, CLAIM.case(case)), CLAIM.case(case).on
        along = contrasts.directed(b, "fear_calm")
        first, second = np.split(b.activations(tested).at(0) @ along / np.linalg.norm(along), [COUNTS[tested]])
        fearful, other = (first, second) if sign > 0 else (second, first)
        np.testing.assert_allclose([item["score"] for item in m.items], [(f > other).mean() for f in fearful])
        assert np.mean([item["score"] for item in m.items]) == pytest.approx(value(m))


def test_an_items_first_is_the_projection_of_the_pairs_first_text() -> None:
    b = bench((1.0, 0.0, 0.0, 0.0))
    m, along = measure(b, CLAIM.case("unafraid-fear-present")), contrasts.directed(b, "fear_calm")
    expected = b.activations("unafraid_fear").at(0)[: COUNTS["unafraid_fear"]] @ along / np.linalg.norm(along)
    np.testing.assert_allclose([item["first"] for item in m.items], expected)
