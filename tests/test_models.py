from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from cases.shown import called
from fixtures.checkpoints import ModelError, folder_hash, split_revision
from fixtures.models import check, choose_device, choose_dtype, encode, load, untrained_twin
from tests.tiny import LAYERS, SENTENCES, VOCABULARY, WIDTH, build, config, lively, logits, save, tiny, tokenizer, tokens


def checked(name: str | Path, *, layer: str = "auto", device: str = "cpu", weights: bool = True) -> None:
    check(str(name), revision=None, device=device, layer=layer, trust_remote_code=False, weights=weights)


def loaded(name: str | Path, **options: Any) -> Any:
    return load(str(name), **{"device": "cpu", **options})


def rewrite(folder: Path, **changes: Any) -> Path:
    """Change entries of a saved configuration; None takes one away."""
    path = folder / "config.json"
    merged = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in merged.items() if value is not None}))
    return folder


def missing(folder: Path) -> Path:
    return folder


def bare(folder: Path) -> Path:
    folder.mkdir()
    return folder


def a_file(folder: Path) -> Path:
    folder.write_text("weights")
    return folder


def masked(folder: Path) -> Path:
    settings = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    model = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=VOCABULARY, **settings))
    lively(model, 0).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def masked_unnamed(folder: Path) -> Path:
    return rewrite(masked(folder), architectures=None)


def encoder_decoder(folder: Path) -> Path:
    transformers.T5Config().save_pretrained(folder)
    return folder


def pickled(folder: Path) -> Path:
    return save(folder, safe=False)


def unknown(folder: Path) -> Path:
    return rewrite(save(folder), model_type="zork")


def broken_config(folder: Path) -> Path:
    save(folder)
    (folder / "config.json").write_text("{")
    return folder


def torn(folder: Path) -> Path:
    weights = save(folder) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    return folder


def torn_shard(folder: Path) -> Path:
    transformers.AutoModelForCausalLM.from_config(config("llama")).save_pretrained(folder, max_shard_size="60KB")
    tokenizer().save_pretrained(folder)
    last = max(folder.glob("*.safetensors"))
    last.write_bytes(last.read_bytes()[:-1])
    return folder


def incomplete(folder: Path) -> Path:
    return rewrite(save(folder), num_hidden_layers=LAYERS + 1)


def speechless(folder: Path) -> Path:
    return save(folder, tokenized=False)


def speechless_gpt2(folder: Path) -> Path:
    return save(folder, "gpt2", tokenized=False)


def few_embeddings(folder: Path) -> Path:
    save(folder)
    lively(transformers.AutoModelForCausalLM.from_config(config("llama", vocab_size=VOCABULARY - 9)), 0).save_pretrained(folder)
    return folder


BY_FILES = {
    missing: "no such folder, and the hub does not have it or cannot be reached",
    bare: "the folder has no config.json",
    a_file: "the folder has no config.json",
    masked: "BertForMaskedLM is not a causal language model",
    encoder_decoder: "t5 is an encoder-decoder, not a causal language model",
    pickled: "it has no safetensors weights",
    unknown: "model type `zork`",
    broken_config: "not a valid JSON file",
    torn: "model.safetensors cannot be read (",
    torn_shard: "model-00003-of-00003.safetensors cannot be read (",
    speechless: "its tokenizer does not load",
    speechless_gpt2: "its tokenizer has no vocabulary",
}
BY_LOADING = {
    masked_unnamed: "BertLMHeadModel is not causal",
    incomplete: "its weights lack model.layers.3.input_layernorm.weight and 8 more",
    few_embeddings: f"its tokenizer has tokens up to {VOCABULARY - 1}, and it has embeddings up to {VOCABULARY - 10}",
}


def one_line(error: ModelError, start: str, reason: str) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.startswith(start)
    assert reason in text


