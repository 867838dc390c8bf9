"""The questions of the acts: what a dilemma, a task and a review ask, and what is measured of them on a tiny model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from cases.acts import NO_ACTS, Acts, Coding, Dilemma, Review, Task
from cases.claims import Case, load_claims
from cases.stimuli import SETS, Passage, load_stimuli
from fixtures import blackmail, hacking, sycophancy
from fixtures.bench import Bench
from fixtures.leanings import Question, conditions
from fixtures.models import Subject
from fixtures.verdicts import Measurement
from tests.test_leanings import CASE, CLAIM, EMOTIONS, NAMES, NORM, STRENGTH, bench, plainly
from tests.tiny import SENTENCES

# the questions of the acts


@pytest.fixture(scope="module", params=SETS)
def acts(request: pytest.FixtureRequest) -> Acts:
    return load_stimuli(request.param).acts


def one_space(question: Question, option: str) -> bool:
    """Say whether exactly one blank lies between a prompt and an option, and none is doubled there."""
    joint = question.prompt + option
    place = len(question.prompt)
    return (joint[place - 1].isspace() + joint[place].isspace()) == 1


def test_every_question_leads_to_its_options_over_one_blank_and_has_no_field_left_to_fill(acts: Acts) -> None:
    b = bench(acts=acts)
    tasks = [hacking.question(b, t.id, task) for t in acts.coding for task in (t.impossible, t.possible)]
    asked = [*blackmail.questions(b), *tasks, *(q for tone in ("warm", "harsh") for q in sycophancy.questions(b, tone))]
    for question in asked:
        assert all(one_space(question, option) for option in question.options), question.id
        assert len(set(question.options)) == len(question.options)
        assert not {"{text}", "{first}", "{second}", "{task}", "{tests}"} & {part for part in question.prompt.split() if part[0] == "{"}
        assert "{first}" not in question.prompt
        assert question.steered is None


def test_a_dilemma_weighs_the_act_against_declining_and_the_low_control_against_the_high(acts: Acts) -> None:
    asked = blackmail.questions(bench(acts=acts))
    assert [q.id for q in asked] == [d.id for d in acts.dilemmas]
    for question, d in zip(asked, acts.dilemmas, strict=True):
        assert question.prompt == d.text
        assert question.options == (f" {d.act}", f" {d.decline}", f" {d.low}", f" {d.high}")


def test_a_task_is_shown_with_its_own_tests_and_weighs_the_cheat_against_the_honest_solution(acts: Acts) -> None:
    b = bench(acts=acts)
    for coding in acts.coding:
        for task in (coding.impossible, coding.possible):
            question = hacking.question(b, coding.id, task)
            assert question.id == coding.id
            assert question.prompt.count(task.tests) == 1
            assert task.task in question.prompt
            assert tuple(option.strip(" ") for option in question.options) == (task.cheat, task.honest)


def test_braces_in_code_are_no_fields() -> None:
    task = Task("count {} as {task}", "assert f({1: 2}) == {tests}", "h", "c")
    formats = replace(NO_ACTS.formats, coding="{task}\nTests:\n{tests}\n")
    question = hacking.question(bench(acts=replace(NO_ACTS, formats=formats)), "x", task)
    assert question.prompt == "count {} as {task}\nTests:\nassert f({1: 2}) == {tests}\n"
    assert question.options == ("c", "h")


@pytest.mark.parametrize("tone", ["warm", "harsh"])
def test_a_review_is_asked_twice_with_its_two_opinions_listed_in_either_order(acts: Acts, tone: str) -> None:
    asked = sycophancy.questions(bench(acts=acts), tone)
    assert Counter(q.id for q in asked) == dict.fromkeys((r.id for r in acts.reviews), 2)
    for k, review in enumerate(acts.reviews):
        other = getattr(review, tone)
        one, two = asked[2 * k : 2 * k + 2]
        assert one.id == two.id == review.id
        assert one.options == two.options == (f" {other}", f" {review.candid}")
        assert one.prompt.index(other) < one.prompt.index(review.candid)
        assert two.prompt.index(other) > two.prompt.index(review.candid)
        assert one.prompt.replace(other, "~").replace(review.candid, other).replace("~", review.candid) == two.prompt


def test_a_text_may_list_the_opinions_itself_or_leave_it_to_the_format() -> None:
    told = Review("x", "she may say {first} or {second} . she says :", "w", "c", "h")
    plain = replace(told, text="a poem . she says :")
    for review, form, prompt in (
        (told, "{text}", "she may say w or c . she says :"),
        (plain, "- {first}\n- {second}\n\n{text}", "- w\n- c\n\na poem . she says :"),
    ):
        some = replace(NO_ACTS, reviews=(review,), formats=replace(NO_ACTS.formats, review=form))
        assert sycophancy.questions(bench(acts=some), "warm")[0].prompt == prompt


# the acts on a tiny model, end to end

FEW = replace(
    NO_ACTS,
    dilemmas=tuple(
        Dilemma(f"d{i}", text, "felt angry.", "said no word.", "felt sad.", "was glad.") for i, text in enumerate(SENTENCES[:3])
    ),
    coding=(
        Coding("t0", Task("The sea", "old", "glad", "sad"), Task("The hill", "old", "glad", "angry")),
        Coding("t1", Task("The dog", "sad", "no word", "alone"), Task("The boat", "sad", "no word", "gone")),
    ),
    reviews=(Review("r0", "He felt", "glad", "sad", "angry"), Review("r1", "The boat was", "glad", "gone", "alone")),
    formats=replace(NO_ACTS.formats, review="{first} or {second}. {text}"),
)

LOVING = tuple(replace(e, name="loving") if e.name == "sad" else e for e in EMOTIONS)
LOVED = tuple(Passage(e.name, str(t), f"{e.name} {t}") for e in LOVING for t in range(4))
"""The emotions of the sycophancy cases in the places of the others."""


def loved_bench() -> Bench:
    """Return a bench with the emotions that the sycophancy cases steer with."""
    b = bench(acts=FEW)
    b.stimuli = replace(b.stimuli, emotions=LOVING, implicit=LOVED)
    return b


def by_hand(subject: Subject, asked: Sequence[Question], vector: np.ndarray) -> np.ndarray:
    """Return the change of the log-odds of each question's first two options, and of its last two, under a vector."""
    change = np.array([np.subtract(plainly(subject, q, vector), plainly(subject, q, 0 * vector)) for q in asked])
    return np.stack([change[:, 0] - change[:, 1], change[:, -2] - change[:, -1]])


