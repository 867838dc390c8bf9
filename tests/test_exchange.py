"""Vectors in and out: what is written comes back, here and in the formats' own readers, and what cannot be judged is refused."""

from __future__ import annotations

import gc
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

from cases.emotions import all_emotions
from cases.stimuli import load_stimuli
from fixtures.activations import Activations
from fixtures.bench import Bench, Settings
from fixtures.exchange import STRENGTH, VectorsError, export, hookpoint, read_vectors
from tests.tiny import LAYERS, WIDTH, tiny

ALL = {emotion.name: emotion for emotion in all_emotions()}
NAMES = ("worn out", "happy", "afraid", "at ease")
EACH = 3
STIMULI = load_stimuli("english")
STIMULI = replace(
    STIMULI,
    emotions=tuple(ALL[name] for name in NAMES),
    implicit=tuple(replace(STIMULI.implicit[0], emotion=name, topic=str(i)) for name in NAMES for i in range(EACH)),
    neutral=STIMULI.neutral[:6],
)
VALUES = np.random.default_rng(7).normal(size=(len(NAMES), LAYERS, WIDTH))


def bench(architecture: str = "llama", name: str | None = None, layer: int | None = None, revision: str = "r1") -> Bench:
    """A bench of a tiny model whose passages and norms are planted: another vector and another norm at every layer."""
    rng = np.random.default_rng(0)
    told = replace(tiny(architecture), name=name or architecture, revision=revision)
    captured = {
        "implicit": Activations(rng.normal(size=(len(NAMES) * EACH, LAYERS, WIDTH)).astype(np.float32), tuple(range(LAYERS))),
        "neutral": Activations(rng.normal(size=(6, LAYERS, WIDTH)).astype(np.float32), tuple(range(LAYERS))),
    }
    norms = {"norms": np.array([3.0, 5.0, 7.0])}
    return Bench(lambda: told, STIMULI, Settings(layer=layer), _captured=captured, _measured=norms)


