"""Options of `pytest benchmark`; nothing heavy is imported here."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from cases.shown import is_file, is_folder, shown, unusable

pytest_plugins = ["fixtures.plugin", "reports.plugin"]

# nothing is sent to anybody about a run, unless the user asked for it
for _switch, _value in (("HF_HUB_DISABLE_TELEMETRY", "1"), ("RAY_USAGE_STATS_ENABLED", "0")):
    os.environ.setdefault(_switch, _value)

DTYPES = ("auto", "float32", "bfloat16", "float16")
VALUED = (
    "revision", "device", "dtype", "batch_size", "seed", "profile", "layer", "limit", "output_path", "norms", "emotions", "passages",
    "vectors", "export_vectors", "judge", "judge_model", "device_map", "max_memory", "resume",
)  # fmt: skip
"""Options that take one value."""

NO_NAMES = ("shipped", "self", "None")
"""Names of files that stand in a run, which records a file by its name, for what is no file."""

PROFILES = ("quick", "standard", "full")


def checked(option: str, accepted: str, pattern: str) -> Any:
    """Return a converter that takes a value matching `pattern` and otherwise names option, value and what is accepted."""

    def convert(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise pytest.UsageError(f"{option} {shown(value)}: accepted: {accepted}")
        return value

    return convert


def existing(option: str, accepted: str, *words: str) -> Any:
    """Return a converter that takes the path of an existing file, or one of `words`."""

    def convert(value: str) -> str:
        if value not in words and not is_file(value):
            raise pytest.UsageError(f"{option} {shown(value)}: no such file; accepted: {accepted}")
        if value not in words and Path(value).name in NO_NAMES:
            raise pytest.UsageError(
                f"{option} {shown(value)}: a run would record it as if no file was given; accepted: {accepted}, of another name"
            )
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
    group.addoption(
        "--revision",
        default=None,
        type=checked("--revision", "a branch, tag or commit of a hub model", r"\S{1,200}"),
        metavar="REV",
        help="revision of a hub model",
    )
    option(
        "--device", default="auto", accepted="auto|cpu|cuda[:N]|mps", pattern=r"auto|cpu|cuda(:\d{1,3})?|mps", text="where the model runs"
    )
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
        pattern=r"auto|[1-9]\d{0,8}",
        text="texts in a forward pass; no result depends on it",
    )
    option("--seed", default="0", accepted="N", pattern=r"\d{1,9}", text="seed of every random draw")
    option(
        "--profile",
        default="quick",
        accepted="|".join(PROFILES),
        pattern="|".join(PROFILES),
        text="how many random draws, and in full also every pair of activities and more answers; never other stimuli",
    )
    option(
        "--layer",
        default="auto",
        accepted="auto|N",
        pattern=r"auto|\d{1,9}",
        text="block at which claims are judged; auto: two thirds of the depth",
    )
    group.addoption("--sweep-layers", action="store_true", help="also sweep the dose-response over every block (reported, not judged)")
    option(
        "--limit",
        default="none",
        accepted="N>=2|none",
        pattern=r"none|[2-9]|[1-9]\d{1,8}",
        text="only the first N topics, pairs and frames; marks the run incomplete",
    )
    group.addoption(
        "--plan", action="store_true", help="print what the run will cost (tokens, time, memory), load no weights and judge nothing"
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
    group.addoption("--gate", action="append", metavar="POLICY", help="let a policy (gate.toml) alone decide the exit status; repeatable")
    group.addoption(
        "--baseline",
        action="append",
        metavar="FILE",
        help="what --gate compares with; repeatable (default, if a policy wants one: reports/baselines/<model>/<device>-<dtype>.json)",
    )
    group.addoption(
        "--update-baseline", action="store_true", help="make each complete run the baseline of its model and device, after any gate"
    )
    group.addoption("--trust-remote-code", action="store_true", help="run model code from the hub (off by default)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Refuse an output path that cannot be used, and options that exclude each other; make a repeated --model count once."""
    # argparse takes -- for the end of options even after an equals sign, and leaves an empty list as the value
    for name, value in vars(config.option).items():
        if (name in VALUED and value == []) or (isinstance(value, list) and [] in value):
            raise pytest.UsageError(f"--{name.replace('_', '-')} --: accepted: a value (see --help)")
    for option in ("--output-path", "--export-vectors"):
        folder = config.getoption(option)
        if folder is not None and (why := unusable(folder)):
            raise pytest.UsageError(f"{option} {shown(folder)}: {why}; accepted: a folder, made where it does not exist")
    judge, at = config.getoption("--judge"), config.getoption("--judge-model")
    if at is not None and (judge is None or "://" not in judge):
        raise pytest.UsageError(f"--judge-model {shown(at)}: accepted: beside --judge ADDRESS, the name of the model there")
    vectors, models = config.getoption("--vectors"), config.getoption("--model")
    if vectors and models:
        raise pytest.UsageError(f"--vectors {shown(vectors)} with --model {shown(models[0])}: accepted: one of the two")
    for option, value in (("--passages", config.getoption("--passages")), ("--export-vectors", config.getoption("--export-vectors"))):
        if vectors and value not in (None, "shipped"):
            raise pytest.UsageError(
                f"--vectors {shown(vectors)} with {option} {shown(value)}: accepted: --vectors alone, for there is no model"
            )
    if (exported := config.getoption("--export-vectors")) and config.getoption("--limit") != "none":
        raise pytest.UsageError(
            f"--limit {config.getoption('--limit')} with --export-vectors {shown(exported)}: "
            "accepted: one of the two, for vectors of a few topics look like those of all"
        )
    if config.getoption("--plan"):
        clash = [o for o in ("--vectors", "--gate", "--resume", "--judge", "--export-vectors", "--update-baseline") if config.getoption(o)]
        clash += ["--sweep-layers"] if config.getoption("--sweep-layers") else []  # a miniature has too few of them to count
        clash += ["--passages self"] if config.getoption("--passages") == "self" else []
        clash += ["-n"] if config.getoption("numprocesses", None) else []  # workers collect, and nobody counts what they would measure
        if clash:
            raise pytest.UsageError(f"--plan with {clash[0]}: accepted: --plan without it, for nothing is written or judged")
    if vectors:
        config.option.model = [Path(vectors).stem]
        return
    config.option.model = distinct(config.getoption("--model") or ["reference"])


def distinct(models: list[str]) -> list[str]:
    """Return the models without repeats; a folder may be spelled in several ways, and the first counts."""
    found: dict[str, str] = {}
    for name in models:
        found.setdefault(os.path.realpath(name) if is_folder(name) else name, name)
    return list(found.values())


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let hypothesis say nothing of a session in which no test uses it: for that alone it would be imported, which takes a second."""
    plugins = session.config.pluginmanager
    if "hypothesis" not in sys.modules and plugins.has_plugin("hypothesispytest"):
        plugins.unregister(name="hypothesispytest")
