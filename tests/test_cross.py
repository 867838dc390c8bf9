"""Cross-emotion effects: a planted circumplex is found, what is no effect of one emotion on another changes nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import load_claims
from cases.emotions import load_emotions, similarity
from cases.stimuli import Stimuli
from fixtures import cross, nulls, verdicts
from fixtures.bench import Bench, Settings
from fixtures.cross import published_cells, spill_over
from fixtures.models import Subject
from fixtures.nulls import PERMUTED
from fixtures.statistics import bootstrap_estimate
from fixtures.synonyms import KIND, apart, centring, mantel, rearranged
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, judge
from tests.planted import null

CLAIM = load_claims()["cross_emotion"]
CASE = CLAIM.case("implicit")
EMOTIONS = tuple(load_emotions())
NAMES = tuple(emotion.name for emotion in EMOTIONS)
COUNT, RANDOM = len(EMOTIONS), 20
LIKE = similarity(EMOTIONS)
ALL = np.arange(COUNT)
APART = apart(EMOTIONS)
SAME = np.array([[one.cluster == other.cluster for other in EMOTIONS] for one in EMOTIONS])
centred = centring(APART)
STIMULI = Stimuli("english", EMOTIONS, (), (), (), {}, (), (), (), (), (), "planted")


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the instrument find the effects that a bench holds, and draw less often."""
    monkeypatch.setattr(cross, "lifts", lambda bench, case: bench._measured["effects"])
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=100))
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def effects(seed: int, circumplex: float, noise: float = 0.5) -> np.ndarray:
    """Return effects of every emotion and of random directions on every word: `circumplex` times likeness, and noise."""
    rng = np.random.default_rng(seed)
    return np.concatenate([circumplex * LIKE, np.zeros((RANDOM, COUNT))]) + noise * rng.normal(size=(COUNT + RANDOM, COUNT))


def no_model() -> Subject:
    raise AssertionError("the effects are planted: no model is asked")


def bench(ours: np.ndarray, twins: float = 0.0, seed: int = 0) -> Bench:
    def holding(table: np.ndarray) -> Bench:
        return Bench(make=no_model, stimuli=STIMULI, settings=Settings(seed=seed, layer=0), _measured={"effects": table})

    found = holding(ours)
    found.twins = tuple(holding(effects(1000 * seed + i + 1, twins)) for i in range(3))
    return found


def measured(ours: np.ndarray, twins: float = 0.0, seed: int = 0) -> tuple[Measurement, Judgement]:
    m = cross.measure(bench(ours, twins, seed), CASE)
    return m, judge(m, CLAIM, CASE, np.random.default_rng(seed))


def agreement(table: np.ndarray) -> float:
    return measured(table)[0].statistic(ALL)


def test_planted_circumplex_effects_are_found() -> None:
    m, found = measured(effects(1, 1.0))
    assert (found.verdict, found.estimate.clusters, len(m.items)) == (SUPPORTED, COUNT, COUNT)
    assert found.estimate.value > 0.6
    assert (m.layer, m.strength) == (0, CASE.settings["strength"])


def test_planted_effects_turned_round_are_refuted_as_reversed() -> None:
    _, found = measured(effects(1, -1.0))
    assert (found.verdict, found.reason) == (REFUTED, "reversed")


def test_effects_that_are_likeness_itself_agree_wholly() -> None:
    assert agreement(effects(1, 2.0, noise=0.0)) == pytest.approx(1.0)
    assert agreement(effects(1, -2.0, noise=0.0)) == pytest.approx(-1.0)


def test_effects_of_noise_are_supported_in_at_most_5_per_cent_and_centre_on_0() -> None:
    judged = [measured(effects(seed, 0.0), seed=seed)[1] for seed in range(1, 31)]
    assert sum(found.verdict == SUPPORTED for found in judged) <= 1
    assert np.mean([found.estimate.value for found in judged]) == pytest.approx(0, abs=0.03)


def test_effects_that_the_untrained_twin_has_as_well_are_not_supported() -> None:
    _, found = measured(effects(7, 1.0), twins=1.0)
    assert found.against.kind == "untrained twin"
    assert found.verdict in (REFUTED, INCONCLUSIVE)


def test_permuted_emotions_and_random_directions_carry_nothing_of_a_planted_circumplex() -> None:
    m, _ = measured(effects(1, 3.0, noise=0.1))
    assert m.statistic(ALL) > 0.95
    for kind in (f"{PERMUTED} {KIND}", "random directions", "untrained twin"):
        draws = null(m, kind).draws
        assert draws.mean() == pytest.approx(0, abs=0.06)
        assert np.abs(draws).max() < 0.65
    assert null(m, "chance").level == 0
    assert len(null(m, PERMUTED).draws) == len(null(m, "random directions").draws) == 60


