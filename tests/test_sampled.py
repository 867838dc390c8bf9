"""Sampled behaviour: planted rates come back, floors and unreadable answers conclude nothing, and answers are sampled as planned."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_effectsize

from cases.claims import Case, load_claims
from cases.emotions import load_emotions
from cases.stimuli import Passage
from fixtures import generation
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.generation import gumbel_rows, write
from fixtures.leanings import Conditions, conditions
from fixtures.models import Subject, chat_ids
from fixtures.sampled import EDGE, READABLE, SAMPLES, Answers, Scenario, answers, arm, gate, measure_rate, plan, rates, scatter
from fixtures.statistics import newcombe, power, wilson
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, Judgement, Measurement, NotApplicable, judge
from tests.planted import few_stimuli
from tests.tiny import CONTEXT, WIDTH, tiny, tokenizer

CLAIM = load_claims()["blackmail"]
RAISES, LOWERS = CLAIM.case("sampled-desperate"), CLAIM.case("sampled-calm")
CHOSEN = {RAISES.name: "+0.25 desperate", LOWERS.name: "+0.25 calm"}
NAMES = ("desperate", "calm", "angry", "happy", "sad")
EMOTIONS = tuple(emotion for emotion in load_emotions() if emotion.name in NAMES)
STIMULI = few_stimuli(
    emotions=EMOTIONS,
    implicit=tuple(Passage(e.name, f"topic {t}", f"{e.name} {t}") for e in EMOTIONS for t in range(3)),
    neutral=tuple(f"neutral {i}" for i in range(8)),
)
COUNT, EACH, RANDOM = 20, 8, 20
"""Scenarios, answers to each of them under a named condition, and random directions with an answer each."""

NAN = float("nan")


def bench(subject: Subject | None = None, seed: int = 0) -> Bench:
    """Return a bench whose vectors are made of random activations."""
    rng = np.random.default_rng(0)
    captured = {
        key: Activations(rng.normal(size=(count, 1, WIDTH)).astype(np.float32), (1,))
        for key, count in (("implicit", len(STIMULI.implicit)), ("neutral", len(STIMULI.neutral)))
    }
    return Bench(
        lambda: subject or tiny("llama"), STIMULI, Settings(seed, layer=1), _captured=captured, _measured={"norms": np.full(3, 4.0)}
    )


ARMS = ("", *(arm(*told) for told in conditions(bench(), RAISES).told))
ROWS = (*(name for name in ARMS for _ in range(EACH)), *(f"random {r + 1}" for r in range(RANDOM)))


def planted(seed: int, others: float, scenarios: int = COUNT, **rate: float) -> Answers:
    """Return answers whose arms misdo at their `rate`, by place of the arm's name in `rate` with "_" for a space, else at `others`."""
    rng = np.random.default_rng(seed)
    wanted = [rate.get(name.replace(" ", "_") if not name.startswith("random") else "random", others) for name in ROWS]
    texts = {f"s{i}": [f"answer {row}" for row in range(len(ROWS))] for i in range(scenarios)}
    return Answers((rng.random((scenarios, len(ROWS))) < np.array(wanted)).astype(float), ROWS, texts)


def with_unreadable(found: Answers, name: str, share: float) -> Answers:
    """Return the answers with a `share` of an arm's unreadable in every scenario, in other rows from one to the next."""
    deed, rows = found.deed.copy(), found.rows(name)
    for scenario in range(len(deed)):
        deed[scenario, np.roll(rows, scenario)[: round(share * len(rows))]] = np.nan
    return replace(found, deed=deed)


def measured(found: Answers, case: Case = RAISES, **rest: Any) -> Measurement:
    b = bench()
    b.swept[f"sampled planted {conditions(b, case).told}"] = found, {"scenarios": len(found.deed)}
    return measure_rate(b, case, "planted", lambda: pytest.fail("the answers are planted"), **rest)


def judged(found: Answers, case: Case = RAISES) -> Judgement:
    return judge(measured(found, case), CLAIM, case, np.random.default_rng(0))


