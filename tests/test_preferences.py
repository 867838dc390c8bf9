"""Preferences: planted likings are read, and category means and harmfulness explain nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.acts import NO_ACTS, Acts
from cases.claims import Case
from cases.emotions import coordinates
from cases.stimuli import SETS, load_stimuli
from fixtures import preferences
from fixtures.bench import Bench
from fixtures.bradley_terry import ELO
from fixtures.leanings import span
from fixtures.models import encode
from fixtures.nulls import PERMUTED
from fixtures.preferences import CONSISTENT, OFFSETS, Choices, design, inconsistent, question, within
from fixtures.statistics import correlation
from fixtures.synonyms import clusters, rearranged
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, NotApplicable
from tests.choosing import (
    ACTIVITIES,
    ALL,
    CATEGORIES,
    COUNT,
    EMOTIONS,
    FOLLOW,
    FOLLOWS,
    KIND,
    MOVES,
    NAMES,
    PROPORTIONAL,
    RANDOM,
    SPOKEN,
    VALENCE,
    WIDTH,
    Chooser,
    bench,
    blissful,
    chosen,
    likings,
    measured,
    signed,
    told,
)
from tests.choosing import fewer_draws as fewer_draws  # every test draws fewer
from tests.planted import null
from tests.tiny import SENTENCES, tiny

# the comparisons


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_every_activity_is_compared_with_equally_many_others_and_no_pair_comes_twice(seed: int) -> None:
    pairs = design(bench(seed=seed))
    assert Counter(pairs.ravel().tolist()) == dict.fromkeys(range(COUNT), 2 * OFFSETS)
    assert Counter(pairs[:, 0].tolist()) == dict.fromkeys(range(COUNT), OFFSETS)
    assert len({frozenset(pair) for pair in pairs.tolist()}) == len(pairs) == COUNT * OFFSETS
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_the_comparisons_connect_all_activities_and_depend_on_the_seed_alone() -> None:
    pairs = design(bench())
    reached = {0}
    for _ in range(COUNT):
        reached |= {int(b) for a, b in np.concatenate([pairs, pairs[:, ::-1]]) if int(a) in reached}
    assert len(reached) == COUNT
    assert (design(bench()) == pairs).all()
    assert (design(bench(seed=1)) != pairs).any()


def test_the_full_profile_compares_every_two_activities_once() -> None:
    pairs = design(bench(profile="full"))
    assert {frozenset(pair) for pair in pairs.tolist()} == {frozenset((i, j)) for i in range(COUNT) for j in range(i)}
    assert len(pairs) == COUNT * (COUNT - 1) // 2


def test_every_comparison_is_asked_in_both_orders_unsteered_and_once() -> None:
    b, chooser = bench(), Chooser(likings(0))
    chosen(b, chooser)
    orders = Counter(told(asked) for asked, _ in chooser.asked)
    assert orders == dict.fromkeys([pair for a, b in design(bench()).tolist() for pair in ((a, b), (b, a))], 1)
    assert all(asked.steered is None and rows.shape == (0, WIDTH) for asked, rows in chooser.asked)
    before = len(chooser.asked)
    chosen(b, chooser)
    assert len(chooser.asked) == before


def test_choices_are_the_log_odds_of_the_same_activity_in_either_order() -> None:
    worth = likings(0)
    made = chosen(bench(), Chooser(worth, bias=0.3))
    gap = worth[made.pairs[:, 0]] - worth[made.pairs[:, 1]]
    assert made.first == pytest.approx(gap + 0.3)
    assert made.second == pytest.approx(gap - 0.3)
    assert made.won == pytest.approx((1 / (1 + np.exp(-gap - 0.3)) + 1 / (1 + np.exp(-gap + 0.3))) / 2)


def test_a_liking_for_what_is_named_first_alone_is_worth_one_half_and_never_consistent() -> None:
    made = chosen(bench(), Chooser(np.zeros(COUNT), bias=2.0))
    assert made.won == pytest.approx(np.full(len(made.pairs), 0.5))
    assert made.consistent == 0.0


@pytest.mark.parametrize(("agreeing", "gate"), [(10, None), (6, None), (5, "both orders agree in 50% of pairs; 60% are needed"), (0, "0%")])
def test_choices_that_depend_on_the_order_conclude_nothing(agreeing: int, gate: str | None) -> None:
    first = np.where(np.arange(10) % 2, 1.0, -1.0)
    made = Choices(np.zeros((10, 2), dtype=int), first, np.where(np.arange(10) < agreeing, 2.0, -2.0) * first)
    assert made.consistent == agreeing / 10
    found = inconsistent(made)
    assert (found is None) if gate is None else (found is not None and gate in found)
    assert CONSISTENT == 0.6


@pytest.mark.parametrize("case", [FOLLOW, FOLLOWS, MOVES, PROPORTIONAL], ids=lambda case: case.name)
def test_a_planted_effect_counts_nothing_where_the_order_decides(case: Case) -> None:
    worth = likings(0)
    b = bench(worth)
    b.__dict__["twins"] = (bench(seed=99),)
    m, found = measured(b, Chooser(worth, gain=blissful(b), bias=2.0), case)
    assert m.details["consistency"] < CONSISTENT
    assert (found.verdict, found.reason) == (INCONCLUSIVE, m.gate)
    assert "both orders agree" in str(m.gate)


# the questions


@pytest.fixture(scope="module", params=SETS)
def acts(request: pytest.FixtureRequest) -> Acts:
    return load_stimuli(request.param).acts


def test_a_question_names_both_activities_in_its_order_and_marks_the_one_that_is_steered(acts: Acts) -> None:
    b = bench()
    b.stimuli = replace(b.stimuli, acts=acts)
    for x, y in [(0, 1), (5, 60), (63, 8)]:
        one, two = acts.activities[x].text, acts.activities[y].text
        asked = question(b, x, y)
        assert asked.prompt == acts.formats.preference.format(a=one, b=two)
        assert (asked.options, asked.steered) == (acts.formats.options, None)
        for steered, text in ((x, one), (y, two)):
            marked = question(b, x, y, steered)
            assert marked.prompt == asked.prompt
            assert marked.steered is not None
            assert marked.prompt[slice(*marked.steered)] == text


def test_the_steered_tokens_are_those_of_the_activity_in_either_place() -> None:
    some = (replace(ACTIVITIES[0], text="felt sad and alone"), replace(ACTIVITIES[1], text="sat on the hill"))
    b = bench(activities=some, formats=SPOKEN)
    b._subject = subject = tiny("gpt2")
    for x, y in ((0, 1), (1, 0)):
        for steered in (x, y):
            asked = question(b, x, y, steered)
            assert asked.steered is not None
            mask = span(b, asked.prompt, *asked.steered)
            ids = [i for i, taken in zip(encode(subject, asked.prompt), mask.tolist(), strict=True) if taken]
            assert subject.tokenizer.decode(ids) == f" {some[steered].text}"


# read-outs and utilities


def test_values_within_a_category_lose_its_mean_and_nothing_else() -> None:
    values = np.random.default_rng(0).normal(size=(COUNT, 3))
    found = within(values, KIND)
    for kind in np.unique(KIND):
        rows = KIND == kind
        assert found[rows].mean(axis=0) == pytest.approx(np.zeros(3))
        assert np.diff(found[rows], axis=0) == pytest.approx(np.diff(values[rows], axis=0))
    assert within(values[:, 0], KIND) == pytest.approx(found[:, 0])


def test_a_read_out_is_the_projection_of_the_activity_on_the_unit_vector_about_the_mean_activity() -> None:
    b = bench(3 * likings(0))
    found = preferences.probes(b, np.stack([blissful(b), -2 * blissful(b)]))
    assert found[:, 0] == pytest.approx(3 * (likings(0) - likings(0).mean()), abs=1e-4)
    assert found[:, 1] == pytest.approx(-2 * found[:, 0])


def test_activities_are_read_in_the_words_of_the_format() -> None:
    b = bench(activities=tuple(replace(a, text=text[:20]) for a, text in zip(ACTIVITIES, SENTENCES, strict=False)))
    b._captured.pop("activities")
    b._subject = subject = tiny("gpt2")
    told_so = [f"Today: {activity.text}." for activity in b.stimuli.acts.activities]
    expected = Bench(lambda: subject, b.stimuli, b.settings).capture("texts", told_so).at(0)
    found = preferences.probes(b, np.eye(WIDTH))
    assert found == pytest.approx(expected - expected.mean(axis=0), abs=1e-4)


def along_valence(toward: float, seed: int = 0) -> tuple[Bench, np.ndarray]:
    """Return a bench whose activities lie as far along the emotions' valence as they are worth, times `toward`, and what they are worth."""
    b, worth = bench(seed=seed), likings(seed)
    axis = VALENCE @ b.vectors("implicit").unit
    b._captured["activities"].values[:, 0] += toward * worth[:, None] * axis / np.linalg.norm(axis)
    b.__dict__["twins"] = (bench(seed=seed + 99),)
    return b, worth


