"""Models that are odd in one way: judged where they can be asked, and never supported or refuted where they yield no numbers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases.claims import Case, Claim, load_claims
from cases.stimuli import load_stimuli
from fixtures.bench import Bench, Settings
from fixtures.models import encode, load
from fixtures.verdicts import REFUTED, SUPPORTED, NotApplicable, judge
from tests.odd import ODD
from tests.runs import instrument_of, rows_of, suite, written

READ = ("separation", "fear", "geometry", "circumplex", "scenarios", "kinds", "intensity", "logit_lens")
MEASURED = {"supported", "refuted", "inconclusive", "reported"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("odd")
    return {name: make(root / name) for name, make in ODD.items()}


# through pytest benchmark


QUICK = ("no-pad", "bytes", "context-64", "template", "template-raises", "all-nan", "one-nan")


@pytest.fixture(
    scope="module",
    params=[(QUICK, "scenarios and top1"), pytest.param((tuple(ODD), "not dose and not sampled"), marks=pytest.mark.slow)],
    ids=["some", "all"],
)
def outcomes(request: pytest.FixtureRequest, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of the benchmark over odd models: how it ended, and the records of each."""
    names, chosen = request.param
    root = tmp_path_factory.mktemp("runs")
    models = [f"--model={folders[name]}" for name in names]
    done = suite(*models, "--limit=2", "-k", chosen, "--output-path", str(root), "-q", timeout=3000)
    found = {name: rows_of(folder) for name, folder in written(root).items()}
    assert set(found) == set(names)
    return done, found


def test_every_odd_model_has_a_record_of_every_case_with_a_verdict_or_a_reason(outcomes: Any) -> None:
    done, found = outcomes
    assert done.returncode in (0, 1), done.stdout[-3000:]
    assert "INTERNALERROR" not in done.stdout
    assert len({len(rows) for rows in found.values()}) == 1
    for name, rows in found.items():
        told = {row["reason"] for row in rows if row["verdict"] in ("error", "not applicable")}
        assert all(told), name
        assert all(len(str(reason).splitlines()) == 1 for reason in told), told


def test_models_that_only_speak_otherwise_break_nowhere(outcomes: Any) -> None:
    _, found = outcomes
    for name in sorted(set(found) - {"all-nan", "one-nan", "letters"}):
        assert [(row["family"], row["case"], row["reason"]) for row in found[name] if row["verdict"] == "error"] == [], name


def test_a_context_that_is_too_short_and_a_template_that_raises_are_not_applicable_and_say_so(outcomes: Any) -> None:
    _, found = outcomes
    short = [row for row in found["context-64"] if row["verdict"] == "not applicable"]
    assert short
    assert any("the context of context-64 holds 64" in row["reason"] for row in short)
    chat = {row["case"]: row for row in found["template-raises"] if row["family"] == "scenarios" and "chat" in row["case"]}
    assert chat
    assert all(row["verdict"] == "not applicable" and "its chat template fails: " in row["reason"] for row in chat.values())
    assert "no turns today" in next(iter(chat.values()))["reason"]
    with_one = {row["case"]: row["verdict"] for row in found["template"] if row["family"] == "scenarios" and "chat" in row["case"]}
    assert set(with_one.values()) <= MEASURED


def test_a_model_of_nothing_but_nan_is_an_error_in_every_case_and_says_that_it_yields_no_number(outcomes: Any) -> None:
    _, found = outcomes
    assert {row["verdict"] for row in found["all-nan"]} == {"error"}
    assert all("yields what is no number" in row["reason"] for row in found["all-nan"])


def test_no_odd_model_is_supported_or_refuted_from_what_is_no_number(outcomes: Any) -> None:
    _, found = outcomes
    for row in (row for name in ("all-nan", "one-nan") for row in found[name]):
        if row["verdict"] in (SUPPORTED, REFUTED):
            assert None not in (row["value"], row["low"], row["high"], row["net"]["low"], row["net"]["high"]), row["case"]


# what is no number decides nothing: enough clusters for a verdict, in this process


def bench(path: Path, *, spoilt: bool = False) -> Bench:
    """A bench of a folder's model; spoilt, a token that stands in implicit passages and in no neutral one is no number."""
    subject, stimuli = load(str(path), device="cpu"), load_stimuli("english").limited(2)
    if spoilt:
        told, neutral = (
            {i for text in texts for i in encode(subject, text)} for texts in ([p.text for p in stimuli.implicit], stimuli.neutral)
        )
        with torch.inference_mode(False):
            subject.model.get_input_embeddings().weight[min(told - neutral)] = float("nan")
    return Bench(lambda: subject, stimuli, Settings())


def verdicts(made: Bench, families: tuple[str, ...]) -> Iterator[tuple[Claim, Case, str, bool]]:
    """Each judged case's verdict, as if two clusters were enough, and whether all its figures are numbers."""
    for family in families:
        claim = replace(load_claims()[family], minimum_clusters=2)
        for case in (case for case in claim.cases if case.verdict == "judged" and "chat" not in case.name):
            try:
                measured = importlib.import_module(f"fixtures.{instrument_of(family)}").measure(made, case)
                found = judge(measured, claim, case, np.random.default_rng(0))
            except (NotApplicable, ValueError, FloatingPointError, np.linalg.LinAlgError) as error:
                yield claim, case, type(error).__name__, False
                continue
            items = [v for item in measured.items for v in item.values() if isinstance(v, float | np.floating)]
            yield claim, case, found.verdict, bool(np.isfinite([found.net.value, found.net.low, found.net.high, *items]).all())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "families",
    [("geometry", "scenarios"), pytest.param(READ, marks=pytest.mark.slow)],
    ids=["some", "all that read"],
)
def test_a_passage_that_is_no_number_is_never_part_of_a_verdict(families: tuple[str, ...], folders: dict[str, Path]) -> None:
    sound = {(claim.family, case.name): verdict for claim, case, verdict, _ in verdicts(bench(folders["untied"]), families)}
    assert {SUPPORTED, REFUTED} & set(sound.values())  # with numbers there are verdicts, so that the test can fail
    found = list(verdicts(bench(folders["untied"], spoilt=True), families))
    assert any(verdict == "inconclusive" and not whole for _, _, verdict, whole in found)  # and what is no number got as far as a judgement
    for claim, case, verdict, whole in found:
        assert whole or verdict not in (SUPPORTED, REFUTED), f"{claim.family}/{case.name}: {verdict}"