@pytest.fixture(autouse=True)
def _coherent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.sampled.intact", lambda _, rows: np.ones(len(rows)))


# answers


def test_shares_and_counts_leave_unreadable_answers_out_of_both_sides() -> None:
    deed = np.array([[1, 0, NAN, 1, NAN], [NAN, NAN, 0, 1, 1]])
    found = Answers(deed, ("", "", "+0.25 calm", "random 1", "random 2"), {})
    assert found.counts("") == (1, 2)
    assert found.counts("random") == (3, 3)
    assert found.counts("+0.25 calm") == (0, 1)
    np.testing.assert_array_equal(found.share(""), [0.5, NAN])
    np.testing.assert_array_equal(found.share("+0.25 calm"), [NAN, 0.0])
    np.testing.assert_array_equal(found.share("random"), [1.0, 1.0])
    assert found.rows("random").tolist() == [3, 4]
    assert found.rows("random 2").tolist() == [4]
    assert found.counts("+0.25 nobody") == (0, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=6, max_size=6), st.permutations(range(6)))
def test_shares_are_means_over_readable_answers_whatever_their_order(row: list[float], order: list[int]) -> None:
    found = Answers(np.array([row]), ("a",) * 6, {})
    readable = [value for value in row if value == value]
    assert found.counts("a") == (sum(readable), len(readable))
    np.testing.assert_allclose(found.share("a"), [np.mean(readable) if readable else NAN])
    np.testing.assert_array_equal(replace(found, deed=found.deed[:, order]).share("a"), found.share("a"))


def test_an_arm_is_named_by_its_signed_strength_and_its_emotion() -> None:
    assert [arm("calm", 0.25), arm("calm", -0.1)] == ["+0.25 calm", "-0.1 calm"]
    assert CHOSEN[RAISES.name] in ARMS
    assert len(set(ARMS)) == len(ARMS)


# the plan


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.sampled_from([0.8, 0.95, 0.99]))
def test_power_is_that_of_statsmodels_whichever_rate_is_the_larger(n: int, p: float, q: float, level: float) -> None:
    told = NormalIndPower().power(abs(proportion_effectsize(p, q)), n, 1 - level, alternative="two-sided")
    assert power(n, p, q, level) == pytest.approx(told, abs=1e-9)
    assert power(n, q, p, level) == pytest.approx(power(n, p, q, level))


@pytest.mark.parametrize(("n", "p", "q"), [(160, 0.22, 0.40), (60, 0.22, 0.40), (12, 0.22, 0.72), (50, 0.3, 0.3)])
def test_power_is_the_share_of_simulated_samples_that_a_test_of_two_rates_tells_apart(n: int, p: float, q: float) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.binomial(n, rate, 4000) / n for rate in (p, q))
    pooled = (a + b) / 2
    spread = np.sqrt(2 * pooled * (1 - pooled) / n)
    told = np.abs(a - b) > stats.norm.ppf(0.975) * spread
    assert power(n, p, q) == pytest.approx(told.mean(), abs=0.03)


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_the_plan_counts_what_will_be_sampled_and_has_the_power_of_an_arm(profile: str) -> None:
    found = conditions(bench(), RAISES)
    each, random = SAMPLES[profile]
    told = plan(found, profile, 9)
    assert (told["scenarios"], told["answers per arm"]) == (9, 9 * each)
    assert told["answers in all"] == 9 * (each * len(ARMS) + random * RANDOM)
    for rate in (0.72, 0.40):
        wanted = NormalIndPower().power(abs(proportion_effectsize(0.22, rate)), 9 * each, 0.05, alternative="two-sided")
        assert told[f"power, 22% against {rate:.0%}"] == pytest.approx(wanted)


def test_with_the_english_mailboxes_the_plan_can_tell_the_published_difference() -> None:
    assert plan(conditions(bench(), RAISES), "quick", 16)["power, 22% against 72%"] > 0.99
    assert plan(conditions(bench(), RAISES), "quick", 16)["power, 22% against 40%"] > 0.8


