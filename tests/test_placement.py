"""Self-tests of placement: a model spread over memory and disk, or split over two processes, gives what it gives whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.activations import capture, embeddings, residual_norms
from fixtures.checkpoints import ModelError
from fixtures.generation import exact_way, write
from fixtures.lens import lens_logits
from fixtures.models import Subject, check, encode, load, untrained_twin
from fixtures.placement import Placement, PlacementError, placement_of
from fixtures.scoring import WAYS, fastest_way, word_logprobs
from fixtures.steering import steer
from tests.runs import ROOT
from tests.tiny import SENTENCES, VOCABULARY, directions, save

LLAMA = {
    "model.embed_tokens": "disk",
    "model.rotary_emb": "cpu",
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.layers.2": "disk",
    "model.norm": "disk",
    "lm_head": "disk",
}
GPT2 = {
    "transformer.wte": "cpu",
    "transformer.wpe": "disk",
    "transformer.h.0": "disk",
    "transformer.h.1": "cpu",
    "transformer.h.2": "disk",
    "transformer.ln_f": "disk",
    "lm_head": "cpu",
}
MAPS = {"llama": LLAMA, "qwen2": LLAMA, "gpt2": GPT2}
WORDS = ("glad", "angry", "lonesome")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Subject, Subject]]:
    """Return a function that gives a model whole and the same model over memory and disk."""

    @cache
    def loaded(architecture: str) -> tuple[Subject, Subject]:
        folder = str(save(tmp_path_factory.mktemp(architecture), architecture))
        where = Placement(tuple(MAPS[architecture].items()))
        return load(folder, device="cpu"), load(folder, placement=where)

    return loaded


def figures(subject: Subject) -> dict[str, np.ndarray]:
    """Return what every part of the suite that runs a model gives on one."""
    vectors, noise = directions(4), torch.randn(5, 4, VOCABULARY, generator=torch.Generator().manual_seed(1))
    prompt = encode(subject, SENTENCES[0])
    found = {
        "first block alone": capture(subject, SENTENCES, layers=[0]).values,
        "capture": capture(subject, SENTENCES).values,
        "norms": residual_norms(subject, SENTENCES),
        "embeddings": embeddings(subject, SENTENCES),
        "lens": lens_logits(subject, vectors.numpy(), WORDS),
        "words": word_logprobs(subject, SENTENCES[1], WORDS),
    }
    for way in WAYS:
        found[f"steered words, {way}"] = word_logprobs(subject, SENTENCES[1], WORDS, layer=1, vectors=vectors, way=way)
    written = write(subject, prompt, layer=1, vectors=vectors, noise=noise)
    found |= {"written": written.ids, "entropy": written.entropy}
    with steer(subject, 2, vectors[0]):
        found["steered capture"] = capture(subject, SENTENCES[:3]).values
    found["after"] = capture(subject, SENTENCES).values
    return found


@pytest.mark.parametrize("architecture", MAPS)
def test_capture_steering_scoring_and_generation_are_right_where_blocks_lie_on_disk(architecture: str, pair: Any) -> None:
    whole, spread = pair(architecture)
    assert set(spread.model.hf_device_map.values()) == {"cpu", "disk"}
    assert any(parameter.device.type == "meta" for parameter in spread.model.parameters())
    expected, found = figures(whole), figures(spread)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    assert fastest_way(spread, 1) == fastest_way(whole, 1)
    assert exact_way(spread, 1) == exact_way(whole, 1)


@pytest.mark.parametrize("architecture", MAPS)
def test_the_untrained_twin_is_the_same_and_spread_as_its_model(architecture: str, pair: Any) -> None:
    whole, spread = (untrained_twin(subject, 5) for subject in pair(architecture))
    assert "disk" in spread.model.hf_device_map.values()
    np.testing.assert_allclose(capture(spread, SENTENCES).values, capture(whole, SENTENCES).values, atol=1e-5)


def test_what_is_recorded_of_a_spread_model_is_what_is_recorded_of_it_whole(pair: Any) -> None:
    whole, spread = pair("llama")
    assert spread.describe() == whole.describe()
    assert (spread.parameters, spread.bytes) == (whole.parameters, whole.bytes)


def test_auto_heeds_the_limits(tmp_path: Path) -> None:
    spread = load(str(save(tmp_path)), placement=Placement("auto", (("cpu", "70KB"),)))
    assert set(spread.model.hf_device_map.values()) == {"cpu", "disk"}


def options(**changes: Any) -> Any:
    return SimpleNamespace(**{"device": "auto", "device_map": "none", "max_memory": None, "tensor_parallel": False, **changes})


def test_limits_are_read_by_device() -> None:
    assert placement_of(options()) == Placement()
    expected = Placement("auto", ((0, "20GiB"), ("cpu", "1.5GB")))
    assert placement_of(options(device_map="auto", max_memory="0=20GiB,cpu=1.5GB")) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device_map": "auto", "max_memory": "lots"}, "--max-memory lots: accepted: "),
        ({"max_memory": "cpu=1GiB"}, "--max-memory cpu=1GiB: accepted: together with --device-map auto"),
        ({"device_map": "auto", "tensor_parallel": True}, "--device-map auto with --tensor-parallel: accepted: one of the two"),
        ({"device_map": "auto", "device": "cpu"}, "--device cpu with --device-map"),
        ({"tensor_parallel": True}, "--tensor-parallel: this is one process; accepted: under torchrun"),
    ],
)
def test_a_placement_that_cannot_be_had_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlacementError) as raised:
        placement_of(options(**changes))
    assert str(raised.value).startswith(said)
    assert "accepted: " in str(raised.value)


def test_without_accelerate_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from fixtures import placement

    monkeypatch.setattr(placement, "find_spec", lambda name: None)
    with pytest.raises(PlacementError, match=r"^--device-map auto: accelerate is not installed; accepted: after pip install '.\[hub\]'$"):
        placement_of(options(device_map="auto"))


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes"])
def test_a_quantised_checkpoint_without_its_package_is_refused_in_one_line(method: str, tmp_path: Path) -> None:
    folder = save(tmp_path)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    packed = {"quant_method": method, "bits": 4, "group_size": 8, "load_in_4bit": True, "zero_point": True}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": packed}), "utf-8")
    with pytest.raises(ModelError) as raised:
        check(str(folder), revision=None, device="cpu", layer="auto", trust_remote_code=False)
    assert str(raised.value).startswith(f"--model {folder}: its weights are quantised, and here ")
    assert "\n" not in str(raised.value)


def test_a_model_without_a_plan_for_tensor_parallelism_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = save(tmp_path, "gpt2")
    with pytest.raises(ModelError, match=r"^--tensor-parallel with --model .*: transformers has no plan for gpt2; accepted: "):
        check(str(folder), revision=None, device="auto", layer="auto", trust_remote_code=False, tensor_parallel=True)


RANKED = """
import json, sys, numpy, torch
from fixtures.models import load
from fixtures.placement import Placement
from tests.test_placement import figures, capture, untrained_twin, SENTENCES
torch.set_num_threads(1)
subject = load(sys.argv[1], placement=Placement(tensor_parallel=True))
found = figures(subject) | {"twin": capture(untrained_twin(subject, 5), SENTENCES).values}
split = [name for name, weight in subject.model.named_parameters() if hasattr(weight, "full_tensor")]
if torch.distributed.get_rank() == 0:
    numpy.savez(sys.argv[2], **found)
    print(json.dumps({"ranks": torch.distributed.get_world_size(), "split": len(split), "parameters": subject.parameters}))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_two_processes_that_split_every_layer_give_what_one_gives(architecture: str, tmp_path: Path) -> None:
    folder, script, out = save(tmp_path / "model", architecture), tmp_path / "ranked.py", tmp_path / "found.npz"
    script.write_text(RANKED, "utf-8")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
        str(folder),
        str(out),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    whole = load(str(folder), device="cpu")
    assert told["ranks"] == 2
    assert told["split"] > 0
    assert told["parameters"] == whole.parameters
    expected = figures(whole) | {"twin": capture(untrained_twin(whole, 5), SENTENCES).values}
    found = np.load(out)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4, err_msg=name)
