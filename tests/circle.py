"""What the self-tests of the circumplex share: passages with planted axes of valence and arousal, and plain arithmetic beside them."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cases.claims import load_claims
from cases.emotions import Emotion, coordinates, load_emotions
from cases.stimuli import Passage, Stimuli
from fixtures import nulls, verdicts
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.statistics import bootstrap_estimate
from fixtures.synonyms import clusters
from fixtures.vectors import unit
from fixtures.verdicts import Judgement, Measurement, judge
from tests.planted import few_stimuli

CLAIM = load_claims()["circumplex"]
EMOTIONS = tuple(load_emotions())
PLACES = coordinates(EMOTIONS)
VALENCE, AROUSAL = PLACES.T
GROUPS = clusters(EMOTIONS)
COUNT, WIDTH, TOPICS, NEUTRAL = len(EMOTIONS), 40, 18, 12
AXES = np.linalg.qr(np.random.default_rng(7).normal(size=(WIDTH, WIDTH)))[0]
VALENCE_BY = {"component": "implicit-valence-present", "decoding": "implicit-valence-decoded-present"}
WHOLE = np.arange(TOPICS)


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=60))
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def stimuli(emotions: tuple[Emotion, ...] = EMOTIONS, cells: Any = None, topics: int = TOPICS) -> Stimuli:
    """Return stimuli with one passage per emotion and topic, or as many as `cells` says, shape (emotions, topics)."""
    counts = np.ones((len(emotions), topics), int) if cells is None else np.asarray(cells)
    implicit = tuple(
        Passage(emotion.name, f"topic {t}", f"{emotion.name} {t} {copy}")
        for emotion, row in zip(emotions, counts, strict=True)
        for t, cell in enumerate(row)
        for copy in range(cell)
    )
    return few_stimuli(
        emotions=emotions,
        implicit=implicit,
        neutral=tuple(f"neutral {i}" for i in range(NEUTRAL)),
    )


def bench(
    implicit: np.ndarray,
    neutral: np.ndarray,
    *,
    seed: int = 0,
    shown: Stimuli | None = None,
    twins: tuple[np.ndarray, ...] = (),
    words: np.ndarray | None = None,
) -> Bench:
    """Return a bench with these activations; `twins` are its untrained twins' passages, `words` its text-only twin's features."""
    rows = {"implicit": implicit, "neutral": neutral}
    features = np.random.default_rng(5).normal(size=(len(implicit) + NEUTRAL, 9)) if words is None else words
    found = Bench(
        make=lambda: SimpleNamespace(width=implicit.shape[1], device="cpu"),  # type: ignore[arg-type,return-value]
        stimuli=shown or stimuli(),
        settings=Settings(seed=seed, layer=0),
        _captured={key: Activations(values[:, None], (0,)) for key, values in rows.items()},
        _measured={f"{kind} ('implicit', 'neutral')": features for kind in ("tfidf", "embeddings")},
    )
    found.twins = tuple(bench(twin, neutral, shown=shown) for twin in twins)
    return found


def planted(rng: np.random.Generator, valence: float = 0.0, arousal: float = 0.0, noise: float = 0.5) -> np.ndarray:
    """Return passages with an axis of valence, one of arousal, and noise."""
    place = valence * np.outer(VALENCE, AXES[0]) + arousal * np.outer(AROUSAL, AXES[1])
    return np.repeat(place, TOPICS, axis=0) + noise * rng.normal(size=(COUNT * TOPICS, WIDTH))


def noise(seed: int) -> np.ndarray:
    return planted(np.random.default_rng(seed))


def neutral(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(NEUTRAL, WIDTH))


def planted_bench(seed: int = 0, *, twins: tuple[int, ...] = (101, 102), **axes: float) -> Bench:
    return bench(planted(np.random.default_rng(seed), **axes), neutral(), seed=seed, twins=tuple(noise(twin) for twin in twins))


def direct(features: np.ndarray, shown: Stimuli, take: np.ndarray) -> np.ndarray:
    """Return the Gram matrix the plain way: the drawn topics' passages, repeats repeated, their means centred, at unit length."""
    topics = list(dict.fromkeys(p.topic for p in shown.implicit))
    means = []
    for name in shown.names:
        own = [(row, p.topic) for row, p in zip(features, shown.implicit, strict=True) if p.emotion == name]
        drawn = [row for t in take for row, topic in own if topic == topics[t]]
        means.append(np.mean(drawn or [row for row, _ in own], axis=0))
    vectors = np.array(means) - np.mean(means, axis=0)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def gram_of(vectors: np.ndarray) -> np.ndarray:
    """Return the Gram matrix of centred unit vectors, with a first axis of one draw."""
    rows = unit(vectors - vectors.mean(axis=0))
    return (rows @ rows.T)[None]


def verdict(m: Measurement, case: str) -> Judgement:
    return judge(m, CLAIM, CLAIM.case(case), np.random.default_rng(0))
