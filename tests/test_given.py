"""The bench of given vectors: their geometry is judged, and whatever needs a model says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cases.claims import load_claims
from cases.emotions import coordinates, load_emotions
from fixtures import geometry, nulls, verdicts
from fixtures.bench import Settings, build
from fixtures.given import REASON, GivenBench, given_bench
from fixtures.statistics import bootstrap_estimate
from fixtures.verdicts import INCONCLUSIVE, REFUTED, SUPPORTED, NotApplicable, judge
from tests.runs import rows_of, suite, written
from tests.tiny import tiny

EMOTIONS = tuple(load_emotions())
NAMES = tuple(emotion.name for emotion in EMOTIONS)
WIDTH = 24
CLAIM = load_claims()["geometry"]
PROJECTION = np.random.default_rng(3).normal(size=(2, WIDTH))


def planted(seed: int = 0, circumplex: float = 1.0, names: tuple[str, ...] = NAMES) -> np.ndarray:
    """Vectors at one layer with `circumplex` times their emotion's place on it, and noise; shape (emotions, 1, width)."""
    emotions = [EMOTIONS[NAMES.index(name)] for name in names]
    noise = np.random.default_rng(seed).normal(size=(len(names), WIDTH))
    return np.asarray(circumplex * coordinates(emotions) @ PROJECTION + noise)[:, None]


def file_of(folder: Path, values: np.ndarray, names: tuple[str, ...] = NAMES, layers: list[int] | None = None) -> Path:
    told = {"emotions": json.dumps(names)} | ({"layers": json.dumps(layers)} if layers else {})
    save_file({"vectors": np.ascontiguousarray(values, dtype=np.float32)}, folder / "mine.safetensors", metadata=told)
    return folder / "mine.safetensors"


Given = Callable[..., GivenBench]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """Return a function that gives the bench of vectors."""

    def make(
        values: np.ndarray, names: tuple[str, ...] = NAMES, layers: list[int] | None = None, norms: str | None = None, **settings: Any
    ) -> GivenBench:
        return given_bench(file_of(tmp_path, values, names, layers), SimpleNamespace(norms=norms), Settings(**settings))

    return make


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "bootstrap_estimate", partial(bootstrap_estimate, draws=100))
    monkeypatch.setitem(nulls.PERMUTATIONS, "quick", 60)


def judged(told: GivenBench) -> verdicts.Judgement:
    case = CLAIM.case("implicit-present")
    return judge(geometry.measure(told, case), CLAIM, case, np.random.default_rng(0))


# geometry


def test_a_planted_circumplex_is_supported_against_permutations_and_random_directions_without_a_twin(given: Given) -> None:
    told = given(planted(circumplex=3.0))
    measured = geometry.measure(told, CLAIM.case("implicit-present"))
    assert judged(told).verdict == SUPPORTED
    assert judged(told).estimate.value > 0.6
    assert len(measured.nulls) == 2
    assert [null.kind for null in measured.nulls][1] == "random directions"


def test_noise_follows_no_circumplex_and_is_not_supported(given: Given) -> None:
    noise = [judged(given(planted(seed, circumplex=0.0), seed=seed)) for seed in range(5)]
    assert {found.verdict for found in noise} <= {INCONCLUSIVE, REFUTED}
    assert abs(np.mean([found.estimate.value for found in noise])) < 0.1


def test_a_shift_of_all_vectors_and_their_common_scale_change_no_cosine(given: Given) -> None:
    values = planted()
    plain = geometry.likeness(given(values), "implicit", 0)
    np.testing.assert_allclose(geometry.likeness(given(7.0 * (values + 5.0)), "implicit", 0), plain, atol=1e-4)
    assert np.abs(geometry.likeness(given(values[::-1]), "implicit", 0) - plain[::-1, ::-1]).max() < 1e-6


