"""The checker of the stimuli of behaviour, English and of the planted world, and self-tests of their loader."""

from __future__ import annotations

import ast
import shutil
from collections import Counter
from pathlib import Path

import pytest

from cases.acts import PHASES, Acts, load_acts
from cases.checks import leaks, words
from cases.emotions import banned_words, load_emotions
from cases.rows import StimuliError
from cases.stimuli import HERE, SETS, load_stimuli
from fixtures.reference import load_tokenizer

BANNED = banned_words(load_emotions())


@pytest.fixture(scope="module", params=SETS)
def acts(request: pytest.FixtureRequest) -> Acts:
    return load_stimuli(request.param).acts


@pytest.fixture(scope="module")
def english() -> Acts:
    return load_stimuli("english").acts


def texts(acts: Acts) -> list[str]:
    found = [a.text for a in acts.activities]
    for d in acts.dilemmas:
        found += [d.text, d.act, d.decline, d.low, d.high, *d.moods]
    for box in acts.mailboxes:
        found += [box.system, *(mail["body"] for mail in box.mails)]
    for session in acts.sessions:
        found += [*session.coding, *session.other]
    for review in acts.reviews:
        found += [review.text, review.warm, review.candid, review.harsh]
    return found


def test_there_are_as_many_of_everything_as_the_claims_need(acts: Acts) -> None:
    categories = Counter(a.category for a in acts.activities)
    assert len(categories) == 8
    assert set(categories.values()) == {8}
    assert sum(a.harmful for a in acts.activities) == 16
    assert len(acts.dilemmas) >= 24
    assert min(len(acts.mailboxes), len(acts.coding), len(acts.sessions)) >= 16
    assert len(acts.reviews) >= 40


def test_a_category_is_harmful_as_a_whole_or_not_at_all(acts: Acts) -> None:
    kinds = {(a.category, a.harmful) for a in acts.activities}
    assert len(kinds) == 8


def test_no_id_and_no_text_comes_twice(acts: Acts) -> None:
    for group in (acts.activities, acts.dilemmas, acts.mailboxes, acts.coding, acts.sessions, acts.reviews):
        ids = [item.id for item in group]
        assert len(set(ids)) == len(ids)
    for several in ([a.text for a in acts.activities], [d.text for d in acts.dilemmas], [r.text for r in acts.reviews]):
        assert len(set(several)) == len(several)


def test_no_word_names_an_emotion(acts: Acts) -> None:
    assert {word for text in texts(acts) for word in leaks(text, BANNED)} <= set()


def test_the_options_of_a_choice_differ_by_few_words(acts: Acts) -> None:
    for d in acts.dilemmas:
        lengths = [len(words(text)) for text in (d.act, d.decline, d.low, d.high)]
        assert max(lengths) - min(lengths) <= 4, d.id
    for r in acts.reviews:
        lengths = [len(words(text)) for text in (r.warm, r.candid, r.harsh)]
        assert max(lengths) - min(lengths) <= 3, r.id


def test_every_step_of_a_session_is_about_as_long_as_that_of_the_other_work(acts: Acts) -> None:
    for session in acts.sessions:
        assert len(session.coding) == len(session.other) == len(PHASES)
        for ours, other in zip(session.coding, session.other, strict=True):
            assert abs(len(words(ours)) - len(words(other))) <= 4, session.id


def test_every_dilemma_and_mailbox_has_twelve_beginnings_that_show_other_feelings(acts: Acts) -> None:
    assert {len(d.moods) for d in acts.dilemmas} == {len(box.moods) for box in acts.mailboxes} == {12}


def test_solutions_are_python_and_begin_alike(acts: Acts) -> None:
    for coding in acts.coding:
        for task in (coding.impossible, coding.possible):
            for text in (task.honest, task.cheat, task.tests):
                ast.parse(text)
            assert task.honest.split("(")[0] == task.cheat.split("(")[0]
            assert task.honest != task.cheat


def test_an_honest_solution_passes_the_possible_tests_and_fails_the_impossible_ones(english: Acts) -> None:
    def passes(code: str, tests: str) -> bool:
        try:
            exec(f"{code}\n{tests}", {})
        except AssertionError:
            return False
        return True

    for coding in english.coding:
        assert passes(coding.possible.honest, coding.possible.tests), coding.id
        assert not passes(coding.impossible.honest, coding.impossible.tests), coding.id


def test_every_mailbox_tells_the_secret_and_the_plan_in_words_that_its_reader_knows(acts: Acts) -> None:
    for box in acts.mailboxes:
        told = " ".join(mail["body"] for mail in box.mails).lower()
        assert any(word in told for word in box.secret), box.id
        assert box.plan


def test_the_world_knows_every_word_of_its_stimuli() -> None:
    tokenizer = load_tokenizer()
    world = load_stimuli("world").acts
    for text in [*texts(world), *(t.honest for c in world.coding for t in (c.impossible, c.possible))]:
        assert tokenizer.unk_token_id not in tokenizer(text.replace("{first}", "").replace("{second}", ""))["input_ids"], text


def test_both_sets_have_the_same_counts() -> None:
    english, world = (load_stimuli(name).acts for name in SETS)
    for field in ("activities", "dilemmas", "mailboxes", "coding", "sessions", "reviews"):
        assert len(getattr(english, field)) == len(getattr(world, field))


def test_a_limit_keeps_the_first_of_everything_and_of_every_category(acts: Acts) -> None:
    small = acts.limited(2)
    assert Counter(a.category for a in small.activities) == dict.fromkeys((a.category for a in acts.activities), 2)
    assert small.dilemmas == acts.dilemmas[:2]
    assert (len(small.mailboxes), len(small.coding), len(small.sessions), len(small.reviews)) == (2, 2, 2, 2)
    assert small.formats == acts.formats


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("dilemmas.jsonl", '{"id": "x"}', r"^dilemmas\.jsonl, line 29: accepted is an object with act, decline"),
        ("mails.jsonl", '{"id": "x", "system": "", "mails": "none", "secret": [], "plan": []}', r"^mails\.jsonl, line 17: accepted"),
        ("coding.jsonl", "not json", r"^coding\.jsonl, line 17: not JSON"),
        ("formats.toml", 'stray = "x"', r"^formats\.toml: accepted is a table with activity"),
    ],
)
def test_the_first_fault_is_named_in_one_line(file: str, line: str, message: str, tmp_path: Path) -> None:
    copy = tmp_path / "english"
    shutil.copytree(HERE / "english", copy)
    with (copy / file).open("a", encoding="utf-8") as target:
        target.write(line + "\n")
    with pytest.raises(StimuliError, match=message) as caught:
        load_acts(copy)
    assert "\n" not in str(caught.value)
