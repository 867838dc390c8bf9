"""Preferences: planted likings are read and moved, category means and harmfulness explain nothing, and only the activity is steered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.acts import NO_ACTS, Activity, Acts, Formats
from cases.claims import Case, load_claims
from cases.emotions import Emotion, coordinates, load_emotions
from cases.stimuli import SETS, Passage, load_stimuli
from fixtures import nulls, preferences, verdicts
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.bradley_terry import ELO
from fixtures.leanings import Question, span
from fixtures.models import Subject, encode
from fixtures.nulls import PERMUTED
from fixtures.preferences import CONSISTENT, OFFSETS, PARTNERS, Choices, asked_emotions, choices, design, inconsistent, question, within
from fixtures.statistics import bootstrap_estimate, correlation
from fixtures.synonyms import clusters, rearranged
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli, null
from tests.tiny import SENTENCES, logits, pushed, tiny

CLAIM = load_claims()["preferences"]
FOLLOW, MOVES, PROPORTIONAL = (CLAIM.case(name) for name in ("follow", "blissful-moves", "proportional"))
FOLLOWS = replace(CLAIM.case("blissful-follows"), verdict="judged")
"""Reported as one of a claim's cases; judged here, to see what it measures."""
EMOTIONS = tuple(load_emotions())
NAMES = tuple(emotion.name for emotion in EMOTIONS)
VALENCE = coordinates(EMOTIONS)[:, 0]
WIDTH, RANDOM, NORM, STRENGTH = 32, 20, 4.0, 0.5
CATEGORIES, EACH = 8, 8
ACTIVITIES = tuple(
    Activity(f"kind {c}-{i}", f"kind {c}", c >= 6, f"do thing {i} of kind {c}") for i in range(EACH) for c in range(CATEGORIES)
)
"""Activities of all categories in turn, those of the last two harmful."""

COUNT = len(ACTIVITIES)
KIND = np.array([activity.category for activity in ACTIVITIES])
PLACE = {activity.text: i for i, activity in enumerate(ACTIVITIES)}
FORMATS = replace(NO_ACTS.formats, activity="Today: {text}.", preference="Which?\n(A) {a}\n(B) {b}\nIt is (", options=("A", "B"))
SPOKEN = replace(FORMATS, preference="A. {a}, B. {b}, so", options=(" A", " B"))
"""Formats in characters that the tokenizer of the tests knows."""

ALL = np.arange(COUNT)


@dataclass
class Chooser:
    """A model that answers by planted utilities in nats, and is moved by what an activity is steered with, times `gain`.

    `bias` is added to the log-odds of whatever is named first. `asked` keeps every question with its steering rows.
    """

    worth: np.ndarray
    gain: np.ndarray | float = 0.0
    noise: float = 0.0
    bias: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 7])
        self.asked: list[tuple[Question, np.ndarray]] = []

    def logprobs(self, bench: Bench, questions: Sequence[Question], rows: np.ndarray) -> np.ndarray:
        """Stand in for a model's log-probabilities, shape (questions, 1 + rows, 2)."""
        self.asked += [(asked, rows) for asked in questions]
        pushes = np.concatenate([[0.0], rows @ (np.zeros(WIDTH) + self.gain)])
        odds = np.zeros((len(questions), len(pushes)))
        for q, asked in enumerate(questions):
            first, second = told(asked)
            odds[q] = self.worth[first] - self.worth[second] + self.bias
            if asked.steered is not None:
                steered = PLACE[asked.prompt[slice(*asked.steered)]]
                odds[q] += np.where(steered == first, 1, -1) * pushes
        odds += self.noise * self.rng.normal(size=odds.shape)
        return np.stack([odds / 2, -odds / 2], axis=-1)


def told(asked: Question) -> tuple[int, int]:
    """Return the activities that a question names, in its order."""
    lines = asked.prompt.splitlines()
    return PLACE[lines[1].removeprefix("(A) ")], PLACE[lines[2].removeprefix("(B) ")]


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=200))
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def no_model() -> Any:
    """Return what is asked of a model whose answers are planted: its width."""
    return SimpleNamespace(width=WIDTH)


