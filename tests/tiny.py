"""Tiny random subjects of every architecture, with a tokenizer made on the spot, and slow, plain ways to look inside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from fixtures.blocks import find_blocks
from fixtures.models import Subject

LAYERS, WIDTH, HEADS, VOCABULARY, CONTEXT = 3, 32, 4, 144, 64

SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

SENTENCES = (
    "She felt glad when the letter came and the whole house was glad with her.",
    "He felt sad and alone because the boat had gone without him.",
    "Glad to be home, the boy ran down the hill to see the dog.",
    "Sad news came, and the old man sat down and said no word.",
    "The dog was angry at the door, and the boy was afraid of the dog.",
    "After the rain they sat on the hill and looked at the sea.",
    "Her name was Glad, and Glad was glad that day.",
)

SINGLE, SEVERAL = ("glad",), ("felt", "angry", "furious", "lonesome")
"""Words of one token in both surface variants, and words that the tokenizer cuts into several in one variant or both."""

_COMMON = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LONG = {"max_position_embeddings": CONTEXT}
_GROUPED = {"num_key_value_heads": 2, "intermediate_size": 48}
_GEMMA = {"head_dim": 8, "sliding_window": 8}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", _LONG),
    "gpt_neox": ("GPTNeoXConfig", {"intermediate_size": 48, **_LONG}),
    "llama": ("LlamaConfig", {**_GROUPED, **_LONG}),
    "mistral": ("MistralConfig", {**_GROUPED, **_LONG, "sliding_window": 8}),
    "qwen2": ("Qwen2Config", {**_GROUPED, **_LONG}),
    "qwen3": ("Qwen3Config", {**_GROUPED, **_LONG, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**_GROUPED, **_LONG, **_GEMMA}),
    "gemma3": ("Gemma3TextConfig", {**_GROUPED, **_LONG, **_GEMMA}),
    "phi3": ("Phi3Config", {**_GROUPED, **_LONG}),
    "opt": ("OPTConfig", {"word_embed_proj_dim": WIDTH, "ffn_dim": 48, **_LONG}),
    "bloom": ("BloomConfig", {}),
    "falcon": ("FalconConfig", _LONG),
    "falcon_alibi": ("FalconConfig", {**_LONG, "alibi": True}),
    "olmo2": ("Olmo2Config", {**_GROUPED, **_LONG}),
    "stablelm": ("StableLmConfig", {**_GROUPED, **_LONG}),
    "mixtral": ("MixtralConfig", {**_GROUPED, **_LONG, "num_local_experts": 4, "num_experts_per_tok": 2}),
}

ARCHITECTURES = tuple(CONFIGS)
TUPLES = {"bloom", "falcon", "falcon_alibi"}
"""Architectures whose blocks return a tuple; the others return a tensor."""

FINAL_NORM = {
    "gpt2": "ln_f",
    "gpt_neox": "final_layer_norm",
    "opt": "final_layer_norm",
    "bloom": "ln_f",
    "falcon": "ln_f",
    "falcon_alibi": "ln_f",
}
"""Name of the norm before the output head, where it is not `norm`."""

WIDENS = {(architecture, layer): True for architecture in ARCHITECTURES for layer in range(LAYERS)} | {
    # its attention bias is laid out per batch row before the first block, so that only the last block may widen
    ("bloom", 0): False,
    ("bloom", 1): False,
}
"""Whether a batch may be widened at a block, and a prompt's cache shared by its continuations."""

ONE_PLUS = {"gemma2", "gemma3"}
"""Architectures whose norms multiply by 1 + weight."""


def config(architecture: str, **changes: Any) -> Any:
    kind, settings = CONFIGS[architecture]
    return getattr(transformers, kind)(**{**_COMMON, **settings, **_TOKENS, **changes})


@cache
def tokenizer(bos: bool = False) -> Any:
    """Return a BPE tokenizer of at most `VOCABULARY` tokens; with `bos` it puts <s> before every text."""
    raw = Tokenizer(models.BPE(unk_token=SPECIAL["unk_token"]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=list(SPECIAL.values()), show_progress=False)
    raw.train_from_iterator([*SENTENCES, *SENTENCES, "jkqvxzABCDEFGHIJKLMNOPQRSTUVWXYZ"], trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, **SPECIAL)


def lively(model: Any, seed: int) -> Any:
    """Redraw all weights so large that every block matters; fresh models hardly change the stream, and hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * 0.25 if parameter.ndim > 1 else parameter + noise * 0.1)
    return model.eval().requires_grad_(False)


def as_subject(model: Any, name: str = "tiny", *, bos: bool = False) -> Subject:
    dtype = str(model.dtype).removeprefix("torch.")
    return Subject(name, model, tokenizer(bos), find_blocks(model), "none", torch.device("cpu"), dtype)


def build(architecture: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, bos: bool = False, **changes: Any) -> Subject:
    """Return a subject of its own, which a test may change."""
    model = lively(AutoModelForCausalLM.from_config(config(architecture, **changes)), seed)
    return as_subject(model.to(dtype), architecture, bos=bos)


@cache
def tiny(architecture: str) -> Subject:
    """Return the shared subject of an architecture, which no test may change."""
    return build(architecture)


def save(folder: Path, architecture: str = "llama", *, safe: bool = True, tokenized: bool = True) -> Path:
    """Write a tiny model to `folder`, with its weights as safetensors or as a pickle."""
    subject = tiny(architecture)
    subject.model.save_pretrained(folder)
    if tokenized:
        subject.tokenizer.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(subject.model.state_dict(), folder / "pytorch_model.bin")
    return folder


def final_norm(subject: Subject) -> Any:
    return getattr(subject.model.get_decoder(), FINAL_NORM.get(subject.name, "norm"))


def tokens(rows: int, length: int, seed: int = 0) -> Tensor:
    """Return random token ids without special ones, shape (rows, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(SPECIAL), VOCABULARY, (rows, length), generator=generator)


def directions(rows: int, seed: int = 0) -> Tensor:
    """Return random vectors of the size of the residual stream, shape (rows, WIDTH)."""
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def logits(subject: Subject, ids: Tensor) -> Tensor:
    found: Tensor = subject.model(input_ids=ids, use_cache=False).logits
    return found


@torch.inference_mode()
def stated(subject: Subject, ids: Tensor) -> tuple[Tensor, ...]:
    """Return what transformers itself gives as hidden states: embeddings, every block but the last, and the normed last."""
    found: tuple[Tensor, ...] = subject.model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
    return found


@torch.inference_mode()
def streams(subject: Subject, ids: Tensor) -> list[Tensor]:
    """Return every block's output in a forward pass."""
    seen: list[Tensor] = []
    handles = [b.register_forward_hook(lambda _m, _a, out: seen.append(out[0] if isinstance(out, tuple) else out)) for b in subject.blocks]
    logits(subject, ids)
    for handle in handles:
        handle.remove()
    return seen


@contextmanager
def pushed(subject: Subject, layer: int, vector: Tensor) -> Iterator[None]:
    """Steer the slow way: wrap the block's forward itself, without any hook."""
    block, forward = subject.blocks[layer], subject.blocks[layer].forward

    def moved(*args: Any, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        return (out[0] + vector, *out[1:]) if isinstance(out, tuple) else out + vector

    block.forward = moved  # type: ignore[method-assign]
    try:
        yield
    finally:
        del block.forward