def test_an_emotion_at_another_place_loses_its_own_agreement() -> None:
    table, swapped = effects(1, 2.0, noise=0.1), [NAMES.index("happy"), NAMES.index("sad")]
    order = ALL.copy()
    order[swapped] = order[swapped[::-1]]
    wrong = np.concatenate([table[:COUNT][np.ix_(order, order)], table[COUNT:]])
    before, after = ({item["id"]: item["score"] for item in measured(t)[0].items} for t in (table, wrong))
    assert min(before.values()) > 0.9
    assert sorted(after, key=after.__getitem__)[:2] in (["happy", "sad"], ["sad", "happy"])
    assert after["happy"] < 0


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(0, 50))
def test_the_size_of_words_and_of_vectors_and_the_scale_of_effects_change_nothing(seed: int, scale: float, offset: float) -> None:
    rng, table = np.random.default_rng(seed), effects(3, 0.5)[:COUNT]
    moved = scale * table + offset * (rng.normal(size=(COUNT, 1)) + rng.normal(size=(1, COUNT)))
    plan = centred(LIKE)
    assert mantel(centred(moved), plan, APART, ALL) == pytest.approx(mantel(centred(table), plan, APART, ALL), abs=1e-7)


def test_offsets_of_words_and_vectors_change_no_figure_of_the_judgement() -> None:
    rng, table = np.random.default_rng(0), effects(3, 0.5)
    moved = table + 5 * (rng.normal(size=(len(table), 1)) + rng.normal(size=(1, COUNT)))
    (m, found), (other, as_well) = measured(table), measured(moved)
    assert as_well.estimate.value == pytest.approx(found.estimate.value)
    assert (as_well.estimate.low, as_well.estimate.high) == pytest.approx((found.estimate.low, found.estimate.high))
    for kind in (PERMUTED, "random directions"):
        assert null(other, kind).draws == pytest.approx(null(m, kind).draws)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(COUNT)))
def test_the_order_of_emotions_is_irrelevant(order: list[int]) -> None:
    table, at = effects(3, 0.7)[:COUNT], np.array(order)
    place = np.ix_(at, at)
    other = centring(APART[place])
    found = mantel(other(table[place]), other(LIKE[place]), APART[place], ALL)
    assert found == pytest.approx(mantel(centred(table), centred(LIKE), APART, ALL))


def near(seed: int, size: float = 1.5) -> np.ndarray:
    """Return effects of noise in which every emotion raises the words of its near-synonyms, by `size` nats."""
    table = effects(seed, 0.0)
    table[:COUNT] += size * SAME
    return table


def test_effects_on_near_synonyms_alone_are_not_supported() -> None:
    judged = [measured(near(seed), seed=seed)[1] for seed in range(1, 9)]
    assert SUPPORTED not in {found.verdict for found in judged}
    assert np.mean([found.estimate.value for found in judged]) == pytest.approx(0, abs=0.05)


def test_effects_that_clusters_share_and_no_circumplex_orders_are_seldom_supported() -> None:
    numbers, found = np.unique([e.cluster for e in EMOTIONS], return_inverse=True)[1], []
    for seed in range(40):
        between = np.random.default_rng([seed, 1]).normal(size=(13, 13))[np.ix_(numbers, numbers)]
        table = effects(seed, 0.0)
        table[:COUNT] += between
        found.append(measured(table, seed=seed)[1])
    assert sum(j.rank_p is not None and j.rank_p <= 0.05 for j in found) <= 6
    assert np.mean([j.estimate.value for j in found]) == pytest.approx(0, abs=0.06)


def test_effects_within_a_cluster_change_no_figure_of_the_judgement() -> None:
    (m, found), (other, as_well) = measured(effects(3, 0.5)), measured(effects(3, 0.5) + near(0, 9.0) - near(0, 0.0))
    assert as_well.estimate.value == pytest.approx(found.estimate.value)
    assert (as_well.net.low, as_well.net.high) == pytest.approx((found.net.low, found.net.high))
    assert null(other, PERMUTED).draws == pytest.approx(null(m, PERMUTED).draws)


def test_the_permuted_places_are_those_of_rearranged_clusters() -> None:
    table, b = effects(3, 0.5), bench(effects(3, 0.5))
    plan = centred(similarity(rearranged(EMOTIONS, b.rng("permuted effects implicit"))))
    assert null(measured(table)[0], PERMUTED).draws[0] == pytest.approx(mantel(centred(table[:COUNT]), plan, APART, ALL))