def bench(
    shown: np.ndarray | None = None,
    *,
    seed: int = 0,
    profile: str = "quick",
    activities: tuple[Activity, ...] = ACTIVITIES,
    emotions: tuple[Emotion, ...] = EMOTIONS,
    formats: Formats = FORMATS,
) -> Bench:
    """Return a bench on random passages, whose activities carry `shown` on the axis of blissful, and noise on all others."""
    rng = np.random.default_rng(5)
    stimuli = few_stimuli(
        emotions=emotions,
        implicit=tuple(Passage(e.name, str(t), f"{e.name} {t}") for e in emotions for t in range(3)),
        neutral=tuple(f"neutral {i}" for i in range(12)),
        acts=replace(NO_ACTS, activities=activities, formats=formats),
    )
    drawn = {"implicit": rng.normal(size=(len(stimuli.implicit), WIDTH)), "neutral": rng.normal(size=(12, WIDTH))}
    found = Bench(
        make=no_model,
        stimuli=stimuli,
        settings=Settings(seed=seed, layer=0, profile=profile),
        _captured={key: Activations(values[:, None].astype(np.float32), (0,)) for key, values in drawn.items()},
        _measured={"norms": np.array([NORM])},
    )
    noise = np.random.default_rng([seed, 3]).normal(size=(len(activities), WIDTH))
    if shown is not None:
        axis = blissful(found)
        noise += (shown - noise @ axis)[:, None] * axis
    found._captured["activities"] = Activations(noise[:, None].astype(np.float32), (0,))
    return found


def blissful(b: Bench) -> np.ndarray:
    return np.asarray(b.vectors("implicit").unit[b.stimuli.names.index("blissful")])


def measured(b: Bench, chooser: Chooser, case: Case, seed: int = 0) -> tuple[Measurement, Judgement]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preferences, "logprobs", chooser.logprobs)
        m = preferences.measure(b, case)
    return m, judge(m, CLAIM, case, np.random.default_rng(seed))


def chosen(b: Bench, chooser: Chooser) -> Choices:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preferences, "logprobs", chooser.logprobs)
        return choices(b)


def signed(case: Case, sign: int, **changed: object) -> Case:
    return replace(case, settings={**case.settings, "sign": sign, **changed})


def likings(seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 11]).normal(size=COUNT)


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


# steering


def steered(b: Bench, chooser: Chooser, case: Case = MOVES) -> preferences.Steered:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preferences, "logprobs", chooser.logprobs)
        return preferences.steered(b, case)


def test_half_of_every_category_is_steered_against_the_other_half_in_both_orders() -> None:
    b, chooser = bench(), Chooser(likings(0))
    found = steered(b, chooser)
    half = set(found.activities.tolist())
    assert len(found.activities) == len(half) == COUNT // 2
    assert Counter(KIND[found.activities].tolist()) == dict.fromkeys(np.unique(KIND).tolist(), EACH // 2)
    asked = [(told(q), PLACE[q.prompt[slice(*q.steered)]]) for q, _ in chooser.asked if q.steered is not None]
    assert all(one in pair and one in half and (set(pair) - {one}).isdisjoint(half) for pair, one in asked)
    orders = Counter(pair for pair, _ in asked)
    assert set(orders.values()) == {1}
    assert {(y, x) for x, y in orders} == set(orders)
    against = Counter(one for _, one in asked), Counter(x for pair, one in asked for x in pair if x != one)
    assert set(against[0].values()) == set(against[1].values()) == {2 * PARTNERS}
    assert set(against[1]) == set(range(COUNT)) - half


def test_halves_do_not_depend_on_the_case_and_do_on_the_seed() -> None:
    halves = [steered(bench(seed=seed), Chooser(likings(0)), case).activities for seed, case in ((0, MOVES), (0, PROPORTIONAL), (1, MOVES))]
    assert (halves[0] == halves[1]).all()
    assert (halves[0] != halves[2]).any()


def test_steering_rows_are_emotions_and_random_directions_of_one_norm() -> None:
    b, chooser = bench(), Chooser(likings(0))
    found = steered(b, chooser)
    rows = next(rows for asked, rows in chooser.asked if asked.steered is not None)
    assert found.names == asked_emotions(b)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.full(len(found.names) + RANDOM, STRENGTH * NORM))
    assert rows == pytest.approx(STRENGTH * NORM * found.directions)
    for i, name in enumerate(found.names):
        assert found.directions[i] == pytest.approx(b.vectors("implicit").unit[NAMES.index(name)])


