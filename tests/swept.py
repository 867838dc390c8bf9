"""Sweeps for self-tests: planted ones, and benches that hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cases.claims import Case, load_claims
from cases.emotions import Emotion, load_emotions
from cases.stimuli import Pair, Passage, Prompt
from fixtures import dose, sweeps
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.models import Subject
from fixtures.sweeps import SAMPLES, Sweep, plan, sweep, target
from fixtures.verdicts import Judgement, Measurement, judge
from tests.planted import few_stimuli

CLAIM = load_claims()["dose_response"]
IMPLICIT, CONTRAST = CLAIM.case("implicit"), CLAIM.case("fear-contrast")
STEERED: tuple[str, ...] = tuple(IMPLICIT.settings["emotions"])
STRENGTHS: tuple[float, ...] = tuple(IMPLICIT.settings["strengths"])
RISING = [s for s in STRENGTHS if s > 0]
EMOTIONS = tuple(load_emotions())
PROMPTS, RANDOM, WIDTH, SIZE = 20, 20, 32, 4.0
CELLS = {-1.0: 0.25, -0.5: 0.375, -0.25: 0.2, -0.1: 0.125, 0.1: 0.125, 0.25: 0.2, 0.5: 0.375, 1.0: 0.25}
"""How wide a stretch each strength of the cases stands for: up to halfway to its neighbours, 0 being one."""


def no_model() -> Subject:
    raise AssertionError("the sweep is planted: no model is asked")


def bench(
    make: Callable[[], Subject] = no_model, emotions: tuple[Emotion, ...] = EMOTIONS, prompts: tuple[Prompt, ...] | None = None
) -> Bench:
    """Return a bench with random activations and a residual norm of `SIZE` at the judged layer."""
    rng = np.random.default_rng(5)
    stimuli = few_stimuli(
        emotions=emotions,
        implicit=tuple(Passage(e.name, str(t), f"{e.name} {t}") for e in emotions for t in range(3)),
        neutral=tuple(f"neutral {i}" for i in range(12)),
        pairs={"fear_calm": tuple(Pair(str(i), f"first {i}", f"second {i}") for i in range(8))},
        prompts=tuple(Prompt(f"prompt {i}", f"text {i}", " He felt") for i in range(PROMPTS)) if prompts is None else prompts,
    )
    counts = {"implicit": len(stimuli.implicit), "neutral": 12, "fear_calm": 16}
    return Bench(
        make=make,
        stimuli=stimuli,
        settings=Settings(seed=0, layer=1),
        _captured={key: Activations(rng.normal(size=(count, 2, WIDTH)).astype(np.float32), (0, 1)) for key, count in counts.items()},
        _measured={"norms": np.array([99.0, SIZE])},
    )


def planted(b: Bench, case: Case, effect: float = 0.0, noise: float = 0.5, seed: int = 0) -> Sweep:
    """Return a coherent sweep in which every direction raises its own read-out by `effect` times the strength, with noise."""
    rng = np.random.default_rng(seed)
    which, strength, rows = plan(b, case)
    readout = noise * rng.normal(size=(PROMPTS, len(rows), len(b.stimuli.emotions)))
    own = {d: target(b, case, d) for d in range(names_of(case))}
    for row, (d, s) in enumerate(zip(which, strength, strict=True)):
        if d in own:
            readout[:, row, own[int(d)]] += effect * s
    base = {
        "nll": np.linspace(2.0, 4.0, PROMPTS * SAMPLES).reshape(PROMPTS, SAMPLES),
        "distinct": np.linspace(0.8, 1.0, PROMPTS * SAMPLES).reshape(PROMPTS, SAMPLES),
        "loop": np.zeros((PROMPTS, SAMPLES)),
    }
    shape = (PROMPTS, len(rows))
    return Sweep(
        which=which,
        strength=strength,
        readout=readout,
        nll=np.full(shape, 3.0),
        distinct=np.full(shape, 0.95),
        loop=np.zeros(shape),
        entropy=np.ones(shape),
        base=base,
        texts=[[f"text {p} {row}" for row in range(len(rows))] for p in range(PROMPTS)],
    )


def names_of(case: Case) -> int:
    return len(case.settings.get("emotions", ("contrast",)))


def plant(b: Bench, case: Case, found: Sweep) -> None:
    """Put a sweep where the bench keeps the ones that it made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_sweep", lambda bench, case: found)
        sweep(b, case)
    assert list(b.swept.values()) == [found]


def measured(found: Sweep, case: Case = IMPLICIT, b: Bench | None = None) -> tuple[Measurement, Judgement]:
    at = bench() if b is None else b
    plant(at, case, found)
    m = dose.measure(at, case)
    return m, judge(m, CLAIM, case, np.random.default_rng(0))


def incoherent(found: Sweep, directions: list[int], share: float = 1.0, **values: float) -> Sweep:
    """Return a sweep in which `values` replace those of a share of the prompts under some directions."""
    changed = {}
    for key, value in values.items():
        rows = getattr(found, key).copy()
        rows[: round(share * PROMPTS), np.isin(found.which, directions)] = value
        changed[key] = rows
    return replace(found, **changed)
