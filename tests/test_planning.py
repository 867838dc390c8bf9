"""The plan: what it counts is what passes through the model, it loads no weights, and it scales with the model's size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import LlamaConfig

from cases.claims import load_claims
from cases.stimuli import load_stimuli
from fixtures import bench as benches
from fixtures.activations import BUDGET, recording
from fixtures.bench import build
from fixtures.blocks import BlocksError
from fixtures.calibration.__main__ import run_options
from fixtures.checkpoints import ModelError
from fixtures.planning import BLOCKS, Counter, Passed, Shape, amount, miniature, plan, shape_of, told
from fixtures.plugin import instrument_of
from tests.tiny import ARCHITECTURES, VOCABULARY, config, tokenizer

ROOT = Path(__file__).parents[1]


def chosen(*families: str) -> list[tuple[Any, Any, str]]:
    return [(claim, case, instrument_of(claim)) for claim in load_claims().values() if claim.family in families for case in claim.cases]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_a_miniature_of_its_own_kind(architecture: str) -> None:
    real = config(architecture, num_hidden_layers=5)
    small = miniature(architecture, real, tokenizer(), trust=False)
    assert (small.layers, small.width, small.default_layer) == (BLOCKS, 32, 1)
    assert small.model.config.model_type == real.model_type
    assert small.model.config.get_text_config().vocab_size == real.get_text_config().vocab_size


def test_the_size_of_a_large_model_is_known_without_its_weights() -> None:
    # Llama 3.1 70B as its configuration states it: 70.55 billion parameters by its model card
    large = LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8, vocab_size=128256
    )
    shape = shape_of("large", large, trust=False)
    assert shape.parameters == 70_553_706_496
    assert (shape.blocks, shape.width) == (80, 8192)
    assert shape.block * 80 + 2 * 128256 * 8192 + 8192 == shape.parameters


def test_operations_are_two_for_every_parameter_that_a_token_meets() -> None:
    shape = Shape(blocks=6, width=10, vocabulary=100, parameters=0, block=1000.0)
    assert shape.operations(Passed(below=7), layer=3) == 2 * 7 * 4 * 1000
    assert shape.operations(Passed(above=7), layer=3) == 2 * 7 * 2 * 1000
    assert shape.operations(Passed(logits=7), layer=3) == 2 * 7 * 1000


def test_a_counter_counts_tokens_below_above_and_with_logits_while_it_watches() -> None:
    small, counter = miniature("llama", config("llama"), tokenizer(), trust=False), Counter()
    ids = torch.ones(3, 7, dtype=torch.long)
    with torch.no_grad():
        with counter.watching(small, counter.model):
            small.model(input_ids=ids, logits_to_keep=2)
        small.model(input_ids=ids)
    assert counter.model == Passed(below=21, above=21, logits=6)


def test_the_plan_of_a_family_is_what_then_passes_through_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    selected = chosen("geometry", "separation", "self_steering")
    told_plan = plan("reference-xxs", run_options("quick"), selected)
    options = run_options("quick")
    options.no_cache = True
    real, seen = build("reference-xxs", options), []
    with recording(real.subject, (0,), lambda _, stream: seen.append(stream.shape[:-1].numel())):
        for _, case, instrument in selected:
            __import__(f"fixtures.{instrument}", fromlist=["measure"]).measure(real, case)
    assert told_plan.total.model.below == sum(seen)
    assert told_plan.total.twins.below > 0


@pytest.mark.parametrize("size", ["2", "auto"])
def test_the_memory_of_a_batch_is_that_of_the_size_that_was_asked_for(size: str) -> None:
    options = run_options("quick")
    options.batch_size = size
    found = plan("reference-xxs", options, chosen("geometry"))
    longest = max(len(passage.text.split()) for passage in load_stimuli("world").passages("implicit"))
    assert found.batch == (BUDGET["cpu"] if size == "auto" else 2 * longest)
    assert f"a batch of {found.batch:,} tokens" in found.text()


def test_what_two_families_share_is_counted_once() -> None:
    both = plan("reference-xxs", run_options("quick"), chosen("geometry", "logit_lens"))
    alone = plan("reference-xxs", run_options("quick"), chosen("logit_lens"))
    assert both.families["logit_lens"].model.below < alone.families["logit_lens"].model.below


def test_a_plan_loads_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benches, "load", lambda *_, **__: pytest.fail("loaded"))
    found = plan(without_weights(tmp_path / "empty"), run_options("quick"), chosen("geometry"))
    assert found.name == "empty"
    assert found.total.model.below > 0
    assert "plan of empty" in found.text()


def test_what_cannot_be_made_small_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.planning.stand_in", lambda *_: (_ for _ in ()).throw(RuntimeError("odd sizes")))
    with pytest.raises(ModelError, match=r"--plan of odd: its architecture could not be made small \(RuntimeError: odd sizes\)"):
        miniature("odd", config("llama"), tokenizer(), trust=False)


@pytest.mark.parametrize("kind", ["JambaConfig", "FalconH1Config"])
def test_an_architecture_that_states_its_blocks_as_a_property_has_a_miniature(kind: str) -> None:
    assert miniature("hybrid", getattr(transformers, kind)(vocab_size=VOCABULARY), tokenizer(), trust=False).layers > 1


def test_an_architecture_whose_blocks_are_not_found_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.planning.find_blocks", lambda _: (_ for _ in ()).throw(BlocksError("two lists of equal length")))
    with pytest.raises(ModelError, match=r"--plan of odd: its architecture has no shape that could be told \(BlocksError: two lists"):
        shape_of("odd", config("llama"), trust=False)


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (150, "2 min"), (9000, "2.5 h")])
def test_times_are_told_in_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert told(seconds) == text


def test_amounts_are_told_in_the_unit_that_suits_them() -> None:
    assert (amount(3 * 2**20), amount(3 * 2**30)) == ("3 MiB", "3.0 GiB")


def without_weights(folder: Path) -> str:
    """Write a tiny model's configuration and tokenizer, and no weights; return the folder's path."""
    config("llama", max_position_embeddings=256).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def test_the_option_asks_a_folder_for_no_weights(tmp_path: Path) -> None:
    words = ["benchmark", f"--model={without_weights(tmp_path / 'empty')}", "--plan", "-k", "geometry", "--no-cache", "-q"]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plan of empty: " in done.stdout


def test_the_option_prints_a_table_writes_nothing_and_judges_nothing(tmp_path: Path) -> None:
    words = ["benchmark", "--model=reference-xxs", "--plan", "-k", "geometry", f"--output-path={tmp_path / 'runs'}", "-q"]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plan of reference-xxs: 74,256 parameters, 2 blocks" in done.stdout
    assert "geometry" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("other", [["--passages", "self"], ["--gate", "gate.toml"], ["--update-baseline"], ["--sweep-layers"], ["-n", "2"]])
def test_options_that_write_or_judge_are_refused_beside_it(other: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmark", "--plan", *other], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert f"--plan with {' '.join(other[:2]) if other[0] == '--passages' else other[0]}: accepted: --plan without it" in done.stderr