def test_effects_on_their_own_words_that_are_alike_change_nothing() -> None:
    table = effects(3, 0.5)
    raised = table + np.concatenate([10 * np.eye(COUNT), np.zeros((RANDOM, COUNT))])
    assert agreement(raised) == pytest.approx(agreement(table))


def test_the_effect_on_an_emotions_own_word_does_not_count_however_large() -> None:
    own = np.diag(np.random.default_rng(0).uniform(0, 40, COUNT))
    table = effects(3, 1.0)
    assert agreement(table + np.concatenate([own, np.zeros((RANDOM, COUNT))])) == pytest.approx(agreement(table), abs=1e-6)


def test_effects_that_are_all_alike_agree_with_nothing_and_win_nothing() -> None:
    m, found = measured(np.ones((COUNT + RANDOM, COUNT)))
    assert m.statistic(ALL) == 0
    assert found.verdict != SUPPORTED
    assert np.isnan([item["score"] for item in m.items]).all()


@pytest.mark.parametrize("row", [2, COUNT + 3])
def test_an_effect_that_is_not_a_number_is_never_supported(row: int) -> None:
    table = effects(1, 1.0)
    table[row, 5] = np.nan
    assert measured(table)[1].verdict == INCONCLUSIVE


def test_an_untrained_twin_that_is_not_a_number_concludes_nothing() -> None:
    b = bench(effects(1, 1.0))
    b.twins[1]._measured["effects"][0, 1] = np.nan
    assert judge(cross.measure(b, CASE), CLAIM, CASE, np.random.default_rng(0)).verdict == INCONCLUSIVE


def test_measuring_depends_on_the_runs_seed_and_leaves_the_effects_as_they_are() -> None:
    table = effects(1, 1.0)
    before = table.copy()
    first, same, other = (cross.measure(bench(table, seed=seed), CASE) for seed in (0, 0, 1))
    assert (null(first, PERMUTED).draws == null(same, PERMUTED).draws).all()
    assert not np.array_equal(null(first, PERMUTED).draws, null(other, PERMUTED).draws)
    assert (table == before).all()


# what is reported


def test_the_details_hold_the_effects_of_emotions_alone_and_the_mean_on_their_own_words() -> None:
    table = effects(1, 1.0)
    details = measured(table)[0].details
    assert details["effects"] == pytest.approx(table[:COUNT], abs=1e-4)
    assert details["own word"] == pytest.approx(np.trace(table[:COUNT]) / COUNT)


def test_spill_over_names_what_an_emotion_moves_most_and_leaves_its_own_word_out() -> None:
    table = np.array([[9.0, -1.0, 0.5], [2.0, -9.0, 0.25], [-3.0, -2.0, 0.0]])
    first, second, third = spill_over(table, ("a", "b", "c"))
    assert first == {"emotion": "a", "own": 9.0, "spill-over": 0.75, "raises most": "c +0.50", "lowers most": "b -1.00"}
    assert (second["own"], second["raises most"], second["lowers most"]) == (-9.0, "a +2.00", "c +0.25")
    assert (third["spill-over"], third["raises most"], third["lowers most"]) == (2.5, "b -2.00", "a -3.00")


def test_published_cells_stand_beside_the_row_steered_and_the_column_read_and_unknown_emotions_are_left_out() -> None:
    table = np.arange(4.0).reshape(2, 2)
    cells = (("a", "b", 1.7), ("b", "a", -2), ("a", "z", 3.0), ("z", "b", 3.0))
    assert published_cells(table, ("a", "b"), cells) == [
        {"steered": "a", "word": "b", "published": 1.7, "here": 1.0},
        {"steered": "b", "word": "a", "published": -2.0, "here": 2.0},
    ]


def test_every_published_cell_is_measured_on_the_core_emotions() -> None:
    for name in ("implicit", "named"):
        cells = CLAIM.case(name).settings["cells"]
        assert len(published_cells(np.zeros((COUNT, COUNT)), NAMES, cells)) == len(cells) > 0


def test_named_vectors_are_reported_and_never_judged() -> None:
    case = CLAIM.case("named")
    b = bench(effects(1, 1.0))
    assert judge(cross.measure(b, case), CLAIM, case, np.random.default_rng(0)).verdict == "reported"
    assert judge(cross.measure(b, replace(case, verdict="judged")), CLAIM, CASE, np.random.default_rng(0)).verdict == SUPPORTED