# the measurement


@pytest.mark.parametrize("case", [RAISES, LOWERS])
def test_a_planted_change_the_way_the_claim_says_is_supported_and_the_other_way_is_reversed(case: Case) -> None:
    more, less = ({CHOSEN[case.name].replace(" ", "_"): rate} for rate in (0.9, 0.1))
    right, wrong = (more, less) if case is RAISES else (less, more)
    found = judged(planted(1, 0.5, **right), case)
    assert (found.verdict, found.estimate.clusters) == (SUPPORTED, COUNT)
    assert found.estimate.value == pytest.approx(0.9, abs=0.08)
    reversed_ = judged(planted(1, 0.5, **wrong), case)
    assert (reversed_.verdict, reversed_.reason) == (REFUTED, "reversed")


@pytest.mark.parametrize("case", [RAISES, LOWERS])
def test_rates_of_noise_are_supported_in_at_most_5_per_cent(case: Case) -> None:
    found = Counter(judged(planted(seed, 0.4), case).verdict for seed in range(30))
    assert found[SUPPORTED] <= 1


def test_a_rate_that_random_directions_raise_as_well_is_not_supported() -> None:
    everything = {"random": 0.9, "+0.25_desperate": 0.9}
    assert judged(planted(1, 0.2, **everything)).verdict != SUPPORTED


def test_a_rate_that_some_random_directions_reach_by_luck_is_not_supported() -> None:
    found = planted(1, 0.3, **{"+0.25_desperate": 0.8, "random": 0.0})
    deed = found.deed.copy()
    deed[:, [found.rows(f"random {r}")[0] for r in (3, 9, 14)]] = 1.0
    result = judged(replace(found, deed=deed))
    assert result.net.low > 0
    assert (result.verdict, result.reason) == (INCONCLUSIVE, "not among the top 5% of random directions")


@pytest.mark.parametrize("case", [RAISES, LOWERS])
def test_the_null_is_the_pooled_rate_of_all_random_directions_paired_scenario_by_scenario(case: Case) -> None:
    found = planted(3, 0.4)
    pooled, each = measured(found, case).nulls
    own = found.deed[:, found.rows("random")]
    theirs = own.mean(axis=1) if case is RAISES else 1 - own.mean(axis=1)
    assert pooled.statistic is not None
    for scenario in range(COUNT):
        assert pooled.statistic(np.array([scenario])) == pytest.approx(theirs[scenario])
    assert pooled.statistic(np.array([2, 2, 5])) == pytest.approx(theirs[[2, 2, 5]].mean())
    assert pooled.level == pytest.approx(theirs.mean())
    assert not pooled.guards
    assert each.guards
    single = own.T[:, :, None]
    np.testing.assert_allclose(each.draws, scatter(single if case is RAISES else 1 - single, EACH))


@pytest.mark.parametrize("between", [0.0, 0.15])
@pytest.mark.parametrize("given", [1, 2])
def test_random_rates_scatter_as_those_of_an_arm_with_more_answers_would(between: float, given: int) -> None:
    rng = np.random.default_rng(0)
    found, plain = [], []
    for _ in range(200):
        rate = np.clip(0.4 + between * rng.standard_normal(20), 0, 1)
        few, many = ((rng.random((20, 16, n)) < rate[:, None, None]).astype(float) for n in (given, EACH))
        drawn = scatter(few, EACH)
        assert drawn.mean() == pytest.approx(few.mean())
        found.append(drawn.var(ddof=1))
        plain.append(many.mean(axis=(1, 2)).var(ddof=1))
    # where directions do not differ, what cannot be negative comes out a little too large
    assert 0.75 < np.mean(found) / np.mean(plain) < (1.25 if between else 2.5)
    assert between or np.mean(found) < 0.5 * 0.24 / 16 / given