def written(folder: Path, kind: str, **changes: Any) -> Path:
    """Write vectors as safetensors or npz; `vectors`, `emotions` or `layers` changed, or left out where None."""
    told: dict[str, Any] = {"vectors": VALUES, "emotions": list(NAMES), "layers": [4, 0, 2], **changes}
    path = folder / f"given.{kind}"
    kept = {key: value for key, value in told.items() if value is not None}
    if kind == "npz":
        np.savez(path, **kept)
        return path
    tensors = {key: np.ascontiguousarray(kept[key]) for key in ("vectors",) if key in kept} or {"other": np.ones(2)}
    save_file(tensors, path, metadata={key: json.dumps(kept[key]) for key in ("emotions", "layers") if key in kept})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(VectorsError) as caught:
        read_vectors(path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


KINDS = pytest.mark.parametrize("kind", ["safetensors", "npz"])


# in


@KINDS
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_was_written_is_read_with_names_and_layers_in_their_order(kind: str, dtype: str, tmp_path: Path) -> None:
    found = read_vectors(written(tmp_path, kind, vectors=VALUES.astype(dtype)))
    np.testing.assert_array_equal(found.values, VALUES.astype(dtype).astype(np.float64))
    assert [emotion.name for emotion in found.emotions] == list(NAMES)
    assert found.emotions == tuple(ALL[name] for name in NAMES)
    assert (found.layers, found.name, found.dtype, found.values.dtype) == ((4, 0, 2), "given", dtype, np.float64)


@KINDS
def test_without_layer_numbers_the_layers_are_counted_from_0(kind: str, tmp_path: Path) -> None:
    assert read_vectors(written(tmp_path, kind, layers=None)).layers == (0, 1, 2)


@KINDS
def test_the_revision_is_that_of_the_content_and_not_of_the_name(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind)
    first = read_vectors(path)
    moved = read_vectors(path.rename(tmp_path / f"my vectors.v2.{kind}"))
    other = read_vectors(written(tmp_path, kind, vectors=VALUES + 1e-6))
    assert first.revision == moved.revision != other.revision
    assert first.revision.startswith("sha256:")
    assert moved.name == "my vectors.v2"


@KINDS
def test_emotions_of_the_further_141_are_read_and_three_are_enough(kind: str, tmp_path: Path) -> None:
    names = ["self-conscious", "at ease", "on edge"]
    assert [e.name for e in read_vectors(written(tmp_path, kind, vectors=VALUES[:3], emotions=names)).emotions] == names


NAN, INFINITE = VALUES.copy(), VALUES.copy()
NAN[1, 2, 3], INFINITE[3, 0, 0] = np.nan, -np.inf
ONE_EACH = "accepted: one name each"


@KINDS
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vectors": VALUES[:, 0], "layers": [0]}, "vectors have shape (4, 32) and type float64; accepted: floats of shape (emotions, "),
        ({"vectors": VALUES[:, :, :0]}, "vectors have shape (4, 3, 0) and type float64; accepted: floats of shape (emotions, "),
        ({"vectors": VALUES[:0], "emotions": []}, "vectors have shape (0, 3, 32) and type float64; accepted: floats of shape (emotions, "),
        ({"vectors": VALUES.astype(int)}, "vectors have shape (4, 3, 32) and type int64; accepted: floats of shape (emotions, "),
        ({"vectors": VALUES > 0}, "vectors have shape (4, 3, 32) and type bool; accepted: floats of shape (emotions, "),
        ({"emotions": list(NAMES[:3])}, f"3 names (3 different) for 4 vectors; {ONE_EACH}"),
        ({"emotions": ["happy", "calm", "sad", "happy"]}, f"4 names (3 different) for 4 vectors; {ONE_EACH}"),
        ({"emotions": [*NAMES[:3], "hangry" * 9]}, f"emotion '{('hangry' * 9)[:40]}'; accepted: the 171 of cases/emotions.toml"),
        ({"emotions": [*NAMES[:3], "Calm"]}, "emotion 'Calm'; accepted: the 171 of cases/emotions.toml"),
        ({"vectors": VALUES[:2], "emotions": list(NAMES[:2])}, "2 emotions; accepted: at least 3"),
        ({"layers": [0, 1]}, "2 layer numbers for 3 layers; accepted: a different one each"),
        ({"layers": [0, 1, 0]}, "3 layer numbers for 3 layers; accepted: a different one each"),
        ({"vectors": NAN}, "a vector holds what is no number; accepted: finite numbers"),
        ({"vectors": INFINITE}, "a vector holds what is no number; accepted: finite numbers"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_vectors_that_cannot_be_judged_are_refused_with_what_is_accepted(
    changes: dict[str, Any], told: str, kind: str, tmp_path: Path
) -> None:
    assert refusal(written(tmp_path, kind, **changes)).startswith(told)


def test_a_file_without_vectors_or_names_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    accepted = '; accepted: a .safetensors or .npz file with "vectors" of shape (emotions, layers, width) and the emotions\' names'
    assert refusal(written(tmp_path, "safetensors", vectors=None)) == f'it has no tensor "vectors"{accepted}'
    assert refusal(written(tmp_path, "safetensors", emotions=None)) == f'its metadata have no "emotions"{accepted}'
    assert refusal(written(tmp_path, "npz", vectors=None)) == f'it has no array "vectors"{accepted}'
    assert refusal(written(tmp_path, "npz", emotions=None)) == f'it has no array "emotions"{accepted}'
    save_file({"vectors": VALUES}, tmp_path / "bare.safetensors")
    assert refusal(tmp_path / "bare.safetensors").startswith('its metadata have no "emotions"')


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # numpy leaves a broken archive open
@pytest.mark.parametrize("kind", ["safetensors", "npz", "pt", "gguf"])
@pytest.mark.parametrize("content", [b"", b"no vectors at all", b"PK\x03\x04broken"], ids=["empty", "text", "broken zip"])
def test_a_file_of_another_format_is_refused_as_unreadable(content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"given.{kind}"
    path.write_bytes(content)
    assert refusal(path).startswith("cannot be read (")
    gc.collect()


def test_a_single_array_under_the_name_of_an_archive_is_refused_as_unreadable(tmp_path: Path) -> None:
    np.save(tmp_path / "given.npy", VALUES)
    assert refusal((tmp_path / "given.npy").rename(tmp_path / "given.npz")).startswith("cannot be read (BadZipFile)")


def test_metadata_that_are_no_json_lists_are_refused(tmp_path: Path) -> None:
    for told in ({"emotions": "happy, sad"}, {"emotions": "null"}, {"emotions": json.dumps(NAMES), "layers": "3"}):
        save_file({"vectors": VALUES}, tmp_path / "given.safetensors", metadata=told)
        assert refusal(tmp_path / "given.safetensors").startswith("cannot be read (")


class Trap:
    """What a pickle of it does when it is read: a folder is made."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("where", ["vectors", "emotions", "layers"])
def test_a_pickle_in_an_npz_is_refused_and_not_run(where: str, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    pickled = np.empty(len(VALUES), dtype=object)
    pickled[0] = Trap(trap)
    path = written(tmp_path, "npz", **{where: pickled})
    assert refusal(path).startswith("cannot be read (ValueError)")
    assert not trap.exists()
    with np.load(path, allow_pickle=True) as file:
        file[where]
    assert trap.exists()  # the trap would have sprung


def test_a_bare_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    trap, path = tmp_path / "sprung", tmp_path / "given.npz"
    torch.save(Trap(trap), path, _use_new_zipfile_serialization=False)
    assert refusal(path).startswith("cannot be read (")
    assert not trap.exists()


def test_a_single_row_in_a_safetensors_file_is_refused_with_its_shape_as_in_an_npz(tmp_path: Path) -> None:
    told = [refusal(written(tmp_path, kind, vectors=VALUES[:, 0, 0], layers=None)) for kind in ("npz", "safetensors")]
    assert told[0].startswith("vectors have shape (4,) and type float64; ")
    assert told[1] == told[0]


def test_bfloat16_vectors_are_read_or_refused_with_their_type(tmp_path: Path) -> None:
    path = tmp_path / "given.safetensors"
    save_tensors({"vectors": torch.from_numpy(VALUES).bfloat16()}, path, metadata={"emotions": json.dumps(NAMES)})
    try:
        told = read_vectors(path).dtype
    except VectorsError as error:
        told = str(error)
    assert "bfloat16" in told.lower()


@KINDS
@pytest.mark.parametrize("layers", [[0.5, 1.5, 2.5], [-1, 0, 1]], ids=["fractions", "negative"])
def test_layer_numbers_that_are_no_blocks_are_refused(layers: list[float], kind: str, tmp_path: Path) -> None:
    refusal(written(tmp_path, kind, layers=layers))


# out


def test_an_export_lies_in_a_folder_of_the_models_name_and_names_every_file(tmp_path: Path) -> None:
    files = export(bench(name="org/some model@main"), tmp_path)
    place = tmp_path / "org--some--model--main"
    stems = {"worn_out", "happy", "afraid", "at_ease"}
    expected = {place / "vectors.safetensors"} | {place / d / f"{s}.{e}" for s in stems for d, e in (("gguf", "gguf"), ("lm_eval", "pt"))}
    assert set(files) == expected == {path for path in tmp_path.rglob("*") if path.is_file()}
    assert len(files) == len(expected)


def test_an_export_holds_the_vectors_of_every_layer_as_the_bench_has_them(tmp_path: Path) -> None:
    told = bench()
    path = export(told, tmp_path)[0]
    found = load_file(path)
    for layer in range(LAYERS):
        made = told.vectors("implicit", layer)
        np.testing.assert_allclose(found["vectors"][:, layer], made.denoised, atol=1e-6)
        np.testing.assert_allclose(found["raw"][:, layer], made.raw, atol=1e-6)
    assert np.abs(found["vectors"] - found["raw"]).max() > 0.1
    np.testing.assert_array_equal(found["norms"], [3, 5, 7])
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    assert (metadata["judged layer"], metadata["model"], metadata["revision"], metadata["stimuli"]) == ("1", "llama", "r1", STIMULI.hash)


def test_an_export_is_read_back_as_given_vectors(tmp_path: Path) -> None:
    told = bench()
    found = read_vectors(export(told, tmp_path)[0])
    assert ([emotion.name for emotion in found.emotions], found.layers, found.name) == (list(NAMES), (0, 1, 2), "vectors")
    for layer in range(LAYERS):
        np.testing.assert_allclose(found.values[:, layer], told.vectors("implicit", layer).denoised, atol=1e-6)


def test_a_second_export_replaces_the_first_and_is_the_same(tmp_path: Path) -> None:
    files = export(bench(), tmp_path)
    first, kept = load_file(files[0]), {path: path.read_bytes() for path in files if path.suffix == ".gguf"}
    for path in files:
        path.write_bytes(b"old")
    assert export(bench(), tmp_path) == files
    assert {path: path.read_bytes() for path in kept} == kept
    again = load_file(files[0])
    assert {key: value.tolist() for key, value in again.items()} == {key: value.tolist() for key, value in first.items()}


def test_two_models_of_one_name_are_exported_to_two_folders_and_each_to_its_own_again(tmp_path: Path) -> None:
    told = [bench(), bench(layer=2, revision="sha256:0123456789abcdef")]
    first, second = ([export(each, tmp_path) for each in told] for _ in range(2))
    assert first == second
    assert [files[0].parent.name for files in first] == ["llama", "llama-0123456789ab"]
    for files, each in zip(first, told, strict=True):
        with safe_open(files[0], framework="np") as file:
            assert file.metadata()["revision"] == each.subject.revision
        assert len({path.parents[path.suffix != ".safetensors"] for path in files}) == 1


def scaled(told: Bench) -> np.ndarray:
    """The unit vectors of the judged layer at the length of its norm, made anew from the definition."""
    vectors = told.vectors("implicit", told.layer).denoised
    return np.asarray(vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True)) * told.norms()[told.layer])


@pytest.mark.parametrize("layer", [None, 2])
def test_llama_cpp_reads_one_direction_of_the_judged_block_at_its_norm(layer: int | None, tmp_path: Path) -> None:
    told = bench(layer=layer)
    export(told, tmp_path)
    for name, vector in zip(NAMES, scaled(told), strict=True):
        reader = gguf.GGUFReader(tmp_path / "llama" / "gguf" / f"{name.replace(' ', '_')}.gguf")
        (tensor,) = reader.tensors
        assert (tensor.name, tensor.tensor_type) == (f"direction.{told.layer}", gguf.GGMLQuantizationType.F32)
        np.testing.assert_allclose(tensor.data, vector, rtol=1e-5, atol=1e-6)
        assert np.linalg.norm(tensor.data) == pytest.approx([5.0, 7.0][told.layer - 1], rel=1e-5)
        fields = {key: reader.fields[key].contents() for key in ("general.architecture", "controlvector.model_hint")}
        assert fields == {"general.architecture": "controlvector", "controlvector.model_hint": "llama"}
        assert reader.fields["controlvector.layer_count"].contents() == 1


def test_llama_cpp_gets_nothing_for_block_0_which_it_cannot_steer(tmp_path: Path) -> None:
    files = export(bench(layer=0), tmp_path)
    assert {path.suffix for path in files} == {".safetensors", ".pt"}
    assert list(tmp_path.rglob("*.gguf")) == []
    steer = torch.load(next(path for path in files if path.stem == "happy"), weights_only=True)
    assert float(next(iter(steer.values()))["steering_vector"].norm()) == pytest.approx(3.0, rel=1e-5)


@pytest.mark.parametrize("layer", [None, 2])
def test_lm_eval_reads_a_vector_that_is_added_at_the_judged_block_without_any_pickled_code(layer: int | None, tmp_path: Path) -> None:
    told = bench("gpt2", layer=layer)
    export(told, tmp_path)
    for name, vector in zip(NAMES, scaled(told), strict=True):
        loaded = torch.load(tmp_path / "gpt2" / "lm_eval" / f"{name.replace(' ', '_')}.pt", weights_only=True)
        ((point, steer),) = loaded.items()
        assert dict(told.subject.model.base_model.named_modules())[point] is told.subject.blocks[told.layer]
        np.testing.assert_allclose(steer.pop("steering_vector").numpy(), vector, rtol=1e-5, atol=1e-6)
        assert steer == {"steering_coefficient": STRENGTH, "action": "add", "bias": None, "head_index": None}


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "opt", "bloom", "gemma3"])
def test_a_hookpoint_names_its_block_inside_the_base_model(architecture: str) -> None:
    told = bench(architecture)
    inside = dict(told.subject.model.base_model.named_modules())
    assert [inside[hookpoint(told, layer)] for layer in range(LAYERS)] == list(told.subject.blocks)
