"""A plugin for pytest runs in a process of their own: measurements that nobody made, so that neither model nor torch is needed.

`python -m pytest benchmark -p tests.canned` with CANNED='{"separation/natural-present": "refuted"}'; the rest is supported.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cases.claims import Case, load_claims

BY_INSTRUMENT = {
    "agreement": "agreement",
    "asymmetry": "asymmetry",
    "blackmail": "blackmail",
    "circumplex": "circumplex",
    "contrasts": "fear",
    "cross": "cross_emotion",
    "dose": "dose_response",
    "flip": "flip",
    "geometry": "geometry",
    "hacking": "reward_hacking",
    "intensity": "intensity",
    "kinds": "kinds",
    "layers": "layer_profile",
    "lens": "logit_lens",
    "lift": "self_steering",
    "monitoring": "monitoring",
    "preferences": "preferences",
    "prompting": "prompting",
    "scenarios": "scenarios",
    "separation": "separation",
    "side_effects": "side_effects",
    "sycophancy": "sycophancy",
    "trajectory": "trajectory",
}
STUBS = (
    "activations", "vectors", "text_twin", "steering", "scoring", "generation", "directions", "sweeps", "leanings", "sampled",
    "reading.actions", "reading.solutions", "judges", "bradley_terry", "checkpoints", "models", "placement", "bench", *BY_INSTRUMENT,
)  # fmt: skip
MEASURED: list[str] = []
"""What was measured in this process, in order; CANNED_KILLED_AFTER measurements it kills itself as nothing can be caught."""


def measure(family: str, case: Case) -> Any:
    from fixtures.nulls import Null
    from fixtures.verdicts import NotApplicable, mean_measurement

    MEASURED.append(f"{family}/{case.name}")
    if len(MEASURED) > int(os.environ.get("CANNED_KILLED_AFTER", "1000")):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(os.environ.get("CANNED_SECONDS", "0")))
    wanted = json.loads(os.environ.get("CANNED", "{}")).get(f"{family}/{case.name}", "supported")
    if wanted == "not applicable":
        raise NotApplicable("it has no chat template")
    if wanted == "error":
        raise RuntimeError("it broke\nin two lines")
    count = 4 if wanted == "inconclusive" else 40
    clusters = [f"c{i}" for i in range(count)]
    scores = (0.3 if wanted == "refuted" else 0.8) + 0.1 * np.sin(np.arange(count))
    # numpy's own types on purpose: what crosses to the report is built in
    items = tuple({"id": c, "cluster": c, "score": scores[i], "rank": np.int64(i), "hit": np.bool_(True)} for i, c in enumerate(clusters))
    details = {"matrix": np.eye(2, dtype=np.float32), "nothing": np.float64("nan"), "count": np.int32(3)}
    layer: Any = "the first" if wanted == "unsound" else 1
    return mean_measurement(scores, clusters, [Null("untrained twin", np.array([0.5]))], items=items, details=details, layer=layer)


class Bench(SimpleNamespace):
    """Stands in for fixtures.bench.Bench."""

    def __init__(self, name: str) -> None:
        subject = {"model": name, "device": "cpu", "dtype": "float32", "stimuli": "world", "parameters": 1, "layers": 4}
        super().__init__(
            subject=SimpleNamespace(name=name, describe=lambda: subject),
            stimuli=SimpleNamespace(hash=os.environ.get("CANNED_STIMULI", "0123456789ab")),
            settings=SimpleNamespace(seed=0),
            progress=SimpleNamespace(begin=lambda *told: None, clear=lambda: None, forget=lambda: None),
            without=None,
        )

    def item_texts(self, item: str, on: str) -> list[str]:
        return [f"the text of {item}"]

    def release(self) -> None:
        pass


def build(name: str, options: Any, *, write: Any = None, tell: Any = None) -> Bench:
    if name == "breaks":
        raise RuntimeError("it cannot be built")
    return Bench(name)


def check(name: str, **options: Any) -> None:
    if name == "missing":
        raise sys.modules["fixtures.checkpoints"].ModelError(f"--model {name}: no such folder; accepted: a folder")


def pytest_configure(config: pytest.Config) -> None:
    if limit := int(os.environ.get("CANNED_FILE_LIMIT", "0")):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    assert set(BY_INSTRUMENT.values()) == set(load_claims()), "a claim without a canned measurement"
    for name in STUBS:
        stub = ModuleType(f"fixtures.{name}")
        family = BY_INSTRUMENT.get(name)
        stub.__dict__.update(PROTOCOL=1, measure=lambda bench, case, family=family: measure(family, case))
        stub.__dict__.update(POOLING="none", build=build, Bench=Bench, check=check, ModelError=type("ModelError", (Exception,), {}))
        stub.__dict__.update(
            PlacementError=type("PlacementError", (Exception,), {}),
            placement_of=lambda options: SimpleNamespace(spread=False, tensor_parallel=False),
        )
        stub.__dict__.update(JudgeError=type("JudgeError", (Exception,), {}), judge_from=lambda *given: None)
        sys.modules[stub.__name__] = stub


def pytest_unconfigure(config: pytest.Config) -> None:
    heavy = sorted({"torch", "transformers", "hypothesis"} & set(sys.modules))
    sys.stderr.write(f"\nmeasured: {' '.join(MEASURED)}\n")
    sys.stdout.write(f"\nheavy modules: {', '.join(heavy) or 'none'}\n")