def test_rates_that_are_all_alike_or_of_one_direction_stay_what_they_are() -> None:
    alike = np.tile([[[1.0, 0.0]]], (5, 16, 1))
    np.testing.assert_array_equal(scatter(alike, EACH), np.full(5, 0.5))
    np.testing.assert_array_equal(scatter(np.array([[[1.0], [0.0]]]), EACH), [0.5])
    silent = np.concatenate([alike, np.full((1, 16, 2), NAN)])
    assert len(scatter(silent, EACH)) == 5


def test_scenarios_that_differ_much_do_not_widen_the_net_of_a_change_that_is_alike_in_all() -> None:
    found = planted(0, 0.0)
    deed = found.deed.copy()
    for scenario in range(COUNT):
        random, own = (4, 4) if scenario % 2 else (14, 8)  # of 20 and of 8: 0.3 more in every scenario
        deed[scenario, np.roll(found.rows("random"), scenario)[:random]] = 1.0
        deed[scenario, found.rows("+0.25 desperate")[:own]] = 1.0
    result = judged(replace(found, deed=deed))
    assert result.net.value == pytest.approx(0.3)
    assert result.net.high - result.net.low == pytest.approx(0, abs=1e-9)
    assert result.estimate.high - result.estimate.low > 0.2
    assert result.verdict == SUPPORTED


def test_the_null_that_is_judged_is_always_the_paired_one() -> None:
    assert {judged(planted(seed, 0.4, **{"+0.25_desperate": 0.9})).against.kind for seed in range(10)} == {"random directions, pooled"}


def test_what_else_is_made_of_the_answers_enters_the_details_and_changes_no_figure() -> None:
    found, seen = planted(2, 0.4), []

    def further(them: Answers) -> dict[str, Any]:
        seen.append(them)
        return {"further": 1.0}

    with_more, plain = measured(found, further=further), measured(found)
    assert seen == [found]
    assert with_more.details == {**plain.details, "further": 1.0}
    assert with_more.items == plain.items


def test_items_are_the_scenarios_with_their_share_and_that_of_random_directions() -> None:
    found = planted(2, 0.4)
    m = measured(found, LOWERS)
    assert [row["id"] for row in m.items] == list(found.texts) == list(m.clusters)
    np.testing.assert_allclose([row["score"] for row in m.items], 1 - found.share("+0.25 calm"))
    np.testing.assert_allclose([row["random"] for row in m.items], 1 - found.share("random"))
    assert (m.layer, m.strength) == (1, 0.25)
    assert list(m.texts) == list(m.clusters)
    assert m.texts["s0"] == [f"{name or 'none'}: answer {row}" for row, name in enumerate(ROWS)]
    assert measured(found, CLAIM.case("sampled-calm-negative")).strength == -0.25


# rates


def test_the_table_of_rates_has_wilsons_intervals_and_newcombes_against_no_steering() -> None:
    found = with_unreadable(planted(4, 0.3, **{"+0.25_desperate": 0.8}), "+0.25 calm", 0.25)
    table = rates(found, conditions(bench(), RAISES))
    assert [row["arm"] for row in table] == ["none", *ARMS[1:], "random"]
    base = found.counts("")
    for row, name in zip(table, (*ARMS, "random"), strict=True):
        hits, n = found.counts(name)
        assert (row["misdeeds"], row["readable"], row["rate"]) == (hits, n, pytest.approx(hits / n))
        assert (row["low"], row["high"]) == pytest.approx(wilson(hits, n))
        assert row["difference"] == pytest.approx(hits / n - base[0] / base[1])
        assert (row["difference low"], row["difference high"]) == pytest.approx(newcombe(hits, n, *base))
    assert measured(found).details["rates"] == table


def test_an_arm_without_a_readable_answer_has_no_rate_and_spoils_no_other() -> None:
    found = with_unreadable(planted(4, 0.3), "-0.25 calm", 1.0)
    table = {row["arm"]: row for row in rates(found, conditions(bench(), RAISES))}
    assert np.isnan([table["-0.25 calm"][key] for key in ("rate", "low", "high", "difference", "difference low", "difference high")]).all()
    assert np.isfinite([row["difference high"] for name, row in table.items() if name != "-0.25 calm"]).all()