@pytest.mark.parametrize("look", [checked, loaded])
@pytest.mark.parametrize(("make", "reason"), BY_FILES.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_what_cannot_be_judged_is_refused_in_one_line_before_and_at_loading(tmp_path: Path, make: Any, reason: str, look: Any) -> None:
    name = make(tmp_path / "subject")
    with pytest.raises(ModelError) as caught:
        look(name)
    one_line(caught.value, f"--model {name}: ", reason)
    assert "; accepted: a hub name, a local folder with safetensors, or one of reference" in str(caught.value)


@pytest.mark.parametrize(("make", "reason"), BY_LOADING.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_what_only_loading_shows_is_refused_in_one_line(tmp_path: Path, make: Any, reason: str) -> None:
    name = make(tmp_path / "subject")
    with pytest.raises(ModelError) as caught:
        loaded(name)
    one_line(caught.value, f"--model {name}: ", reason)


def test_a_folder_with_a_revision_after_its_name_is_refused_and_names_both(tmp_path: Path) -> None:
    name = save(tmp_path / "subject")
    with pytest.raises(ModelError) as caught:
        checked(f"{name}@main")
    one_line(caught.value, "--revision main: ", f"{name} is a local folder and has no revisions; accepted: a revision of a hub model")


def test_a_plan_asks_for_a_configuration_and_no_weights(tmp_path: Path) -> None:
    name = pickled(tmp_path / "subject")
    checked(name, weights=False)
    with pytest.raises(ModelError, match="it has no safetensors weights"):
        checked(name)


@pytest.mark.parametrize("layer", [str(LAYERS), "99"])
def test_a_layer_out_of_range_is_refused_from_the_configuration(tmp_path: Path, layer: str) -> None:
    name = save(tmp_path / "subject")
    for fine in ("auto", "0", str(LAYERS - 1)):
        checked(name, layer=fine)
    with pytest.raises(ModelError) as caught:
        checked(name, layer=layer)
    one_line(caught.value, f"--layer {layer}: ", f"has blocks 0 to {LAYERS - 1}; accepted: auto, or one of those")


def test_a_layer_out_of_range_of_a_reference_is_refused_without_loading_it() -> None:
    checked("reference", layer="5")
    with pytest.raises(ModelError, match="--layer 6: reference has blocks 0 to 5"):
        checked("reference", layer="6")


@pytest.mark.parametrize("look", [checked, loaded])
@pytest.mark.parametrize(("device", "present"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_cuda_device_that_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch, look: Any, device: str, present: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: present)
    with pytest.raises(ModelError) as caught:
        look("reference", device=device)
    one_line(caught.value, f"--device {device}: ", f"this machine has {present} CUDA devices; accepted: auto, cpu, cuda[:N], mps")


def test_auto_takes_the_accelerator_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == kind
    with pytest.raises(ModelError, match="no MPS device"):
        choose_device("mps")


def test_auto_dtype_is_float32_on_a_cpu_and_the_checkpoints_elsewhere() -> None:
    half = config("llama", dtype=torch.bfloat16)
    assert choose_dtype("auto", torch.device("cpu"), half) is torch.float32
    assert choose_dtype("auto", torch.device("cuda"), half) is torch.bfloat16
    assert choose_dtype("auto", torch.device("cuda"), object()) is torch.float32
    assert choose_dtype("float16", torch.device("cpu"), half) is torch.float16


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
def test_a_folder_loads_as_the_very_model_that_was_saved(tmp_path: Path, architecture: str) -> None:
    name, ids = save(tmp_path / "subject", architecture), tokens(2, 9)
    checked(name)
    subject, original = loaded(name), tiny(architecture)
    assert torch.equal(logits(subject, ids), logits(original, ids))
    assert [encode(subject, s) for s in SENTENCES] == [encode(original, s) for s in SENTENCES]
    assert subject.describe() == {
        "model": "subject",
        "revision": folder_hash(name),
        "parameters": sum(p.numel() for p in original.model.parameters()),
        "architecture": type(original.model).__name__,
        "layers": LAYERS,
        "width": WIDTH,
        "device": "cpu",
        "device_name": "cpu",
        "dtype": "float32",
        "cuda": None,
        "stimuli": "english",
    }
    assert not subject.model.training
    assert not any(p.requires_grad for p in subject.model.parameters())
    json.dumps(subject.describe())


def test_a_dtype_that_is_asked_for_is_the_one_that_runs(tmp_path: Path) -> None:
    subject = loaded(save(tmp_path / "subject"), dtype="bfloat16")
    assert subject.dtype == "bfloat16"
    assert {p.dtype for p in subject.model.parameters()} == {torch.bfloat16}


def test_the_revision_of_a_folder_follows_its_weights_and_not_its_notes(tmp_path: Path) -> None:
    folder = save(tmp_path / "subject")
    before = folder_hash(folder)
    (folder / "README.md").write_text("notes")
    assert folder_hash(folder) == before
    rewrite(folder, rms_norm_eps=1e-3)
    assert folder_hash(folder) != before


def test_a_revision_may_be_written_after_the_name_but_an_existing_path_stays_whole(tmp_path: Path) -> None:
    assert split_revision("org/model@abc", None) == ("org/model", "abc")
    assert split_revision("org/model", "main") == ("org/model", "main")
    odd = tmp_path / "a@b"
    odd.mkdir()
    assert split_revision(str(odd), None) == (str(odd), None)
    assert called(str(odd)) == "a@b"
    assert called("org/model") == "org/model"


@pytest.mark.parametrize(("depth", "layer"), [(12, 7), (3, 1), (2, 0), (1, 0)])
def test_the_default_layer_is_at_two_thirds_of_the_depth(depth: int, layer: int) -> None:
    assert build("llama", num_hidden_layers=depth).default_layer == layer


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "mixtral"])
def test_an_untrained_twin_differs_by_seed_and_only_by_seed(architecture: str) -> None:
    subject, ids = tiny(architecture), tokens(1, 9)
    first, again, other = (untrained_twin(subject, seed) for seed in (1, 1, 2))
    assert torch.equal(logits(first, ids), logits(again, ids))
    assert not torch.allclose(logits(first, ids), logits(other, ids))
    assert not torch.allclose(logits(first, ids), logits(subject, ids))
    assert (first.name, first.twin_of) == (f"{architecture} untrained #1", architecture)
    assert first.tokenizer is subject.tokenizer
    assert first.parameters == subject.parameters
    assert not {*first.blocks} & {*subject.blocks}
    assert not first.model.training


def test_an_untrained_twin_leaves_the_subject_and_the_global_random_state_as_they_were() -> None:
    subject, ids = build("llama", dtype=torch.bfloat16), tokens(1, 9)
    before, configuration, state = logits(subject, ids), subject.model.config.to_dict(), torch.get_rng_state()
    twin = untrained_twin(subject, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits(subject, ids), before)
    assert subject.model.config.to_dict() == configuration
    assert twin.model.dtype is torch.bfloat16
    drawn = torch.rand(3)
    torch.set_rng_state(state)
    assert torch.equal(torch.rand(3), drawn)


def test_the_twin_does_not_depend_on_the_global_random_state_nor_on_the_dtype() -> None:
    torch.manual_seed(7)
    first = untrained_twin(build("llama"), 3)
    torch.manual_seed(8)
    second = untrained_twin(build("llama", dtype=torch.bfloat16), 3)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a.to(torch.bfloat16), b)
