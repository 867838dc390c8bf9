"""Draws of a calibration: labels and vectors that say nothing, an instrument that always or never supports, and going on."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cases.claims import load_claims
from cases.stimuli import load_stimuli
from fixtures import monitoring, trajectory
from fixtures.bench import build
from fixtures.calibration import draws as drawing
from fixtures.calibration.__main__ import run_options
from fixtures.calibration.draws import SINGLE, Draw, draws, judged, read_draws
from fixtures.calibration.permuted import WITHOUT_LABELS, permuted, random_vectors, rows, without_labels
from fixtures.calibration.tables import Calibration
from fixtures.nulls import Null, chance
from fixtures.plugin import instrument_of
from fixtures.verdicts import mean_measurement

WORLD = load_stimuli("world")


@pytest.fixture(scope="module")
def bench() -> Any:
    return build("reference-xxs", run_options("quick"))


def test_permuted_labels_keep_texts_and_the_cross_of_emotions_and_topics_and_move_most_labels() -> None:
    other, _ = without_labels(WORLD, 5)
    assert [p.text for p in other.implicit] == [p.text for p in WORLD.implicit]
    assert Counter((p.emotion, p.topic) for p in other.implicit) == Counter((p.emotion, p.topic) for p in WORLD.implicit)
    moved = np.mean([a.emotion != b.emotion for a, b in zip(other.implicit, WORLD.implicit, strict=True)])
    assert moved == pytest.approx(29 / 30, abs=0.03)


def test_about_half_of_the_pairs_exchange_their_sides_and_another_seed_exchanges_others() -> None:
    (first, flips), (_, others) = without_labels(WORLD, 1), without_labels(WORLD, 2)
    for contrast, flip in flips.items():
        assert 0.2 < flip.mean() < 0.8
        assert (flip != others[contrast]).any()
        for before, after, f in zip(WORLD.pairs[contrast], first.pairs[contrast], flip, strict=True):
            assert (after.first, after.second) == ((before.second, before.first) if f else (before.first, before.second))


def test_rows_of_exchanged_pairs_find_both_sides() -> None:
    assert rows(3, np.array([False, True, False])).tolist() == [0, 4, 2, 3, 1, 5]


def test_a_permuted_bench_has_the_activations_of_its_texts_without_another_pass(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    captured = bench.activations("fear_calm").at(bench.layer)
    bench.activations("implicit"), bench.activations("neutral"), bench.norms()
    blind = permuted(bench, 3)
    monkeypatch.setattr("fixtures.bench.capture", lambda *_, **__: pytest.fail("captured again"))
    texts = dict(zip(bench.texts("fear_calm"), captured, strict=True))
    for text, row in zip(blind.texts("fear_calm"), blind.activations("fear_calm").at(bench.layer), strict=True):
        assert np.array_equal(texts[text], row)
    true, none = bench.vectors("implicit").unit, blind.vectors("implicit").unit
    assert abs(float(np.mean(np.sum(true * none, axis=1)))) < 0.5


def test_what_has_neither_labels_nor_steering_is_measured_once_and_is_what_a_draw_would_measure(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts = bench.stimuli.acts
    few = replace(acts, dilemmas=acts.dilemmas[:3], sessions=acts.sessions[:3])
    small = replace(bench, stimuli=replace(bench.stimuli, acts=few), _measured={"norms": bench.norms()})
    alone = permuted(small, 3)
    first = (*monitoring.measured(alone), trajectory.differences(alone))
    monitoring.measured(small), trajectory.differences(small)
    assert set(WITHOUT_LABELS) == {*small._measured} - {"norms"}
    blind = random_vectors(small, 3)
    monkeypatch.setattr("fixtures.monitoring.logprobs", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr("fixtures.trajectory.steps", lambda *_: pytest.fail("measured again"))
    again = (*monitoring.measured(blind), trajectory.differences(blind))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_vectors_at_random_are_no_ones_vectors_of_all_three_kinds_and_the_same_whenever_they_are_asked_for(bench: Any) -> None:
    for key in ("implicit", "neutral"):
        bench.activations(key)
    drawn, again, other = (random_vectors(bench, seed) for seed in (3, 3, 4))
    true, found = bench.vectors("implicit").unit, drawn.vectors("implicit").unit
    assert found.shape == true.shape
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(found)))
    assert abs(float(np.mean(np.sum(true * found, axis=1)))) < 0.3
    assert drawn.vectors("implicit") is drawn.vectors("implicit")
    assert np.array_equal(drawn.vectors("implicit").raw, drawn.vectors("implicit").denoised)
    assert np.array_equal(again.vectors("implicit").unit, found)
    assert not np.allclose(other.vectors("implicit").unit, found)
    sizes = [np.sort(np.abs(row)) for row in true]
    same = [any(np.allclose(np.sort(np.abs(row)), size) for size in sizes) for row in found]
    assert sum(same) == len(found) // 3  # those with the coordinates of a vector in another order


def test_a_contrasts_direction_is_at_random_too_of_each_kind_and_has_nothing_of_the_contrast(bench: Any) -> None:
    for key in ("implicit", "neutral", "fear_calm"):
        bench.activations(key)
    true, found = bench.contrast("fear_calm"), [random_vectors(bench, seed).contrast("fear_calm") for seed in range(60)]
    assert np.array_equal(found[3], random_vectors(bench, 3).contrast("fear_calm"))
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(60))
    assert abs(float(np.mean(np.array(found) @ true))) < 0.15
    assert 8 <= sum(np.allclose(np.sort(np.abs(row)), np.sort(np.abs(true))) for row in found) <= 32  # a third of 60
    assert random_vectors(bench, 3).activations("fear_calm").values.shape == bench.activations("fear_calm").values.shape


def test_single_directions_are_drawn_at_random_and_all_else_has_its_labels_permuted(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(SINGLE) <= set(load_claims())
    seen: dict[str, str] = {}
    monkeypatch.setattr(drawing, "warm", lambda bench: None)
    monkeypatch.setattr(drawing, "permuted", lambda bench, seed: "permuted")
    monkeypatch.setattr(drawing, "random_vectors", lambda bench, seed: "random")

    def noted(blind: str, claim: Any, case: Any, model: str, seed: int) -> Draw:
        seen[claim.family] = blind
        return Draw(model, f"{claim.family}/{case.name}", seed, "refuted")

    monkeypatch.setattr(drawing, "verdict_of", noted)
    list(draws(bench, "m", judged(["*"]), [1], tmp_path / "draws.jsonl"))
    assert {family for family, blind in seen.items() if blind == "random"} == set(SINGLE)
    assert set(seen.values()) == {"permuted", "random"}


def fixed(value: float) -> Any:
    """Return an instrument that measures the same everywhere: `value`, where chance is .5, with hardly any scatter."""
    scores = value + np.linspace(-0.01, 0.01, 40)
    return SimpleNamespace(
        measure=lambda bench, case: mean_measurement(
            scores, [str(i) for i in range(40)], [Null("permuted labels", np.full(20, 0.5)), chance(0.5)],
            items=tuple({"id": str(i), "cluster": str(i), "score": s} for i, s in enumerate(scores)),
        )
    )  # fmt: skip


@pytest.mark.parametrize(("value", "share"), [(0.9, 1.0), (0.5, 0.0)])
def test_an_instrument_that_always_or_never_supports_is_seen(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, share: float
) -> None:
    monkeypatch.setattr(drawing.importlib, "import_module", lambda name: fixed(value))
    monkeypatch.setattr(drawing, "warm", lambda bench: None)
    found = list(draws(bench, "m", judged(["separation/*"]), range(3), tmp_path / "draws.jsonl"))
    assert len(found) == 12
    table = Calibration([], [], found, [])
    assert {table.rates(case)[2].share for case in table.cases} == {share}
    assert any("with permuted labels" in line for line in table.misses()) == (share == 1.0)


def test_draws_go_on_where_they_stopped_and_a_line_cut_short_is_made_again(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing.importlib, "import_module", lambda name: fixed(0.9))
    monkeypatch.setattr(drawing, "warm", lambda bench: None)
    path, cases = tmp_path / "draws.jsonl", judged(["separation/*"])
    assert list(draws(bench, "m", cases, range(2), path, until=0)) == []
    assert len(list(draws(bench, "m", cases, range(2), path))) == 8
    whole = path.read_text("utf-8")
    path.write_text(whole[:-20], "utf-8")
    again = list(draws(bench, "m", cases, range(2), path))
    assert [(d.case, d.seed) for d in again] == [(f"separation/{cases[-1][1].name}", 1)]
    assert len(read_draws(path)) == 8
    assert list(draws(bench, "m", cases, range(2), path)) == []


@pytest.mark.parametrize("family", ["separation", "geometry"])
def test_real_claims_are_judged_under_permuted_labels(bench: Any, tmp_path: Path, family: str) -> None:
    cases = judged([f"{family}/*present"])
    found = list(draws(bench, "reference-xxs", cases, range(700, 703), tmp_path / "draws.jsonl"))
    assert {d.verdict for d in found} <= {"refuted", "inconclusive", "supported"}
    assert sum(d.verdict == "supported" for d in found) <= 1


def test_every_claim_names_its_instrument() -> None:
    for claim in load_claims().values():
        assert hasattr(importlib.import_module(f"fixtures.{instrument_of(claim)}"), "measure")