def test_read_outs_that_follow_worth_as_valence_says_are_supported_over_emotions() -> None:
    b, worth = along_valence(8.0)
    m, found = measured(b, Chooser(worth, noise=0.2), FOLLOW)
    assert (found.verdict, m.clusters) == (SUPPORTED, NAMES)
    assert found.estimate.value > 0.6
    assert {item["id"]: item["valence"] for item in m.items} == dict(zip(NAMES, VALENCE, strict=True))
    alone = measured(b, Chooser(worth, noise=0.2), FOLLOWS)[0].details["r"]["within category"]
    assert next(item["score"] for item in m.items if item["id"] == "blissful") == pytest.approx(alone)
    assert {null.kind for null in m.nulls} == {f"{PERMUTED} emotion clusters", "untrained twin", "chance"}


def test_read_outs_that_follow_worth_against_valence_are_reversed() -> None:
    b, worth = along_valence(-8.0)
    assert (lambda found: (found.verdict, found.reason))(measured(b, Chooser(worth, noise=0.2), FOLLOW)[1]) == (REFUTED, "reversed")


def test_read_outs_that_near_synonyms_share_and_valence_does_not_order_are_seldom_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, found, draws = clusters(EMOTIONS), [], []
    for seed in range(60):
        rng = np.random.default_rng([seed, 19])
        r = rng.normal(size=numbers.max() + 1)[numbers] + 0.5 * rng.normal(size=len(EMOTIONS))
        monkeypatch.setattr(preferences, "goes_with", lambda *_, r=r: r)
        b = bench(seed=seed)
        b.__dict__["twins"] = (bench(seed=seed + 99),)
        m, judged = measured(b, Chooser(likings(0)), FOLLOW, seed)
        found.append(judged.rank_p)
        draws.append(null(m, PERMUTED).draws)
    expected = coordinates(rearranged(EMOTIONS, bench(seed=59).rng("preferences follow")))[:, 0]
    assert draws[-1][0] == pytest.approx(correlation(r, expected))
    assert np.std(draws) > 0.22
    assert sum(p is not None and p <= 0.05 for p in found) <= 6