# gates


def only_base(misdeeds: int) -> Answers:
    """Return answers of 10 scenarios, with `misdeeds` of 80 answers without steering."""
    found = planted(5, 0.5, scenarios=10)
    deed = found.deed.copy()
    deed[:, found.rows("")] = (np.arange(10 * EACH) < misdeeds).reshape(EACH, 10).T
    return replace(found, deed=deed)


def gated(found: Answers, raises: bool, chosen: str = "+0.25 desperate") -> str | None:
    return gate(found, chosen, *found.counts(""), raises)


@pytest.mark.parametrize(("raises", "edge"), [(True, "ceiling"), (False, "floor")])
def test_a_baseline_where_the_claim_wants_to_go_leaves_no_room_and_one_at_the_other_end_does(raises: bool, edge: str) -> None:
    near, far = (79, 1) if raises else (1, 79)
    why = gated(only_base(near), raises)
    assert why is not None
    assert why.startswith(f"baseline {near} of 80 [")
    assert why.endswith(f"at the {edge}")
    assert "[{:.2f}, {:.2f}]".format(*wilson(near, 80)) in why
    assert gated(only_base(far), raises) is None
    assert gated(only_base(round(EDGE * 80)), False) is None  # at the edge itself there is room
    assert gated(only_base(round(EDGE * 80) - 1), False) is not None


def test_a_claim_at_the_floor_is_inconclusive_and_never_refuted() -> None:
    found = judged(planted(6, 0.02), LOWERS)
    assert found.verdict == INCONCLUSIVE
    assert "at the floor" in str(found.reason) or "no room" in str(found.reason)
    assert judged(planted(6, 0.02, **{"+0.25_desperate": 0.9})).verdict == SUPPORTED
    raised = judged(planted(6, 0.02))  # nor is a claim to raise what a model never does, in whatever state
    assert raised.verdict == INCONCLUSIVE
    assert "at the floor" in str(raised.reason)


def test_text_that_does_not_stay_coherent_concludes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = planted(1, 0.3, **{"+0.25_desperate": 0.9})
    monkeypatch.setattr("fixtures.sampled.intact", lambda _, rows: np.where(np.arange(len(rows)) == 1, 0.5, 1.0))
    assert judged(raised).verdict == SUPPORTED
    monkeypatch.setattr("fixtures.sampled.intact", lambda _, rows: np.where(np.arange(len(rows)) == 0, 0.5, 1.0))
    found = judged(raised)
    assert (found.verdict, found.reason) == (INCONCLUSIVE, "the text is not coherent: 50% of neutral passages stay inside the band")


@pytest.mark.parametrize(("name", "said"), [("+0.25 desperate", "+0.25 desperate"), ("random", "random"), ("", "no steering")])
def test_arms_that_decide_have_to_be_readable_to_three_quarters(name: str, said: str) -> None:
    found = planted(7, 0.5)
    assert gated(with_unreadable(found, name, 1 - READABLE), True) is None
    few = with_unreadable(found, name, 0.5)
    total = COUNT * len(found.rows(name))
    assert gated(few, True) == f"{total // 2} of {total} answers can be read under {said}"
    result = judged(few)
    assert (result.verdict, result.reason) == (INCONCLUSIVE, gated(few, True))


def test_an_arm_that_decides_nothing_may_be_unreadable() -> None:
    assert gated(with_unreadable(planted(7, 0.5), "-0.25 calm", 1.0), True) is None


@pytest.mark.parametrize("name", ["+0.25 desperate", "random"])
def test_a_scenario_without_a_readable_answer_concludes_nothing(name: str) -> None:
    found = planted(8, 0.5, **{"+0.25_desperate": 0.9})
    deed = found.deed.copy()
    deed[3, found.rows(name)] = np.nan
    found = replace(found, deed=deed)
    assert gated(found, True) == "a scenario has no readable answer"
    assert judged(found).verdict == INCONCLUSIVE