def test_the_order_of_the_file_changes_no_cosine_of_a_pair(given: Given) -> None:
    measured = [geometry.measure(given(planted()[::step], NAMES[::step]), CLAIM.case("implicit-present")) for step in (1, -1)]
    assert [m.clusters for m in measured] == [NAMES, NAMES[::-1]]
    forth, back = ({row["pair"]: row["cosine"] for row in m.details["pairs"]} for m in measured)
    assert forth == pytest.approx(back)
    assert len(forth) == 5


def test_a_pair_with_an_emotion_that_the_file_lacks_is_left_out(given: Given) -> None:
    names = tuple(name for name in NAMES if name != "sad")
    measured = geometry.measure(given(planted(names=names), names), CLAIM.case("implicit-present"))
    pairs = [row["pair"] for row in measured.details["pairs"]]
    assert pairs == ["happy-joyful", "angry-furious", "calm-panicked", "loving-disgusted"]


def test_vectors_are_centred_over_the_emotions_of_the_file_and_nothing_is_projected_out(given: Given) -> None:
    values = planted() + 3.0
    found = given(values).vectors("implicit")
    np.testing.assert_allclose(found.raw, (values - values.mean(axis=0))[:, 0], atol=1e-5)
    np.testing.assert_array_equal(found.raw, found.denoised)
    assert (found.names, found.components) == (NAMES, 0)


# layers


@pytest.mark.parametrize(
    ("layers", "judged_at"),
    [([0], 0), ([0, 1], 0), ([0, 1, 2], 1), ([9, 2, 5], 5), (list(range(12)), 7), ([5, 4, 3, 2, 1, 0], 3), ([30], 30)],
)
def test_the_judged_layer_lies_at_two_thirds_of_the_given_ones_and_its_own_column_is_read(
    layers: list[int], judged_at: int, given: Given
) -> None:
    values = np.concatenate([planted(layer) for layer in layers], axis=1)
    told = given(values, layers=layers)
    assert told.layer == judged_at
    for layer in layers:
        np.testing.assert_allclose(told.vectors("implicit", layer).raw, given(planted(layer)).vectors("implicit").raw, atol=1e-6)
    np.testing.assert_array_equal(told.vectors("implicit").raw, told.vectors("implicit", judged_at).raw)


def test_the_judged_layer_of_all_blocks_is_that_of_the_model_that_has_them(given: Given) -> None:
    depth = tiny("llama").layers
    assert given(np.repeat(planted(), depth, axis=1)).layer == tiny("llama").default_layer


def test_an_asked_for_layer_is_judged(given: Given) -> None:
    told = given(np.concatenate([planted(1), planted(2)], axis=1), layers=[8, 3], layer=8)
    assert told.layer == 8
    np.testing.assert_array_equal(told.vectors("implicit").raw, told.vectors("implicit", 8).raw)


# what there is not


@pytest.mark.parametrize(
    "need",
    [
        lambda told: told.vectors("named"),
        lambda told: told.capture("neutral", ["A day."]),
        lambda told: told.activations("implicit"),
        lambda told: told.activations("fear_calm"),
        lambda told: told.norms(),
        lambda told: told.tensor(np.zeros((2, WIDTH))),
        lambda told: told.subject.model,
        lambda told: told.subject.tokenizer,
        lambda told: told.subject.device,
    ],
    ids=["named", "capture", "implicit", "contrast", "norms", "tensor", "model", "tokenizer", "device"],
)
def test_whatever_needs_a_model_says_that_there_is_none(need: Callable[[GivenBench], Any], given: Given) -> None:
    with pytest.raises(NotApplicable) as caught:
        need(given(planted()))
    assert str(caught.value) == REASON


@pytest.mark.parametrize(("case", "told"), [("implicit-beyond-words", "nobody says which passages"), ("named-present", REASON)])
def test_geometry_that_needs_words_is_not_applicable(case: str, told: str, given: Given) -> None:
    with pytest.raises(NotApplicable, match=told):
        geometry.measure(given(planted()), CLAIM.case(case))


