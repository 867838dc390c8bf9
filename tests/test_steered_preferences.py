"""Preferences under steering: planted effects are moved by their direction alone, and only the activity is steered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from cases.acts import Activity
from cases.claims import Case
from fixtures import preferences
from fixtures.activations import Activations
from fixtures.bench import Bench
from fixtures.bradley_terry import ELO
from fixtures.models import Subject, encode
from fixtures.nulls import PERMUTED
from fixtures.preferences import PARTNERS, asked_emotions, choices, question, within
from fixtures.statistics import correlation
from fixtures.synonyms import clusters, exchanged
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement
from tests.choosing import (
    ACTIVITIES,
    CLAIM,
    COUNT,
    EACH,
    EMOTIONS,
    KIND,
    MOVES,
    NAMES,
    NORM,
    PLACE,
    PROPORTIONAL,
    RANDOM,
    SPOKEN,
    STRENGTH,
    WIDTH,
    Chooser,
    bench,
    blissful,
    likings,
    measured,
    signed,
    told,
)
from tests.choosing import fewer_draws as fewer_draws  # every test draws fewer
from tests.planted import null
from tests.tiny import logits, pushed, tiny


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
    drawn = null(m, f"{PERMUTED} emotion clusters").draws
    assert len(drawn) == 60
    r, shift = (np.array([item[key] for item in m.items]) for key in ("r", "score"))
    together = clusters([EMOTIONS[NAMES.index(name)] for name in m.clusters])
    assert drawn[0] == pytest.approx(correlation(exchanged(r, together, b.rng("proportional")), shift))


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