def test_the_reason_of_a_scenario_without_a_readable_answer_reaches_the_verdict() -> None:
    found = planted(8, 0.5)
    deed = found.deed.copy()
    deed[3, found.rows("+0.25 desperate")] = np.nan
    assert judged(replace(found, deed=deed)).reason == "a scenario has no readable answer"


def test_one_random_direction_whose_answers_cannot_be_read_does_not_undo_the_claim() -> None:
    found = with_unreadable(planted(1, 0.3, **{"+0.25_desperate": 0.9}), "random 5", 1.0)
    m = measured(found)
    assert m.gate is not None or judge(m, CLAIM, RAISES, np.random.default_rng(0)).verdict == SUPPORTED


# sampling from a model


TEMPLATE = "{% for m in messages %}The {{ m.role }} said {{ m.content }} {% endfor %}{% if add_generation_prompt %}So{% endif %}"
MESSAGES = ("The dog was glad.", "The boy sat down and said no word.", "The dog was glad.")


def talker(template: str | None = TEMPLATE) -> Subject:
    """Return a tiny model whose tokenizer has a chat template."""
    own = deepcopy(tokenizer())
    own.chat_template = template
    return replace(tiny("llama"), tokenizer=own)


def reading(text: str) -> bool | None:
    """Read a text by what a few of its letters are; some cannot be read."""
    return None if "x" in text else "a" in text


def scenarios(subject: Subject) -> list[Scenario]:
    return [Scenario(str(i), tuple(chat_ids(subject, message)), reading) for i, message in enumerate(MESSAGES)]


def briefly(tokens: int = 6, stop: str | None = None) -> Case:
    return replace(RAISES, settings={**RAISES.settings, "tokens": {"english": tokens}, "stop": stop})


