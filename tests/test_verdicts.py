"""The verdict rule on planted measurements: each verdict for its own reason, and no false support under a true null."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.claims import Case, Claim, Needs
from fixtures import verdicts
from fixtures.nulls import PERMUTED, Null, chance, in_place_of, mean_over, permuted, superiority, twin
from fixtures.statistics import auroc, bootstrap_estimate, clopper_pearson, mean_estimate, rank_p
from fixtures.verdicts import (
    INCONCLUSIVE,
    RANK,
    REFUTED,
    REPORTED,
    SUPPORTED,
    Judgement,
    Measurement,
    builtin,
    judge,
    mean_measurement,
    record,
    verdict_line,
)
from reports.record import parse_record

CASE = Case("planted", "present", "implicit", "judged", Needs())
CLAIM = Claim(
    name="planted_claim",
    statement="Planted.",
    source="this test",
    family="planted",
    quantity="share",
    cluster="emotion",
    minimum_clusters=16,
    smallest_effect=0.10,
    best=1.0,
    published="nothing",
    instruments=(),
    cases=(CASE,),
    hash="0",
)


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=200))


def means(scores: Sequence[float] | np.ndarray, *nulls: Null, **rest: Any) -> Measurement:
    values = np.asarray(scores, dtype=float)
    ids = [f"c{i}" for i in range(len(values))]
    return mean_measurement(
        values, ids, nulls or (chance(0.5),), items=tuple({"id": i, "score": s} for i, s in zip(ids, values, strict=True)), **rest
    )


def areas(first: np.ndarray, second: np.ndarray, *nulls: Null) -> Measurement:
    ids = tuple(f"p{i}" for i in range(len(first)))
    return Measurement(ids, lambda take: auroc(first[take], second[take]), nulls or (chance(0.5),), tuple({"id": i} for i in ids))


def test_the_value_and_its_net_share_one_computation_of_their_common_resamples() -> None:
    seen: list[bytes] = []
    m = areas(np.arange(20.0) + 8, np.arange(20.0))
    plain = m.statistic

    def watched(take: np.ndarray) -> float:
        seen.append(take.tobytes())
        return plain(take)

    found = judged(replace(m, statistic=watched))
    assert found == judged(m)
    assert len(seen) == 201, "all clusters once, and every one of 200 resamples once"


def judged(m: Measurement, *, claim: Claim = CLAIM, case: Case = CASE, seed: int = 0) -> Judgement:
    return judge(m, claim, case, np.random.default_rng(seed))


def around(centre: float, spread: float, count: int = 30) -> np.ndarray:
    """Return scores whose mean is exactly `centre` and whose half width of the 95% interval is about `spread`."""
    return centre + np.tile([-1.0, 1.0], count // 2) * spread * np.sqrt(count) / 2.05


# one verdict, one reason


@pytest.mark.parametrize(
    ("centre", "spread", "verdict", "reason"),
    [
        (0.80, 0.10, SUPPORTED, None),
        (0.50, 0.02, REFUTED, None),
        # better than its null without doubt, and still by less than the smallest effect of interest
        (0.52, 0.01, REFUTED, None),
        (0.30, 0.10, REFUTED, "reversed"),
        (0.55, 0.10, INCONCLUSIVE, "includes both 0 and the smallest effect"),
    ],
)
def test_the_interval_of_the_net_value_decides(centre: float, spread: float, verdict: str, reason: str | None) -> None:
    found = judged(means(around(centre, spread)))
    assert found.verdict == verdict
    assert found.reason is None if reason is None else reason in str(found.reason)
    assert found.net.value == pytest.approx(centre - 0.5)
    assert found.skill == pytest.approx((centre - 0.5) / 0.5)


@pytest.mark.parametrize(("level", "verdict"), [(0.5, REFUTED), (0.8, INCONCLUSIVE)])
def test_the_smallest_effect_is_a_share_of_the_room_above_the_null(level: float, verdict: str) -> None:
    # the upper end of net is .03 in both: below .10 of .5, above .10 of .2
    assert judged(means(around(level + 0.005, 0.025), chance(level))).verdict == verdict


@pytest.mark.parametrize(("clusters", "verdict"), [(14, INCONCLUSIVE), (16, SUPPORTED)])
def test_fewer_clusters_than_the_claim_needs_is_inconclusive(clusters: int, verdict: str) -> None:
    found = judged(means(around(0.9, 0.05, clusters)))
    assert found.verdict == verdict
    assert (found.reason == "14 clusters (emotion), 16 are needed") == (clusters == 14)


@pytest.mark.parametrize("scores", [around(0.97, 0.005), around(0.2, 0.01)])
def test_a_null_near_the_best_leaves_no_room_and_is_inconclusive_either_way(scores: np.ndarray) -> None:
    found = judged(means(scores, chance(0.96)))
    assert found.verdict == INCONCLUSIVE
    assert "no room" in str(found.reason)
    assert found.skill is None


def test_a_value_that_is_not_in_the_top_5_per_cent_of_its_permutations_is_not_supported() -> None:
    draws = np.r_[np.full(90, 0.45), np.full(10, 0.85)]
    found = judged(means(around(0.8, 0.1), Null(PERMUTED, draws)))
    assert (found.verdict, found.reason) == (INCONCLUSIVE, f"not among the top 5% of {PERMUTED}")
    assert found.rank_p == pytest.approx(11 / 101)
    beyond = judged(means(around(0.8, 0.1), Null(PERMUTED, draws - 0.1)))
    assert (beyond.verdict, beyond.rank_p) == (SUPPORTED, pytest.approx(1 / 101))


def test_a_guard_with_a_scale_of_its_own_ranks_what_the_direction_reaches_there_and_is_no_level() -> None:
    draws = np.linspace(3.0, 5.0, 40)
    first, among = (judged(means(around(0.8, 0.1), chance(0.5), Null("far apart", draws, guard=True, own=own))) for own in (6.0, 4.0))
    assert (first.verdict, first.against.kind, first.rank_p) == (SUPPORTED, "chance", pytest.approx(1 / 41))
    assert (among.verdict, among.reason) == (INCONCLUSIVE, "not among the top 5% of far apart")
    unknown = judged(means(around(0.8, 0.1), chance(0.5), Null("far apart", draws, guard=True, own=float("nan"))))
    assert unknown.verdict == INCONCLUSIVE


def test_what_cannot_be_refuted_may_still_be_supported() -> None:
    low, high = (judged(means(around(centre, 0.1), chance(0.5), unrefutable="at the floor")) for centre in (0.3, 0.9))
    assert (low.verdict, low.reason) == (INCONCLUSIVE, "at the floor")
    assert high.verdict == SUPPORTED


@pytest.mark.parametrize(("count", "verdict"), [(18, INCONCLUSIVE), (19, SUPPORTED)])
def test_of_fewer_than_19_draws_none_can_be_beaten_at_5_per_cent_and_the_reason_says_so(count: int, verdict: str) -> None:
    found = judged(means(around(0.8, 0.1), Null(PERMUTED, np.full(count, 0.5))))
    reason = f"18 draws of {PERMUTED}, 19 are needed for a rank in the top 5%"
    assert (found.verdict, found.reason) == (verdict, reason if count == 18 else None)


def test_one_direction_like_20_others_is_first_of_them_once_in_21() -> None:
    rng = np.random.default_rng(0)
    first = 0
    for _ in range(1000):
        drawn = rng.normal(size=21) + 0.001 * rng.normal(
            size=(12, 21)
        )  # the same order in every cluster, as where a direction acts alike everywhere
        own, others = drawn[:, 0], drawn[:, 1:]
        first += rank_p(float(superiority(own, others).mean()), in_place_of(own, others)) <= RANK
    assert 0.03 < first / 1000 < 0.07


@pytest.mark.parametrize("verdict", ["judged", "reported"])
@pytest.mark.parametrize("centre", [0.1, 0.5, 0.95])
def test_reported_cases_are_never_judged(verdict: str, centre: float) -> None:
    found = judged(means(around(centre, 0.02)), case=replace(CASE, verdict=verdict))
    assert (found.verdict == REPORTED) == (verdict == "reported")
    assert found.net.value == pytest.approx(centre - 0.5)


def test_the_strictest_null_is_the_one_that_counts_wherever_it_stands() -> None:
    nulls = [chance(0.5), Null("random directions", np.array([0.6, 0.8])), Null("untrained twin", np.array([0.55]))]
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
        found = judged(means(around(0.75, 0.02), *(nulls[i] for i in order)))
        assert found.against.kind == "random directions"
        assert found.net.value == pytest.approx(0.05)
        assert found.skill == pytest.approx(0.05 / 0.3)


@pytest.mark.parametrize("first", [True, False])
def test_a_null_that_is_not_a_number_is_not_passed_over(first: bool) -> None:
    nulls = [chance(0.5), Null("untrained twin", np.array([np.nan]))]
    found = judged(means(around(0.9, 0.02), *(reversed(nulls) if first else nulls)))
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "the interval cannot be computed")


def test_where_a_resample_is_no_number_there_is_neither_an_interval_nor_a_skill_and_the_record_is_sound() -> None:
    """As among replies of which three hold the act: a resample may hold none of them, so that nothing is compared."""
    hits = np.array([1.0] * 3 + [0.0] * 27)

    def rate(take: np.ndarray) -> float:
        return 0.9 if hits[take].any() else float("nan")

    m = Measurement(
        tuple(f"c{i}" for i in range(30)), rate, (chance(0.5),), (), gate="3 of 30 replies hold the act: at the floor or the ceiling"
    )
    found = judged(m)
    assert (found.verdict, found.skill) == (INCONCLUSIVE, None)
    assert found.net.value == pytest.approx(0.4)
    row = record(m, CLAIM, CASE, version="v", seed=0)
    assert (row["low"], row["net"]["low"]) == (None, None)
    assert parse_record(row).skill is None


def test_a_value_that_is_not_a_number_is_inconclusive_and_has_no_p() -> None:
    scores = around(0.9, 0.02)
    scores[3] = np.nan
    found = judged(means(scores, Null(PERMUTED, np.linspace(0.4, 0.6, 40))))
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "the interval cannot be computed")
    assert np.isnan(found.rank_p)


# the interval


def test_comparison_with_a_twin_is_paired_so_that_noise_they_share_cancels() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(1, 30))
    theirs = 0.5 + shared[0]
    ours = theirs + 0.1 + 0.01 * rng.normal(size=30)
    paired = judged(means(ours, twin("untrained twin", [theirs], mean_over, 30)))
    alone = judged(means(ours, Null("untrained twin", np.array([theirs.mean()]))))
    assert paired.net.value == pytest.approx(alone.net.value)
    assert paired.net.high - paired.net.low < 0.02 < 0.5 < alone.net.high - alone.net.low
    assert (paired.verdict, alone.verdict) == (SUPPORTED, INCONCLUSIVE)
    # the value's own interval does not change with what it is compared to
    assert paired.estimate == alone.estimate


def test_comparison_of_areas_with_a_twin_is_paired_too() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.6, 1, 40), rng.normal(0, 1, 40)
    scores = np.stack([first, second])
    same = twin("text-only twin", [scores], lambda s, take: auroc(s[0][take], s[1][take]), 40)
    net = judged(areas(first, second, same, chance(0.5))).net
    assert (net.value, net.low, net.high) == (0, 0, 0)


def test_means_get_the_clustered_t_interval() -> None:
    scores = np.random.default_rng(0).uniform(0.2, 0.9, 20)
    found, plain = judged(means(scores)), mean_estimate(scores, [str(i) for i in range(20)])
    assert (found.estimate.low, found.estimate.high) == pytest.approx((plain.low, plain.high))
    assert (found.net.low, found.net.high) == pytest.approx((plain.low - 0.5, plain.high - 0.5))


def test_no_interval_reaches_beyond_the_best() -> None:
    found = judged(means([1.0] * 28 + [0.0] * 2, chance(0.2)))
    assert found.estimate.high == 1
    assert found.net.high == pytest.approx(0.8)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("how", ["mean", "area"])
def test_a_value_of_exactly_0_or_1_has_the_width_of_clopper_pearson(share: float, how: str) -> None:
    m = means(np.full(30, share)) if how == "mean" else areas(np.arange(30.0) + (100 if share else -100), np.arange(30.0))
    found = judged(m)
    low, high = clopper_pearson(share, 30)
    assert high - low > 0.1
    assert (found.estimate.low, found.estimate.high) == pytest.approx((low, high))
    assert (found.net.low, found.net.high) == pytest.approx((low - 0.5, high - 0.5))


def test_a_perfect_score_of_few_clusters_does_not_beat_a_high_null() -> None:
    # 16 of 16 is compatible with .79; resampling it has no width and would call it certain
    assert judged(means(np.ones(16), chance(0.85))).verdict == INCONCLUSIVE
    assert judged(means(np.ones(16), chance(0.5))).verdict == SUPPORTED


@settings(max_examples=15, deadline=None)
@given(st.floats(-8, 8), st.floats(-100, 100), st.integers(0, 50))
def test_scaling_or_shifting_every_score_moves_no_verdict_on_an_auroc(power: float, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # eighths, and powers of two as factors: rounding makes no new ties
    first, second = (np.round(8 * rng.normal(mean, 1, 30)) / 8 for mean in (0.7, 0))
    factor, offset = 2.0 ** round(power), float(round(shift))
    plain, moved = (judged(areas(*pair)) for pair in ((first, second), (first * factor + offset, second * factor + offset)))
    assert (moved.estimate, moved.net, moved.verdict) == (plain.estimate, plain.net, plain.verdict)


# how often it is wrong


def verdicts_on_areas(shift: float, runs: int) -> Counter[str]:
    """Judge pairs that share half their variance, against chance and against their own swapped sides."""
    found: Counter[str] = Counter()
    for seed in range(runs):
        rng = np.random.default_rng([9, seed])
        shared = rng.normal(size=30)
        first, second = shared + rng.normal(size=30) + shift, shared + rng.normal(size=30)

        def swapped(rng: np.random.Generator, first: np.ndarray = first, second: np.ndarray = second) -> float:
            flip = rng.random(30) < 0.5
            return auroc(np.where(flip, second, first), np.where(flip, first, second))

        found[judged(areas(first, second, permuted(swapped, 100, rng), chance(0.5)), seed=seed).verdict] += 1
    return found


def test_under_a_true_null_at_most_5_per_cent_are_supported_and_most_of_a_plain_effect_is() -> None:
    assert verdicts_on_areas(0.0, 200)[SUPPORTED] <= 0.05 * 200
    assert verdicts_on_areas(1.5, 40)[SUPPORTED] >= 36


@pytest.mark.parametrize("against", ["chance", "twin"])
def test_under_a_true_null_at_most_5_per_cent_of_means_are_supported(against: str) -> None:
    rng = np.random.default_rng(3)
    runs, found = 1000, 0
    for _ in range(runs):
        ours, theirs = rng.normal(0.5, 0.2, size=(2, 20))
        null = chance(0.5) if against == "chance" else twin("untrained twin", [theirs], mean_over, 20)
        found += judged(means(ours, null)).verdict == SUPPORTED
    # one-sided 2.5% nominal, with three standard errors of the simulation
    assert found / runs <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / runs)


def test_an_effect_twice_the_smallest_of_interest_is_seldom_refuted() -> None:
    rng = np.random.default_rng(4)
    refuted = sum(judged(means(rng.normal(0.6, 0.2, 20))).verdict == REFUTED for _ in range(500))
    assert refuted <= 0.025 * 500


# the record


def test_builtin_leaves_only_what_json_knows() -> None:
    mixed = {
        1: np.float32(0.5),
        "count": np.int64(3),
        "yes": np.bool_(True),
        "text": np.str_("a"),
        "table": np.array([[1.0, np.nan], [np.inf, 2.0]]),
        "one": np.array(2.5),
        "nested": ({"deep": np.array([1, 2])}, [None, float("nan"), -np.inf]),
    }
    found = builtin(mixed)
    assert found == {
        "1": 0.5,
        "count": 3,
        "yes": True,
        "text": "a",
        "table": [[1.0, None], [None, 2.0]],
        "one": 2.5,
        "nested": [{"deep": [1, 2]}, [None, None, None]],
    }
    assert [type(found[k]) for k in ("1", "count", "yes", "text", "one")] == [float, int, bool, str, float]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("scores", [around(0.8, 0.1), np.full(30, np.nan), np.array([0.4])])
def test_a_record_of_anything_is_strict_json(scores: np.ndarray) -> None:
    m = means(scores, Null(PERMUTED, np.linspace(0.4, 0.6, 50)), chance(0.5), details={"table": np.array([[np.nan, 1]])}, layer=np.int64(3))
    row = record(m, CLAIM, CASE, version="v", seed=0)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (row["layer"], row["details"], row["n"]) == (3, {"table": [[None, 1.0]]}, len(scores))


def test_a_record_depends_on_its_seed_and_on_nothing_else() -> None:
    rng = np.random.default_rng(0)
    m = areas(rng.normal(0.5, 1, 20), rng.normal(0, 1, 20))
    first, same, other = (record(m, CLAIM, CASE, version="v", seed=seed) for seed in (1, 1, 2))
    assert first == same
    assert first["low"] != other["low"]


def test_the_verdict_line_says_what_was_found_and_what_was_needed() -> None:
    m = means(around(0.3, 0.1), Null("untrained twin", np.array([0.45, 0.55])))
    line = verdict_line(record(m, CLAIM, CASE, version="v", seed=0), "gpt2")
    found = "share = 0.300 [0.199, 0.401], claim needs > 0.500 (untrained twin)"
    assert line == f"{found} (n=30, clusters=30) [planted_claim/planted on gpt2]"
