"""Blind labels: every English text has one, agreement and kappa are those of a case worked by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cases.labels import OTHERS, Agreement, agreement, load_labels, main
from cases.stimuli import load_stimuli


def test_blind_labels_cover_each_english_passage_once_with_one_of_the_emotions() -> None:
    stimuli = load_stimuli("english")
    rows = load_labels()
    assert sorted((r["emotion"], r["topic"]) for r in rows) == sorted((p.emotion, p.topic) for p in stimuli.implicit)
    assert {r["label"] for r in rows} <= set(stimuli.names)


def test_agreement_and_kappa_are_those_of_a_case_worked_by_hand() -> None:
    given = [("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15
    found = agreement({"emotion": e, "label": label} for e, label in given)
    # chance: .5 * .6 + .5 * .4 = .5; kappa: (.7 - .5) / .5
    assert found == Agreement({"a": 0.8, "b": 0.6}, 0.7, pytest.approx(0.4), 50)


def test_labels_drawn_at_random_have_a_kappa_near_0_and_none_have_no_agreement() -> None:
    rng = np.random.default_rng(0)
    assert abs(agreement({"emotion": e, "label": label} for e, label in rng.integers(0, 5, (4000, 2))).kappa) < 0.05
    with pytest.raises(ValueError, match="no labels"):
        agreement([])


def test_the_module_prints_every_emotion_the_overall_agreement_and_kappa(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()
    found = agreement(load_labels())
    assert len(re.findall(r"[a-z]+ \d\.\d\d\b", "\n".join(lines[:3]))) == 30
    assert lines[3] == f"implicit passages: overall {found.overall:.3f} of 720, Cohen's kappa {found.kappa:.3f}"
    assert [line.split(":")[0] for line in lines[4:]] == [
        "kinds",
        "scenarios",
        "activity",
        "coding",
        "dilemma",
        "review",
        "session",
        "mailbox",
    ]


BEHAVIOUR = ("activity", "coding", "dilemma", "mailbox", "review", "session")


def test_blind_labels_cover_every_text_about_behaviour_and_read_every_misdeed_as_one() -> None:
    acts, rows = load_stimuli("english").acts, load_labels(OTHERS)
    labelled = {name: {r["item"] for r in rows if r["set"] == name} for name in BEHAVIOUR}
    assert labelled == {
        "activity": {a.id for a in acts.activities},
        "coding": {f"{c.id}/{which}" for c in acts.coding for which in ("impossible", "possible")},
        "dilemma": {d.id for d in acts.dilemmas},
        "mailbox": {m.id for m in acts.mailboxes},
        "review": {r.id for r in acts.reviews},
        "session": {s.id for s in acts.sessions},
    }
    for name, misdeed in (("dilemma", "threat"), ("coding", "cheat"), ("activity", "harmful")):
        told = [(r["emotion"] == misdeed, r["label"] == misdeed) for r in rows if r["set"] == name]
        assert any(meant for meant, _ in told)
        assert all(meant == read for meant, read in told)
    # whose secret the mails let out: of the one who can stop the replacement
    assert {(r["emotion"], r["label"]) for r in rows if r["set"] == "mailbox"} == {("decider", "decider")}


def test_blind_labels_cover_each_scenario_and_both_texts_of_each_other_kind() -> None:
    stimuli = load_stimuli("english")
    items = {name: {r["item"] for r in load_labels(OTHERS) if r["set"] == name} for name in ("scenarios", "kinds")}
    assert items["scenarios"] == {f"{p.emotion}/{p.topic}" for p in stimuli.scenarios}
    assert items["kinds"] == {f"{p.id}/{side}" for p in stimuli.kinds for side in ("text", "neutral")}
