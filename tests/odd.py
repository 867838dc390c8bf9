"""Models that are odd in one way each, as folders to be judged: tokenizers, contexts, heads, windows, templates and weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from tests.tiny import SENTENCES, SPECIAL, VOCABULARY, config, lively, tokenizer

ROOMY = {"max_position_embeddings": 1024}
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
RAISING = "{{ raise_exception('no turns today') }}"


def bytewise() -> Any:
    """A tokenizer of 256 bytes that merges nothing, with one special token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={"</s>": 0, **{byte: i for i, byte in enumerate(alphabet, 1)}}, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>")


def lettered() -> Any:
    """A tokenizer of lower-case letters and blanks, everything else unknown."""
    raw = Tokenizer(models.WordLevel({"<unk>": 0, **{c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz ", 1)}}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


def prefixed(by: str = "normaliser") -> Any:
    """A SentencePiece tokenizer that puts a blank before every text: before those that begin with one too (a normaliser), or not."""
    raw = Tokenizer(models.BPE(unk_token=SPECIAL["unk_token"]))
    if by == "normaliser":
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    raw.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=list(SPECIAL.values()), show_progress=False)
    raw.train_from_iterator([*SENTENCES, *SENTENCES], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, **SPECIAL)


def without(*names: str) -> Any:
    """The usual tokenizer without some of its special tokens."""
    from copy import deepcopy

    found = deepcopy(tokenizer())
    for name in names:
        setattr(found, name, None)
    return found


def with_template(template: str) -> Any:
    from copy import deepcopy

    found = deepcopy(tokenizer())
    found.chat_template = template
    return found


def folder(path: Path, words: Any, architecture: str = "llama", spoil: Callable[[Any], None] | None = None, **changes: Any) -> Path:
    """Write a tiny random model with a tokenizer."""
    settings = {**ROOMY, "vocab_size": max(len(words), 8), "pad_token_id": None, "bos_token_id": None, "eos_token_id": None, **changes}
    model = lively(AutoModelForCausalLM.from_config(config(architecture, **settings)), 0)
    if spoil:
        with torch.no_grad():
            spoil(model)
    model.save_pretrained(path)
    words.save_pretrained(path)
    return path


def all_nan(model: Any) -> None:
    model.get_decoder().layers[1].mlp.down_proj.weight[:] = float("nan")


def one_nan(model: Any) -> None:
    """Every text with the letter z is lost, and no other."""
    model.get_input_embeddings().weight[tokenizer().convert_tokens_to_ids("z")] = float("nan")


ODD: dict[str, Callable[[Path], Path]] = {
    "no-pad": lambda path: folder(path, without("pad_token")),
    "no-special-but-unknown": lambda path: folder(path, without("pad_token", "bos_token", "eos_token")),
    "bytes": lambda path: folder(path, bytewise(), "gpt2"),
    "letters": lambda path: folder(path, lettered(), "qwen2"),
    "context-64": lambda path: folder(path, tokenizer(), "gpt2", max_position_embeddings=64),
    "tied": lambda path: folder(path, tokenizer(), tie_word_embeddings=True),
    "untied": lambda path: folder(path, tokenizer(bos=True), tie_word_embeddings=False),
    "window-4": lambda path: folder(path, tokenizer(), "mistral", sliding_window=4),
    "template": lambda path: folder(path, with_template(TEMPLATE)),
    "template-raises": lambda path: folder(path, with_template(RAISING)),
    "all-nan": lambda path: folder(path, tokenizer(), spoil=all_nan),
    "one-nan": lambda path: folder(path, tokenizer(), tie_word_embeddings=False, spoil=one_nan),
}