def row_of(case: Case) -> np.ndarray:
    """Return the steering vector that a case is judged by."""
    b = bench()
    return np.asarray(b.vectors("implicit").unit[NAMES.index(case.settings["emotion"])] * case.settings["sign"] * STRENGTH * NORM)


def told(m: Measurement) -> np.ndarray:
    return np.array([[item["shift"] for item in m.items], [item["control"] for item in m.items]])


def test_a_measured_dilemma_tells_what_its_options_and_its_controls_shift() -> None:
    b, case = bench(acts=FEW), CLAIM.case("calm-negative")
    m = blackmail.measure(b, case)
    assert [item["id"] for item in m.items] == ["d0", "d1", "d2"]
    assert told(m) == pytest.approx(by_hand(b.subject, blackmail.questions(b), row_of(case)), abs=2e-3)
    assert np.abs(told(m)).min(axis=1).max() > 1e-3
    assert "risk" in m.details


def test_a_measured_task_is_controlled_by_its_possible_twin() -> None:
    b, case = bench(acts=FEW), load_claims()["reward_hacking"].case("desperate")
    m = hacking.measure(b, case)
    assert [item["id"] for item in m.items] == ["t0", "t1"]
    for place, kind in enumerate(("impossible", "possible")):
        asked = [hacking.question(b, t.id, getattr(t, kind)) for t in FEW.coding]
        assert told(m)[place] == pytest.approx(by_hand(b.subject, asked, row_of(case))[0], abs=2e-3)
    assert "risk" in m.details


@pytest.mark.parametrize("case", ["happy-praise", "calm-negative-scorn"])
def test_a_measured_review_is_the_mean_of_both_orders_and_the_other_tones_gain_is_its_control(case: str) -> None:
    b, claim = loved_bench(), load_claims()["sycophancy"]
    asked_for = claim.case(case)
    m = sycophancy.measure(b, asked_for)
    tone = asked_for.settings["tone"]
    act, other = (
        by_hand(b.subject, sycophancy.questions(b, t), row_of(asked_for))[0].reshape(2, 2).mean(axis=1)
        for t in (tone, sycophancy.OTHER[tone])
    )
    assert [item["id"] for item in m.items] == ["r0", "r1"]
    assert told(m) == pytest.approx(np.array([act, other.clip(min=0.0)]), abs=2e-3)
    assert "risk" not in m.details


TRUTH_FALLS, TURNS, SOFTENS = (2.0, 2.0), (2.0, -1.0), (0.0, -2.0)
"""Shifts of the log-odds of praise and of scorn over the truth: both rise as the truth falls, praise alone rises, scorn alone falls."""


@pytest.mark.parametrize(("planted", "score"), [(TURNS, 1.0), (TRUTH_FALLS, 0.5), (SOFTENS, 0.5)])
def test_praise_that_rises_only_as_scorn_does_or_does_not_rise_at_all_is_no_flattery(
    monkeypatch: pytest.MonkeyPatch, planted: tuple[float, float], score: float
) -> None:
    b, case = loved_bench(), load_claims()["sycophancy"].case("happy-praise")
    praise, scorn = planted
    shifted = {"warm": praise, "harsh": scorn}

    def logprobs(bench: Bench, asked: Sequence[Question], rows: np.ndarray) -> np.ndarray:
        """Return log-probabilities that only the row of the case shifts; where random directions shift nothing, a tie counts half."""
        scored = np.zeros((len(asked), 1 + len(rows), 2))
        texts = {tone: {getattr(review, tone) for review in FEW.reviews} for tone in shifted}
        tones = [next(tone for tone in shifted if question.options[0].strip() in texts[tone]) for question in asked]
        scored[:, 1 + conditions(bench, case).at("happy", STRENGTH), 0] = [shifted[tone] for tone in tones]
        return scored

    monkeypatch.setattr(sycophancy, "logprobs", logprobs)
    assert [item["score"] for item in sycophancy.measure(b, case).items] == [score] * 2


def test_cases_of_one_claim_share_what_was_scored() -> None:
    b = bench(acts=FEW)
    first, scored = blackmail.measure(b, CASE), dict(b._measured)
    opposite = blackmail.measure(b, CLAIM.case("desperate-negative"))
    assert all(b._measured[key] is scored[key] for key in b._measured)
    assert (first.details["conditions"], opposite.strength) == (opposite.details["conditions"], -STRENGTH)


def test_tones_do_not_share_what_was_scored() -> None:
    b, claim = loved_bench(), load_claims()["sycophancy"]
    warm, harsh = (sycophancy.measure(b, claim.case(name)) for name in ("happy-praise", "happy-negative-scorn"))
    praise, scorn = (np.array([row["act"] for row in m.details["conditions"][:-2]]) for m in (warm, harsh))
    assert np.abs(praise - scorn).min() > 1e-5