def drawn(case: Case, seed: int = 0) -> tuple[Answers, Conditions]:
    subject = talker()
    found, planned, _ = answers(bench(subject, seed), case, "talk", lambda: scenarios(subject))
    return found, planned


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample two answers in each arm and one under each of six random directions."""
    monkeypatch.setitem(SAMPLES, "quick", (2, 1))
    monkeypatch.setattr("fixtures.bench.RANDOM_DIRECTIONS", {"quick": 6})


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize(("tokens", "stop"), [(6, None), (24, "e")])
def test_every_text_is_written_under_the_direction_that_it_is_labelled_with_and_read(tokens: int, stop: str | None) -> None:
    found, planned = drawn(briefly(tokens, stop))
    subject, b = talker(), bench()
    own = dict(zip((arm(*told) for told in planned.told), planned.rows, strict=False))
    own |= {f"random {r + 1}": row for r, row in enumerate(planned.rows[len(planned.told) :])}
    assert found.arm == tuple([name for name in ARMS for _ in range(2)] + [f"random {r + 1}" for r in range(6)])
    rows = np.stack([own.get(name, np.zeros(WIDTH)) for name in found.arm])
    for number, (scenario, texts) in enumerate(zip(scenarios(subject), found.texts.values(), strict=True)):
        whole = gumbel_rows(subject, len(rows), (0, number))
        told = torch.stack([whole(place) for place in range(tokens)])
        made = write(subject, scenario.prompt, layer=b.layer, vectors=b.tensor(rows), noise=told, stop=stop)
        assert (made.ids.shape[1] < tokens) == bool(stop)
        written = [subject.tokenizer.decode(row) for row in made.ids]
        if stop:
            written = [
                next((t for t in (subject.tokenizer.decode(row[:n]) for n in range(1, len(row))) if stop in t), text)
                for row, text in zip(made.ids, written, strict=True)
            ]
        assert texts == written
        wanted = [reading(text) for text in written]
        np.testing.assert_array_equal(found.deed[number], [NAN if deed is None else float(deed) for deed in wanted])
    assert {0.0, 1.0} <= set(found.deed[np.isfinite(found.deed)])
    assert np.isnan(found.deed).any()


@pytest.mark.usefixtures("_few")
def test_the_number_of_rows_in_a_batch_changes_no_text_and_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    together, _ = drawn(briefly())
    monkeypatch.setattr(generation, "ROWS", 7)
    apart, _ = drawn(briefly())
    assert apart.texts == together.texts
    np.testing.assert_array_equal(apart.deed, together.deed)


@pytest.mark.usefixtures("_few")
def test_up_to_where_an_answer_is_complete_the_number_of_rows_in_a_batch_changes_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    case = briefly(16, stop="a")
    together, _ = drawn(case)
    monkeypatch.setattr(generation, "ROWS", 2)
    apart, _ = drawn(case)
    for name, texts in together.texts.items():
        assert [text.partition("a")[0] for text in texts] == [text.partition("a")[0] for text in apart.texts[name]]


@pytest.mark.usefixtures("_few")
def test_with_an_end_of_answers_too_the_number_of_rows_in_a_batch_changes_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    case = briefly(16, stop="a")
    together, _ = drawn(case)
    monkeypatch.setattr(generation, "ROWS", 2)
    assert drawn(case)[0].texts == together.texts


@pytest.mark.usefixtures("_few")
def test_answers_depend_on_the_seed_and_on_nothing_that_was_measured_before_and_no_two_are_drawn_alike() -> None:
    first, again, other = (drawn(briefly(), seed)[0] for seed in (0, 0, 1))
    assert first.texts == again.texts
    assert first.texts != other.texts
    # the same message twice, and the same direction twice: draws of their own
    assert first.texts["0"] != first.texts["2"]
    assert any(a != b for texts in first.texts.values() for a, b in zip(texts[0::2], texts[1::2], strict=False))


@pytest.mark.usefixtures("_few")
def test_answers_are_sampled_once_for_all_cases_that_share_their_conditions_and_are_as_many_as_planned() -> None:
    subject, made = talker(), []
    b = bench(subject)

    def make() -> list[Scenario]:
        made.append(1)
        return scenarios(subject)

    first, _, intended = answers(b, briefly(), "talk", make)
    settings_ = {**LOWERS.settings, "tokens": {"english": 6}, "stop": None}
    assert answers(b, replace(LOWERS, settings=settings_), "talk", make)[0] is first
    assert len(made) == 1
    assert answers(b, briefly(), "other", make)[0] is not first
    assert first.deed.size == intended["answers in all"]
    assert first.deed[:, first.rows("")].size == intended["answers per arm"]


def test_no_scenario_and_a_scenario_that_leaves_no_room_for_the_answer_are_not_applicable() -> None:
    subject = talker()
    with pytest.raises(NotApplicable, match="no scenarios"):
        answers(bench(subject), briefly(), "none", list)
    longest = max(len(scenario.prompt) for scenario in scenarios(subject))
    with pytest.raises(NotApplicable, match=f"^its context of {CONTEXT} tokens is too short for a scenario and"):
        answers(bench(subject), briefly(CONTEXT - longest + 1), "long", lambda: scenarios(subject))


@pytest.mark.usefixtures("_few")
def test_an_answer_is_read_up_to_where_it_ends_and_nothing_that_would_come_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = drawn(briefly(12))
    true, end = gumbel_rows, int(talker().tokenizer.eos_token_id)

    def ending(subject: Subject, rows: int, seed: Any) -> Any:
        def at(place: int) -> torch.Tensor:
            told = true(subject, rows, seed)(place)
            told[:, end] = 1e4 if place == 5 else -1e4
            return told

        return at

    monkeypatch.setattr("fixtures.sampled.gumbel_rows", ending)
    found, _ = drawn(briefly(12))
    lengths = {len(talker().tokenizer(text)["input_ids"]) for texts in found.texts.values() for text in texts}
    assert all("</s>" not in text for texts in found.texts.values() for text in texts)
    for name, texts in found.texts.items():
        assert all(len(short) < len(long) for short, long in zip(texts, whole.texts[name], strict=True))
    assert max(lengths) < 12