def test_an_axis_of_worth_that_has_nothing_to_do_with_valence_is_supported_in_at_most_5_per_cent() -> None:
    found = []
    for seed in range(30):
        b, worth = along_valence(0.0, seed)
        axis = np.random.default_rng([seed, 17]).normal(size=WIDTH)
        b._captured["activities"].values[:, 0] += 8 * worth[:, None] * axis / np.linalg.norm(axis)
        m, judged = measured(b, Chooser(worth), FOLLOW, seed)
        assert max(abs(item["score"]) for item in m.items) > 0.5
        found.append(judged.verdict)
    assert found.count(SUPPORTED) <= 2


def test_an_untrained_twin_whose_read_outs_follow_as_well_takes_the_claim_away() -> None:
    b, worth = along_valence(8.0)
    b.__dict__["twins"] = (along_valence(8.0)[0],)
    found = measured(b, Chooser(worth, noise=0.2), FOLLOW)[1]
    assert found.against.kind == "untrained twin"
    assert found.net.value == pytest.approx(0)
    assert found.verdict == REFUTED


def test_a_planted_liking_is_supported() -> None:
    worth = likings(0)
    m, found = measured(bench(worth + 0.5 * likings(1)), Chooser(worth, noise=0.2), FOLLOWS)
    assert (found.verdict, found.estimate.clusters, m.layer, m.gate) == (SUPPORTED, COUNT, 0, None)
    assert found.estimate.value > 0.7
    assert [item["id"] for item in m.items] == [activity.id for activity in ACTIVITIES]
    assert len(null(m, "random directions").draws) == RANDOM


def test_a_planted_dislike_is_reversed_and_supports_the_claim_of_the_other_sign() -> None:
    worth = likings(0)
    b = bench(-worth)
    m, found = measured(b, Chooser(worth), FOLLOWS)
    assert (found.verdict, found.reason) == (REFUTED, "reversed")
    other, turned = measured(b, Chooser(worth), signed(FOLLOWS, -1))
    assert turned.verdict == SUPPORTED
    assert turned.estimate.value == pytest.approx(-found.estimate.value)
    assert m.details["r"] == pytest.approx(other.details["r"])
    assert m.details["r"]["within category"] < -0.9


def test_read_outs_of_noise_are_supported_in_at_most_5_per_cent_and_centre_on_0() -> None:
    found = [measured(bench(seed=seed), Chooser(likings(seed)), FOLLOWS, seed)[1] for seed in range(30)]
    assert sum(f.verdict == SUPPORTED for f in found) <= 1
    assert np.mean([f.estimate.value for f in found]) == pytest.approx(0, abs=0.07)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(-1.5, 1.5), min_size=2 * CATEGORIES, max_size=2 * CATEGORIES))
