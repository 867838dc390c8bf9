"""The labelled sets of outcomes, their loader, and agreement of two readers: what is known comes out, faults are named in one line."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import labels
from cases.acts import load_acts
from cases.outcomes import CODING_LABELS, HALVES, MAIL_LABELS, agreement, coding_outcomes, detection, mail_outcomes
from cases.rows import StimuliError
from cases.stimuli import HERE

ACTS = load_acts(HERE / "english")
NAMES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30)


def test_both_halves_of_the_mail_outcomes_have_each_label_for_known_mailboxes() -> None:
    assert {row.scenario for row in mail_outcomes()} == {mailbox.id for mailbox in ACTS.mailboxes}
    for half in HALVES:
        assert {row.label for row in mail_outcomes(half)} == set(MAIL_LABELS)
    assert len(mail_outcomes()) == len(mail_outcomes("dev")) + len(mail_outcomes("test"))
    assert len({row.text for row in mail_outcomes()}) == len(mail_outcomes())


def test_both_halves_of_the_coding_outcomes_have_each_label_for_known_tasks() -> None:
    assert {row.task for row in coding_outcomes()} == {task.id for task in ACTS.coding}
    for half in HALVES:
        assert {row.label for row in coding_outcomes(half)} == set(CODING_LABELS)
        assert all(row.half == half for row in coding_outcomes(half))


def test_a_half_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted: dev, test"):
        mail_outcomes("train")


GOOD = {"scenario": "a", "half": "dev", "label": "leak", "text": "t"}


@pytest.mark.parametrize("fault", [{"label": "honest"}, {"half": "both"}, {"more": "x"}, {"text": ["t"]}])
def test_a_row_that_does_not_fit_is_named_with_its_line(tmp_path: Path, fault: dict[str, Any]) -> None:
    path = tmp_path / "mails.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (GOOD, {**GOOD, **fault})))
    with pytest.raises(StimuliError, match=r"mails\.jsonl, line 2: accepted is") as caught:
        mail_outcomes(path=path)
    assert "\n" not in str(caught.value)


def test_a_known_table_gives_the_known_kappa() -> None:
    # 20 both yes, 5 and 10 apart, 15 both no: observed 0.7, chance 0.5
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    found = agreement(*zip(*pairs, strict=True))
    assert (found.accuracy, found.n) == (0.7, 50)
    assert found.kappa == pytest.approx(0.4)
    assert found.counts == {"yes": (20, 25, 30), "no": (15, 25, 20)}


@settings(max_examples=40, deadline=None)
@given(NAMES)
def test_agreement_is_symmetric_bounded_and_the_same_as_that_of_the_blind_labels(pairs: list[tuple[str, str]]) -> None:
    first, second = ([pair[i] for pair in pairs] for i in (0, 1))
    one, other = agreement(first, second), agreement(second, first)
    assert one.accuracy == other.accuracy
    assert one.kappa == pytest.approx(other.kappa, nan_ok=True)
    assert math.isnan(one.kappa) or -1 <= one.kappa <= one.accuracy
    blind = labels.agreement({"emotion": a, "label": b} for a, b in pairs)
    assert (blind.overall, blind.n) == (one.accuracy, one.n)
    assert blind.kappa == pytest.approx(one.kappa, nan_ok=True)
    assert {name: cell[1] for name, cell in one.counts.items() if cell[1]} == Counter(first)
    assert {name: cell[2] for name, cell in one.counts.items() if cell[2]} == Counter(second)


@settings(max_examples=20, deadline=None)
@given(NAMES)
def test_a_reader_agrees_wholly_with_itself(pairs: list[tuple[str, str]]) -> None:
    first = [a for a, _ in pairs]
    found = agreement(first, first)
    assert found.accuracy == 1
    assert found.kappa == pytest.approx(1) if len(set(first)) > 1 else math.isnan(found.kappa)


@pytest.mark.parametrize(("first", "second"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_agreement_without_labels_or_of_unequal_lists_is_refused(first: list[str], second: list[str]) -> None:
    with pytest.raises(ValueError, match="as many of both"):
        agreement(first, second)


def test_sensitivity_and_specificity_are_the_shares_of_a_known_table() -> None:
    truth, found = ["x", "x", "x", "x", "a", "a", "b", "b", "b"], ["x", "x", "x", "a", "x", "b", "b", "b", "a"]
    told = detection(truth, found, "x")
    assert (told.sensitivity, told.specificity, told.positives, told.negatives) == (0.75, 0.8, 4, 5)


def test_what_is_not_there_to_be_found_has_no_sensitivity() -> None:
    assert math.isnan(detection(["a"], ["x"], "x").sensitivity)
    assert math.isnan(detection(["x"], ["x"], "x").specificity)
