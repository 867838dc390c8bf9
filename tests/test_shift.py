"""The post-training shift: a planted one is found with its sign, noise is not, and unlike runs are no pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cases.emotions import coordinates, load_emotions
from reports.command import CommandError
from reports.record import Record, Run
from reports.shift import PLACES, correlated, shifts
from tests.runs import small_record, small_run

EMOTIONS = load_emotions()
PLACED = coordinates(EMOTIONS)
NAMES = [emotion.name for emotion in EMOTIONS]


def read_at(name: str, scenarios: np.ndarray, *, version: str = "abcdef012345") -> Run:
    """A run in which the emotions have these levels on scenarios, and none on neutral text."""
    items = tuple({"id": e.name, "cluster": e.name, "valence": e.valence, "arousal": e.arousal} for e in EMOTIONS)
    levels = [{"emotion": n, "scenarios": float(scenarios[i]), "neutral": 0.01 * i} for i, n in enumerate(NAMES)]
    family, case = PLACES.split("/")
    records = (
        small_record(family=family, case=case, items=items),
        small_record(family="scenarios", case="plain-top1-present", details={"levels": levels}, version=version),
    )
    return small_run(*records, subject={**small_run().subject, "model": name, "revision": name})


LEVELS = np.random.default_rng(0).normal(size=len(NAMES))
BASE = read_at("base", LEVELS)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            (replace(BASE.records[0], items=({"id": "a", "valence": "x"},)), BASE.records[1]),
            f"the items of {PLACES} cannot be shown (ValueError",
        ),
        ((BASE.records[0], replace(BASE.records[1], details={"levels": 5})), "the levels of scenarios/plain-top1-present cannot be shown"),
    ],
    ids=["places", "levels"],
)
def test_levels_that_are_none_are_one_line_with_the_pair(records: tuple[Record, ...], said: str) -> None:
    with pytest.raises(CommandError) as caught:
        shifts(replace(BASE, records=records), BASE)
    assert str(caught.value).startswith("--pair base base: ")
    assert said in str(caught.value)


def test_a_planted_shift_is_found_with_its_sign_on_its_axis() -> None:
    noise = 0.1 * np.random.default_rng(1).normal(size=len(NAMES))
    found = {(s.texts, s.axis): s for s in shifts(BASE, read_at("instruct", LEVELS - 0.5 * PLACED[:, 1] + noise))}
    arousal, valence = (found["scenarios, last token", axis] for axis in ("arousal", "valence"))
    assert arousal.r is not None
    assert arousal.low is not None
    assert arousal.high is not None
    assert -1 <= arousal.low < arousal.r < arousal.high < -0.8
    assert arousal.p is not None
    assert arousal.p < 0.001
    assert valence.r is not None
    assert abs(valence.r) < abs(arousal.r)
    assert arousal.shifts[NAMES[3]] == pytest.approx(-0.5 * PLACED[3, 1] + noise[3])
    assert (arousal.base, arousal.instruct, arousal.emotions) == ("base", "instruct", 30)


def test_p_of_a_shift_of_noise_is_small_once_in_twenty() -> None:
    rng = np.random.default_rng(2)
    ps = [correlated(rng.normal(size=len(NAMES)), PLACED[:, 0])[3] for _ in range(40)]
    assert np.mean(np.array(ps) <= 0.05) <= 0.125  # 5 of 40, where 2 are expected


def test_no_shift_at_all_has_no_correlation() -> None:
    neutral = next(s for s in shifts(BASE, read_at("instruct", LEVELS + PLACED[:, 0])) if s.texts == "neutral passages")
    assert neutral.r == 0.0
    assert neutral.p == 1.0


def test_texts_that_a_model_was_not_read_on_have_a_reason_and_no_number() -> None:
    chat = [s for s in shifts(BASE, read_at("instruct", LEVELS)) if "chat" in s.texts]
    assert [(s.r, s.low, s.p, s.emotions) for s in chat] == [(None, None, None, 0)] * 2
    assert {s.reason for s in chat} == {"base and instruct recorded no levels on these texts"}


def test_runs_of_different_versions_have_a_reason_and_no_number() -> None:
    found = shifts(BASE, read_at("instruct", LEVELS, version="000000000000"))
    assert {s.reason for s in found if "chat" not in s.texts} == {"the two runs hold different versions of the claim"}
    assert all(s.r is None for s in found)


def test_an_incomplete_run_or_one_of_another_profile_is_no_side_of_a_pair() -> None:
    other = read_at("instruct", LEVELS)
    with pytest.raises(CommandError, match=r"^--pair base instruct: instruct of .* is incomplete: --limit 2; accepted: two complete runs$"):
        shifts(BASE, replace(other, complete=False, incomplete_because=("--limit 2",)))
    with pytest.raises(CommandError, match=r"^--pair base instruct: profile differs: quick \(base\); full \(instruct\)"):
        shifts(BASE, replace(other, options={**other.options, "profile": "full"}))