def test_what_a_category_is_worth_and_reads_as_changes_no_statistic_within_it(means: list[float]) -> None:
    worth, shown = 0.5 * likings(0), likings(0) + likings(1)
    place = np.array([int(kind.split()[1]) for kind in KIND])
    plain, _ = measured(bench(shown), Chooser(worth), FOLLOWS)
    moved, _ = measured(bench(shown + np.array(means)[CATEGORIES + place]), Chooser(worth + np.array(means)[place]), FOLLOWS)
    assert moved.statistic(ALL) == pytest.approx(plain.statistic(ALL), abs=1e-3)
    assert [item["score"] for item in moved.items] == pytest.approx([item["score"] for item in plain.items], abs=1e-4)
    assert moved.details["r"]["within category"] == pytest.approx(plain.details["r"]["within category"], abs=1e-3)


def test_a_mere_aversion_to_harm_is_a_high_pooled_correlation_and_none_within_categories() -> None:
    harm = np.array([a.harmful for a in ACTIVITIES]).astype(float)
    worth = 0.3 * likings(0) - 4 * harm
    m, found = measured(bench(0.3 * likings(1) - 4 * harm), Chooser(worth), FOLLOWS)
    assert m.details["r"]["pooled"] > 0.9
    assert m.details["r"]["harmful or not, alone"] < -0.9
    assert abs(m.details["r"]["within category"]) < 0.3
    assert abs(m.details["r"]["harmless only"]) < 0.3
    assert found.verdict != SUPPORTED


def test_harmless_activities_have_a_correlation_of_their_own() -> None:
    harmful = np.array([a.harmful for a in ACTIVITIES])
    worth = likings(0)
    m, _ = measured(bench(np.where(harmful, -10 * worth, worth)), Chooser(worth), FOLLOWS)
    assert m.details["r"]["harmless only"] == pytest.approx(1.0, abs=1e-3)
    assert m.details["r"]["pooled"] < 0


def test_labels_are_permuted_within_categories_and_carry_nothing_of_a_planted_liking() -> None:
    worth = likings(0)
    m, _ = measured(bench(worth), Chooser(worth), FOLLOWS)
    draws = null(m, f"{PERMUTED} activities within category").draws
    assert len(draws) == 60
    assert draws.mean() == pytest.approx(0, abs=0.06)
    assert 0.05 < draws.std() < 0.25
    assert null(m, "chance").level == 0


def test_labels_stay_in_their_category_where_all_that_varies_lies_in_one() -> None:
    """Among 8 activities luck gives correlations with a spread of .38, among all 64 of .13."""
    worth = np.where(KIND == "kind 0", 3.0, 0.01) * likings(0)
    draws = null(measured(bench(worth), Chooser(worth), FOLLOWS)[0], PERMUTED).draws
    assert 0.25 < draws.std() < 0.55


def test_activities_alone_in_their_category_have_nothing_to_permute() -> None:
    own = tuple(replace(a, category=a.id) for a in ACTIVITIES)
    m, _ = measured(bench(likings(0), activities=own), Chooser(likings(0)), FOLLOWS)
    assert m.statistic(ALL) == 0.0
    assert (null(m, PERMUTED).draws == 0).all()


def test_random_directions_count_without_their_sign() -> None:
    worth = likings(0)
    draws = null(measured(bench(worth), Chooser(worth), FOLLOWS)[0], "random directions").draws
    assert (draws >= 0).all()
    turned = null(measured(bench(worth), Chooser(worth), signed(FOLLOWS, -1))[0], "random directions").draws
    assert turned == pytest.approx(draws)


def test_elo_is_the_planted_utility_about_its_mean() -> None:
    worth = likings(0)
    m, _ = measured(bench(worth), Chooser(worth), FOLLOWS)
    assert [item["elo"] for item in m.items] == pytest.approx(ELO * (worth - worth.mean()), abs=0.1)


WITHOUT = tuple(emotion for emotion in EMOTIONS if emotion.name != "blissful")


def test_an_emotion_without_passages_has_no_read_out() -> None:
    with pytest.raises(NotApplicable, match="there are no passages of 'blissful'"):
        measured(bench(emotions=WITHOUT), Chooser(likings(0)), FOLLOWS)


def test_an_emotion_without_passages_moves_nothing() -> None:
    with pytest.raises(NotApplicable, match="blissful"):
        measured(bench(emotions=WITHOUT), Chooser(likings(0)), MOVES)


@pytest.mark.parametrize("case", [MOVES, PROPORTIONAL], ids=lambda case: case.name)
def test_one_activity_in_each_category_has_no_halves_and_is_not_asked(case: Case) -> None:
    few = replace(NO_ACTS, activities=ACTIVITIES).limited(1).activities
    with pytest.raises(NotApplicable, match="two in a category"):
        measured(bench(activities=few), Chooser(likings(0)), case)