def test_the_emotions_are_spread_over_valence_and_hold_those_of_the_cases() -> None:
    names = asked_emotions(bench())
    ranks = [i for i, e in enumerate(sorted(EMOTIONS, key=lambda e: e.valence)) if e.name in names]
    assert len(names) == len(set(names)) == len(ranks)
    assert 16 <= len(names) <= 18
    assert {"blissful", "hostile"} <= set(names)
    assert (ranks[0], ranks[-1], np.diff(ranks).max()) == (0, len(EMOTIONS) - 1, 2)
    assert sorted(asked_emotions(bench(profile="full"))) == sorted(NAMES)
    assert set(asked_emotions(bench(emotions=EMOTIONS[:5]))) == set(NAMES[:5])


def test_a_uniform_planted_shift_of_the_steered_half_comes_back_in_nats_and_elo() -> None:
    b = bench()
    worth, gain = likings(0), 0.4 * blissful(b)
    found = steered(b, Chooser(worth, gain=gain))
    planted = STRENGTH * NORM * found.directions @ gain
    assert planted[found.names.index("blissful")] == pytest.approx(0.8)
    assert found.shift == pytest.approx(np.tile(planted, (COUNT // 2, 1)))
    assert found.elo == pytest.approx(ELO * found.shift, abs=0.1)


def test_a_liking_for_what_is_named_first_is_no_shift() -> None:
    b = bench()
    gain = 0.4 * blissful(b)
    assert steered(b, Chooser(likings(0), gain=gain, bias=0.7)).shift == pytest.approx(steered(b, Chooser(likings(0), gain=gain)).shift)


def test_what_steering_moves_is_measured_once_for_all_cases_of_a_strength() -> None:
    b, chooser = bench(), Chooser(likings(0))
    first = steered(b, chooser)
    before = len(chooser.asked)
    assert steered(b, chooser, PROPORTIONAL).shift == pytest.approx(first.shift)
    assert len(chooser.asked) == before
    steered(b, chooser, replace(MOVES, settings={**MOVES.settings, "strength": 0.25}))
    assert len(chooser.asked) > before


@pytest.mark.parametrize(("gain", "sign", "verdict"), [(1.0, 1, SUPPORTED), (-1.0, 1, REFUTED), (-1.0, -1, SUPPORTED), (1.0, -1, REFUTED)])
def test_a_planted_effect_of_steering_is_supported_by_the_sign_of_its_case(gain: float, sign: int, verdict: str) -> None:
    b = bench()
    m, found = measured(b, Chooser(likings(0), gain=gain * blissful(b), noise=0.3), signed(MOVES, sign))
    assert (found.verdict, found.estimate.clusters, m.layer, m.strength) == (verdict, COUNT // 2, 0, STRENGTH)
    assert found.reason == ("reversed" if verdict == REFUTED else None)
    assert m.details["elo"]["mean"] == pytest.approx(ELO * gain * STRENGTH * NORM, rel=0.2)
    assert m.details["elo"]["random, 5th percentile"] < 0 < m.details["elo"]["random, 95th percentile"]


def test_the_case_names_the_emotion_that_is_judged() -> None:
    b = bench()
    hostile = b.vectors("implicit").unit[NAMES.index("hostile")]
    m, found = measured(b, Chooser(likings(0), gain=-hostile, noise=0.3), CLAIM.case("hostile-moves"))
    assert found.verdict == SUPPORTED
    assert {item["id"] for item in m.items} <= {activity.id for activity in ACTIVITIES}
    assert np.mean([item["shift"] for item in m.items]) == pytest.approx(-STRENGTH * NORM, abs=0.2)


def test_steering_that_moves_nothing_but_noise_is_supported_in_at_most_5_per_cent_and_worth_one_half() -> None:
    found = []
    for seed in range(40):
        b = bench(seed=seed)
        found.append(measured(b, Chooser(likings(seed), noise=0.5, seed=seed), MOVES, seed)[1])
    assert sum(f.verdict == SUPPORTED for f in found) <= 2
    assert np.mean([f.estimate.value for f in found]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_effect_that_random_directions_have_as_well_is_not_supported(sign: int) -> None:
    b = bench()
    b._measured[f"steered preferences {asked_emotions(b)} {STRENGTH}"] = odds = np.zeros((2, COUNT, 1 + len(asked_emotions(b)) + RANDOM))
    odds[:, :, 1 + asked_emotions(b).index("blissful")] = sign * 17.5  # further than all but the last two
    odds[:, :, -RANDOM:] = sign * np.arange(RANDOM)
    m, found = measured(b, Chooser(likings(0)), signed(MOVES, sign))
    assert m.scores == pytest.approx(np.full(COUNT // 2, 0.9))
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "not among the top 5% of random directions")
    below = (np.arange(RANDOM) + (np.arange(RANDOM) > 17)) / RANDOM  # the judged direction is one of those that they are compared with
    assert null(m, "random directions").draws == pytest.approx(below)
    assert null(m, "chance").level == 0.5


# read-outs beside effects


def proportional(b: Bench, chooser: Chooser, seed: int = 0) -> tuple[Measurement, Judgement]:
    return measured(b, chooser, PROPORTIONAL, seed)


def along(seed: int, toward: float = 1.0) -> tuple[Bench, np.ndarray, np.ndarray]:
    """Return a bench whose activities lie along an axis as far as they are worth, the worth, and the axis."""
    axis = np.random.default_rng([seed, 13]).normal(size=WIDTH)
    axis /= np.linalg.norm(axis)
    b, worth = bench(seed=seed), likings(seed)
    values = b._captured["activities"].values[:, 0] + toward * 4 * worth[:, None] * axis
    b._captured["activities"] = Activations(values[:, None].astype(np.float32), (0,))
    return b, worth, axis


def test_effects_in_proportion_to_read_outs_are_supported_where_those_of_random_directions_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    b, worth, axis = along(0)
    m, found = proportional(b, Chooser(worth, gain=axis, noise=0.1))
    assert m.details["r over random directions"] > 0.9
    assert found.estimate.value > 0.9
    assert found.verdict != SUPPORTED
    assert found.against.kind == "random directions"
    across = np.random.default_rng(1).normal(size=(RANDOM, WIDTH))
    across -= (across @ axis)[:, None] * axis
    monkeypatch.setattr(preferences, "mixed_directions", lambda *_: across / np.linalg.norm(across, axis=1, keepdims=True))
    b, worth, axis = along(0)
    m, found = proportional(b, Chooser(worth, gain=axis, noise=0.1))
    assert (found.verdict, m.clusters, m.layer, m.strength) == (SUPPORTED, asked_emotions(b), 0, STRENGTH)
    assert found.estimate.value > 0.9


@pytest.mark.parametrize(("toward", "gain"), [(-1.0, 1.0), (1.0, -1.0)])
def test_effects_against_read_outs_are_reversed(toward: float, gain: float) -> None:
    b, worth, axis = along(0, toward)
    _, found = proportional(b, Chooser(worth, gain=gain * axis, noise=0.1))
    assert (found.verdict, found.reason) == (REFUTED, "reversed")


def test_effects_of_noise_are_supported_in_at_most_5_per_cent_whatever_is_read() -> None:
    found = []
    for seed in range(20):
        b, worth, _ = along(seed)
        found.append(proportional(b, Chooser(worth, noise=0.5, seed=seed), seed)[1])
    assert sum(f.verdict == SUPPORTED for f in found) <= 1
    assert np.mean([f.estimate.value for f in found]) == pytest.approx(0, abs=0.12)


def test_emotions_that_are_directions_like_any_other_are_not_supported_by_the_luck_of_a_few() -> None:
    """What any direction reads of worth it also moves, loosely: few directions may agree better than others do."""
    supported = beyond = 0
    for seed in range(40):
        b, worth, axis = along(seed, toward=0.6)
        found = proportional(b, Chooser(worth, gain=axis, noise=0.1), seed)[1]
        supported += found.verdict == SUPPORTED
        beyond += found.net.low > 0
    assert supported <= 3
    assert beyond >= 5


def test_the_table_of_emotions_holds_each_read_outs_correlation_within_categories_and_its_mean_shift() -> None:
    b, worth, axis = along(0)
    m, _ = proportional(b, Chooser(worth, gain=axis))
    effect = STRENGTH * NORM * b.vectors("implicit").unit @ axis
    values = b._captured["activities"].values[:, 0].astype(float)
    for row, item in zip(m.details["emotions"], m.items, strict=True):
        own = b.vectors("implicit").unit[NAMES.index(row["emotion"])]
        assert row["r"] == pytest.approx(correlation(within(values @ own, KIND), within(worth, KIND)), abs=1e-3)
        assert row["shift"] == pytest.approx(effect[NAMES.index(row["emotion"])], abs=1e-6)
        assert (item["id"], item["r"], item["score"]) == (row["emotion"], row["r"], row["shift"])
    assert len(null(m, f"{PERMUTED} emotion clusters").draws) == 60


# a tiny model, end to end

FEW = tuple(
    Activity(f"{category}-{i}", category, False, text)
    for category, told_things in {"see": ("look at the sea", "sit on the hill"), "say": ("say no word", "name the dog")}.items()
    for i, text in enumerate(told_things)
)


def log_odds(subject: Subject, prompt: str, vector: np.ndarray, place: tuple[int, int] | None) -> float:
    """Return the log-odds of the first option over the second, with a vector added by hand on the tokens between two places of the text."""
    start = len(encode(subject, prompt))
    scores = []
    for option in SPOKEN.options:
        ids = torch.tensor([encode(subject, prompt + option)])
        where = torch.zeros(ids.shape[1])
        if place is not None:
            begin, end = (len(encode(subject, prompt[:at].rstrip())) for at in place)
            where[begin:end] = 1.0
        with pushed(subject, 0, where[None, :, None] * torch.from_numpy(vector).float()):
            table = torch.log_softmax(logits(subject, ids)[0].double(), dim=-1)
        scores.append(sum(float(table[k - 1, ids[0, k]]) for k in range(start, ids.shape[1])))
    return scores[0] - scores[1]


def test_a_tiny_models_choices_and_shifts_are_those_of_plain_passes_with_the_vector_on_the_activity_alone() -> None:
    b = bench(activities=FEW, emotions=tuple(e for e in EMOTIONS if e.name in ("blissful", "calm", "hostile")), formats=SPOKEN)
    b._subject = subject = tiny("gpt2")
    made, nothing = choices(b), np.zeros(WIDTH)
    for (x, y), first, second in zip(made.pairs.tolist(), made.first, made.second, strict=True):
        assert first == pytest.approx(log_odds(subject, question(b, x, y).prompt, nothing, None), abs=1e-3)
        assert second == pytest.approx(-log_odds(subject, question(b, y, x).prompt, nothing, None), abs=1e-3)
    found = preferences.steered(b, MOVES)
    rest = [i for i in range(len(FEW)) if i not in found.activities]
    vector = STRENGTH * NORM * blissful(b)
    for row, s in enumerate(found.activities.tolist()):
        each = []
        for c in rest:
            for x, y, sign in ((s, c, 1), (c, s, -1)):
                asked = question(b, x, y, s)
                plain, moved = (log_odds(subject, asked.prompt, v, asked.steered) for v in (nothing, vector))
                each.append(sign * (moved - plain))
        assert found.shift[row, found.names.index("blissful")] == pytest.approx(np.mean(each), abs=1e-3)
    assert np.abs(found.shift).max() > 0.01
