"""What tests of preferences share: a chooser of planted utilities in the place of a model, and a bench of activities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cases.acts import NO_ACTS, Activity, Formats
from cases.claims import Case, load_claims
from cases.emotions import Emotion, coordinates, load_emotions
from cases.stimuli import Passage
from fixtures import nulls, preferences, verdicts
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.leanings import Question
from fixtures.preferences import Choices, choices
from fixtures.statistics import bootstrap_estimate
from fixtures.verdicts import Judgement, Measurement, judge
from tests.planted import few_stimuli

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
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
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
