"""Options of `pytest benchmark`; nothing heavy is imported here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["fixtures.plugin", "reports.plugin"]

DTYPES = ("auto", "float32", "bfloat16", "float16")
PROFILES = ("quick", "standard", "full")


def checked(option: str, accepted: str, pattern: str) -> Any:
    """Return a converter that takes a value matching `pattern` and otherwise names option, value and what is accepted."""

    def convert(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise pytest.UsageError(f"{option} {value}: accepted: {accepted}")
        return value

    return convert


def existing(option: str, accepted: str, *words: str) -> Any:
    """Return a converter that takes the path of an existing file, or one of `words`."""

    def convert(value: str) -> str:
        if value not in words and not Path(value).is_file():
            raise pytest.UsageError(f"{option} {value}: no such file; accepted: {accepted}")
        return value

    return convert


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options, under the names that people know from evaluation harnesses."""
    group = parser.getgroup("emotion steering", "emotion steering: the model to judge, and how")

    def option(*names: str, default: str, accepted: str, pattern: str, text: str) -> None:
        group.addoption(
            *names, default=default, type=checked(names[0], accepted, pattern), metavar=accepted, help=f"{text} (default: {default})"
        )

    group.addoption(
        "--model",
        action="append",
        metavar="NAME",
        help="hub name, name@revision, local folder (--model=/path) or reference model; repeatable (default: reference)",
    )
    group.addoption("--revision", default=None, metavar="REV", help="revision of a hub model")
    option("--device", default="auto", accepted="auto|cpu|cuda[:N]|mps", pattern=r"auto|cpu|cuda(:\d+)?|mps", text="where the model runs")
    option(
        "--device-map",
        default="none",
        accepted="none|auto",
        pattern="none|auto",
        text="spread a model that is larger than one device over GPUs, CPU and disk (needs accelerate)",
    )
    group.addoption(
        "--max-memory",
        default=None,
        metavar="0=20GiB,cpu=60GiB",
        help="how much of each device --device-map may take (default: what is free)",
    )
    group.addoption("--tensor-parallel", action="store_true", help="split every layer over the processes that torchrun started")
    option(
        "--dtype",
        default="auto",
        accepted="|".join(DTYPES),
        pattern="|".join(DTYPES),
        text="precision of the weights; auto: float32 on a CPU, else the checkpoint's",
    )
    option(
        "--batch-size",
        "--batch_size",
        default="auto",
        accepted="N|auto",
        pattern=r"auto|[1-9]\d*",
        text="texts in a forward pass; no result depends on it",
    )
    option("--seed", default="0", accepted="N", pattern=r"\d+", text="seed of every random draw")
    option(
        "--profile",
        default="quick",
        accepted="|".join(PROFILES),
        pattern="|".join(PROFILES),
        text="number of random draws, never the stimuli",
    )
    option(
        "--layer",
        default="auto",
        accepted="auto|N",
        pattern=r"auto|\d+",
        text="block at which claims are judged; auto: two thirds of the depth",
    )
    group.addoption("--sweep-layers", action="store_true", help="also sweep the dose-response over every block (reported, not judged)")
    option(
        "--limit",
        default="none",
        accepted="N>=2|none",
        pattern=r"none|[2-9]|[1-9]\d+",
        text="only the first N topics, pairs and frames; marks the run incomplete",
    )
    group.addoption("--output-path", default=None, metavar="DIR", help="where runs are written (default: reports/runs)")
    group.addoption(
        "--resume",
        nargs="?",
        const="newest",
        default=None,
        metavar="FOLDER",
        help="go on with a run (alone, after all paths: the newest incomplete one of these models and options)",
    )
    group.addoption("--no-cache", action="store_true", help="neither read nor keep activations between runs")
    group.addoption("--clear-cache", action="store_true", help="delete the activations that earlier runs kept, before this one")
    group.addoption("--log-samples", action="store_true", help="also write every item's texts and scores to samples.jsonl")
    group.addoption(
        "--norms",
        default=None,
        type=existing("--norms", "a path of a CSV or TSV file"),
        metavar="FILE",
        help="ratings of valence and arousal (NRC VAD or Warriner, CSV or TSV) in place of the coded ones",
    )
    option("--emotions", default="core", accepted="core|all", pattern="core|all", text="the 30 core emotions, or all 171 of the paper")
    group.addoption(
        "--passages",
        default="shipped",
        type=existing("--passages", "shipped, self, or a path of a JSONL file", "shipped", "self"),
        metavar="shipped|self|FILE",
        help="implicit passages: ours, the model's own, or a JSONL file of {emotion, text, topic} (default: shipped)",
    )
    group.addoption(
        "--vectors",
        default=None,
        type=existing("--vectors", "a path of a .safetensors or .npz file"),
        metavar="FILE",
        help="judge the geometry of given vectors (safetensors or npz) without a model",
    )
    group.addoption("--export-vectors", default=None, metavar="DIR", help="also write the vectors as safetensors, GGUF and for lm-eval")
    group.addoption(
        "--judge",
        default=None,
        metavar="ADDRESS|MODEL",
        help="a second reader of sampled replies, who decides nothing: an OpenAI-compatible address, or a model",
    )
    group.addoption("--judge-model", default=None, metavar="NAME", help="the model at the address of --judge")
    group.addoption(
        "--execute-code", action="store_true", help="also run sampled solutions, in a sandbox without network (Linux; off by default)"
    )
    group.addoption("--trust-remote-code", action="store_true", help="run model code from the hub (off by default)")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an output path that is a file, and a model beside given vectors; make a repeated --model count once."""
    for option in ("--output-path", "--export-vectors"):
        folder = config.getoption(option)
        if folder and Path(folder).exists() and not Path(folder).is_dir():
            raise pytest.UsageError(f"{option} {folder}: that is a file; accepted: a folder, made where it does not exist")
    vectors, models = config.getoption("--vectors"), config.getoption("--model")
    if vectors and models:
        raise pytest.UsageError(f"--vectors {vectors} with --model {models[0]}: accepted: one of the two")
    for option, value in (("--passages", config.getoption("--passages")), ("--export-vectors", config.getoption("--export-vectors"))):
        if vectors and value not in (None, "shipped"):
            raise pytest.UsageError(f"--vectors {vectors} with {option} {value}: accepted: --vectors alone, for there is no model")
    if vectors:
        config.option.model = [Path(vectors).stem]
        return
    config.option.model = list(dict.fromkeys(config.getoption("--model") or ["reference"]))