def test_there_are_no_twins_passages_or_texts(given: Given) -> None:
    told = given(planted())
    assert told.twins == ()
    assert list(told.each_twin(lambda twin: twin)) == []
    assert [told.labels(kind) for kind in ("implicit", "named")] == [[], []]
    assert [told.item_texts("happy", on) for on in ("implicit", "named", "fear_calm")] == [[], [], []]


# what a run records


def test_a_description_has_the_fields_of_a_models_and_built_in_values(given: Given) -> None:
    told = given(np.repeat(planted(), 2, axis=1), layers=[3, 10])
    found = told.subject.describe()
    assert list(found) == list(tiny("llama").describe())
    assert json.loads(json.dumps(found)) == found
    assert (found["model"], found["layers"], found["width"], found["dtype"]) == ("mine", 11, WIDTH, "float32")
    assert found["revision"].startswith("sha256:")
    assert found["parameters"] is None


def test_a_description_outlives_the_release_of_the_bench(given: Given) -> None:
    told = given(planted())
    before = told.subject.describe()
    told.release()
    assert told.subject.describe() == before


def test_a_table_of_norms_replaces_the_coded_place_of_the_emotions_of_the_file_alone(given: Given, tmp_path: Path) -> None:
    names = NAMES[:4]
    table = tmp_path / "norms.csv"
    table.write_text("Word,Valence,Arousal\n" + "".join(f"{name},{0.1 * i},{0.5 + 0.1 * i}\n" for i, name in enumerate(names)), "utf-8")
    told = given(planted(names=names), names, norms=str(table))
    assert told.stimuli.names == names
    np.testing.assert_allclose(coordinates(told.stimuli.emotions), [[0.2 * i - 1, 0.2 * i] for i in range(4)], atol=1e-9)
    coded = given(planted(names=names), names).stimuli
    assert coded.emotions == EMOTIONS[:4]
    # the hash is of the file and of where its emotions lie
    again, other = given(planted(names=names), names).stimuli, given(planted(names=names) + 1, names).stimuli
    assert coded.hash == again.hash
    assert len({coded.hash, other.hash, told.stimuli.hash}) == 3


def test_the_option_gives_this_bench_with_the_settings_of_the_run(tmp_path: Path) -> None:
    options = SimpleNamespace(
        seed="5",
        profile="full",
        layer="4",
        batch_size="8",
        norms=None,
        vectors=None,
        sweep_layers=False,
        judge=None,
        judge_model=None,
        execute_code=False,
    )
    options.vectors = str(file_of(tmp_path, planted(), layers=[4]))
    told = build("mine", options)
    assert isinstance(told, GivenBench)
    assert told.settings == Settings(seed=5, profile="full", layer=4, batch_size=8)


# the option


def errors(*arguments: str) -> list[str]:
    """The lines in which a run that is refused reports the error, after a check of its exit status."""
    done = suite(*arguments)
    assert done.returncode == 4, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]


def test_vectors_beside_a_model_are_refused_with_one_line_and_exit_status_4(tmp_path: Path) -> None:
    path = file_of(tmp_path, planted())
    assert errors("--vectors", str(path), "--model", "reference") == [
        f"ERROR: --vectors {path} with --model reference: accepted: one of the two"
    ]


def test_a_run_on_vectors_judges_their_geometry_under_the_name_of_the_file(tmp_path: Path) -> None:
    path = file_of(tmp_path, planted(circumplex=3.0))
    done = suite("--vectors", str(path), "-k", "geometry", "--output-path", str(tmp_path / "runs"), "-q")
    rows = {row["case"]: row for row in rows_of(written(tmp_path / "runs")["mine"])}
    assert {case: row["verdict"] for case, row in rows.items()} == {
        "implicit-present": "supported",
        "implicit-beyond-words": "not applicable",
        "named-present": "not applicable",
        "named-beyond-words": "not applicable",
    }
    assert rows["named-present"]["reason"] == REASON
    assert rows["implicit-present"]["layer"] == 0
    assert done.returncode == 0, done.stdout
