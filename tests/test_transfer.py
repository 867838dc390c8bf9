"""Transfer of vectors: a turned copy comes back, a random network does not, and nothing of the tested emotions enters the map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from fixtures import transfer as module
from fixtures.nulls import PERMUTED
from fixtures.transfer import Crossing, Features, crossing, exchanged, halves, main, others, pooled, procrustes, transfer
from reports.transfers import read_transfers

EMOTIONS, EACH, WIDTH = 20, 12, 24
NAMES = [f"e{i}" for i in range(EMOTIONS)]
CLUSTERS = [f"c{i // 2}" for i in range(EMOTIONS)]
LABELS = np.repeat(np.arange(EMOTIONS), EACH)


def passages(seed: int = 0, noise: float = 1.0) -> np.ndarray:
    """Passages around a place of each emotion, off the origin."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(EMOTIONS, WIDTH)) * np.linspace(2, 0.2, WIDTH)
    return np.asarray(7.0 + places[LABELS] + noise * rng.normal(size=(len(LABELS), WIDTH)) * np.linspace(1, 0.1, WIDTH))


def turned(values: np.ndarray, width: int = WIDTH, seed: int = 1) -> np.ndarray:
    """The same passages in another basis, in as many or more dimensions."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]
    return np.asarray(values @ basis[: values.shape[1]] * 3.0 + 5.0)


def one_way(source: np.ndarray, target: np.ndarray, *twins: np.ndarray, **changes: Any) -> dict[str, Any]:
    told = {"permutations": 100, **changes}
    return transfer(
        Features("a", source), Features("b", target), [Features("twin", twin) for twin in twins], LABELS, CLUSTERS, NAMES, **told
    )


def level(found: dict[str, Any], kind: str) -> float:
    return float(next(null["mean"] for null in found["nulls"] if null["kind"] == kind))


@pytest.mark.parametrize("width", [WIDTH, 3 * WIDTH])
def test_a_turned_copy_comes_back_both_ways_whatever_its_width(width: int) -> None:
    values = passages()
    copy = turned(values, width)
    for source, target in ((values, copy), (copy, values)):
        found = one_way(source, target, passages(9))
        assert found["value"] > 0.99
        assert found["low"] > 0.99
        assert found["p"] == pytest.approx(1 / 101)
        assert found["rank"] == WIDTH
        assert level(found, f"{PERMUTED} emotions") < 0.5
        assert found["net"]["low"] > 0.4


def test_a_random_network_does_not_come_back() -> None:
    values = passages()
    ps, supported = [], 0
    for seed in range(40):
        found = one_way(values, passages(100 + seed), passages(200 + seed), seed=seed)
        ps.append(found["p"])
        supported += found["p"] <= 0.05 and found["net"]["low"] > 0
        assert found["value"] < 0.5
    assert np.mean(np.array(ps) <= 0.05) <= 0.125  # 5 of 40, where 2 are expected
    assert 0.3 < np.mean(ps) < 0.7
    assert supported <= 2


def test_what_the_untrained_twin_of_the_target_shares_is_no_transfer() -> None:
    values = passages()
    copy = turned(values)
    found = one_way(values, copy, turned(values, seed=2))
    assert found["value"] > 0.99
    assert found["net"]["against"] == "untrained twin"
    assert found["net"]["high"] < 0.01


def test_nothing_of_the_tested_emotions_enters_map_or_centre() -> None:
    source, target = passages(), turned(passages())
    train, test = np.arange(10), np.arange(10, 20)
    before = crossing(source, target, LABELS, train, test)
    spoiled = source.copy()
    spoiled[LABELS == 19] += 1000.0
    after = crossing(spoiled, target, LABELS, train, test)
    assert after.cosines[:9] == pytest.approx(before.cosines[:9])
    assert after.cosines[9] != pytest.approx(before.cosines[9])


def test_halves_hold_every_emotion_once_and_whole_clusters() -> None:
    for seed in range(10):
        first, second = halves(CLUSTERS, np.random.default_rng(seed))
        assert sorted([*first, *second]) == list(range(EMOTIONS))
        assert abs(len(first) - len(second)) <= 2
        assert not {CLUSTERS[i] for i in first} & {CLUSTERS[i] for i in second}


def test_the_map_is_scipys_procrustes_at_equal_widths_and_zero_padded_at_others() -> None:
    rng = np.random.default_rng(3)
    a, b, narrow = rng.normal(size=(50, 6)), rng.normal(size=(50, 6)), rng.normal(size=(50, 4))
    assert procrustes(a, b)[0] == pytest.approx(orthogonal_procrustes(a, b)[0])
    found, rank = procrustes(a, narrow)
    padded = orthogonal_procrustes(a, np.pad(narrow, ((0, 0), (0, 2))))[0]
    # of the padded map only the columns that are not padding are determined
    assert rank == 4
    assert found == pytest.approx(padded[:, :4])
    assert found.T @ found == pytest.approx(np.eye(4))


def test_fewer_passages_than_dimensions_are_mapped_on_what_they_span() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=(5, 40))
    found, rank = procrustes(a, turned(a, 40) - 5.0)
    assert rank == 5
    assert np.linalg.svd(found)[1] == pytest.approx([1.0] * 5 + [0.0] * 35, abs=1e-9)


def test_cosines_of_two_emotions_are_averaged_over_the_splits_in_which_they_met() -> None:
    first, second, third = (Crossing(np.array(e), np.array(c), 3) for e, c in (
        ([0, 1], [[1.0, 0.2], [0.4, 0.8]]), ([2], [[0.5]]), ([0, 2], [[0.6, 0.3], [0.1, 0.7]])
    ))  # fmt: skip
    found = pooled([first, second, third], 3)
    nan = float("nan")
    assert found == pytest.approx(np.array([[0.8, 0.2, 0.3], [0.4, 0.8, nan], [0.1, nan, 0.6]]), nan_ok=True)
    assert others(found) == pytest.approx([0.25, 0.4, 0.1])
    assert exchanged(found, np.array([1, 2, 0])) == pytest.approx((0.2 + 0.1) / 2)


def test_a_seed_gives_the_same_figures_again_and_scale_decides_nothing() -> None:
    values, other = passages(), turned(passages(noise=2.0))
    first = one_way(values, other, passages(9))
    assert one_way(values, other, passages(9)) == first
    scaled = one_way(values * 1000.0, other / 1000.0, passages(9))
    assert scaled["value"] == pytest.approx(first["value"])
    assert scaled["net"]["low"] == pytest.approx(first["net"]["low"])


def test_two_reference_models_are_written_as_a_file_that_the_report_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "SPLITS", 2)
    monkeypatch.setitem(module.PERMUTATIONS, "quick", 20)
    kept = module.build

    def limited(name: str, options: Any) -> Any:
        options.limit = "2"
        return kept(name, options)

    monkeypatch.setattr(module, "build", limited)
    assert main(["--model", "reference-xs", "--model", "reference-untrained", "--output-path", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*.json")
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {path}"
    document = json.loads(path.read_text("utf-8"))
    assert [model["width"] for model in document["models"]] == [64, 128]
    found = read_transfers(path)
    assert [(t.source, t.target) for t in found] == [("reference-xs", "reference-untrained"), ("reference-untrained", "reference-xs")]
    assert all(t.emotions == 30 and t.stimuli == "world" and -1 <= t.low <= t.value <= t.high <= 1 for t in found)


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (("reference-xs",), "accepted: two different models"),
        (("reference-xs", "reference-xs"), "accepted: two different models"),
        (("reference-xs", "nowhere-at-all"), "no such folder"),
    ],
)
def test_wrong_models_are_one_line_and_status_4(
    models: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # a hub that cannot be reached is asked for half a minute
    assert main([word for name in models for word in ("--model", name)]) == 4
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("error: --model")
    assert err.count("\n") == 1
