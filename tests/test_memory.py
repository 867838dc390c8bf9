"""Self-tests of memory: a model that holds only so many tokens at once gives what one without a limit gives, and it is recorded."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fixtures import memory
from fixtures.activations import TOKENS, batches, capture, pooling_weights, residual_norms
from fixtures.bench import Bench, Settings
from fixtures.continuations import continuations
from fixtures.generation import write
from fixtures.memory import Memory, attempt, bytes_per_token, in_parts, out_of_memory, tokens_that_fit
from fixtures.models import Subject, encode, special_ids
from fixtures.scoring import WAYS, plan_logprobs, plans_logprobs, word_logprobs
from fixtures.side_effects import steered_nll
from tests.planted import few_stimuli
from tests.runs import ROOT
from tests.tiny import SENTENCES, VOCABULARY, WIDTH, config, directions, tiny

FULL = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory: you tried to allocate 40 bytes."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12 (Cannot allocate memory)"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
)


@contextmanager
def holding(subject: Subject, most: int, error: Exception = FULL[0]) -> Iterator[list[int]]:
    """Let memory run out at the second block where a pass has more than `most` rows times tokens; yields the sizes that passed."""
    passed: list[int] = []

    def check(_module: Any, arguments: Any, output: Any) -> None:
        stream = output if isinstance(output, torch.Tensor) else output[0]
        size = stream.shape[0] * stream.shape[1]
        if size > most:
            raise error
        passed.append(size)

    handle = subject.blocks[1].register_forward_hook(check)
    try:
        yield passed
    finally:
        handle.remove()


def fresh(architecture: str = "llama") -> Subject:
    """A subject of which nothing is known about memory."""
    return replace(tiny(architecture), memory=Memory())


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_what_every_allocator_says_is_known(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory"), KeyError("x")])
def test_any_other_error_is_raised_as_it_is(error: Exception) -> None:
    assert not out_of_memory(error)

    def broken() -> None:
        raise error

    with pytest.raises(type(error)):
        attempt(broken, alone=False)


@pytest.mark.parametrize("most", range(1, 9))
@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_every_row_is_run_once_in_order_whatever_fits(most: int, size: int) -> None:
    def run(rows: slice) -> list[int]:
        found = list(range(10))[rows]
        if len(found) > most:
            raise MemoryError
        return found

    known = Memory()
    parts = in_parts(known, "rows", 10, size, run)
    assert [row for part in parts for row in part] == list(range(10))
    assert known.cap("rows", size) <= max(1, most) or size <= most
    assert bool(known.most) == (min(size, 10) > most)


def test_one_row_that_does_not_fit_raises_what_the_allocator_said() -> None:
    def run(rows: slice) -> int:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        in_parts(Memory(), "rows", 4, 4, run)


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("error", FULL[:2], ids=["CUDA", "CPU"])
def test_activations_and_norms_are_those_of_a_model_with_room(error: Exception, batch_size: int | None) -> None:
    expected, norms = capture(fresh(), SENTENCES, batch_size=batch_size).values, residual_norms(fresh(), SENTENCES, batch_size=batch_size)
    longest = max(len(encode(tiny("llama"), text)) for text in SENTENCES)
    subject = fresh()
    with holding(subject, 2 * longest, error) as passed:
        np.testing.assert_allclose(capture(subject, SENTENCES, batch_size=batch_size).values, expected, atol=1e-5)
        np.testing.assert_allclose(residual_norms(subject, SENTENCES, batch_size=batch_size), norms, rtol=1e-5)
    assert max(passed) <= 2 * longest
    assert 0 < subject.memory.most[TOKENS] <= 2 * longest


def test_what_did_not_fit_once_is_not_tried_again() -> None:
    subject = fresh()
    with holding(subject, 64):
        capture(subject, SENTENCES * 4)
        known = dict(subject.memory.most)
        tried: list[int] = []
        handle = subject.blocks[0].register_forward_hook(lambda _m, _a, out: tried.append(out.shape[0] * out.shape[1]))
        capture(subject, SENTENCES * 4)
        handle.remove()
    assert subject.memory.most == known
    assert max(tried) <= 64


def test_one_text_that_does_not_fit_raises() -> None:
    with holding(fresh(), 3), pytest.raises(torch.OutOfMemoryError):
        capture(fresh(), SENTENCES)


@pytest.mark.parametrize("way", WAYS)
def test_steered_words_are_those_of_a_model_with_room(way: str) -> None:
    vectors = directions(9)

    def scored(subject: Subject) -> np.ndarray:
        return word_logprobs(subject, SENTENCES[0], ("glad", "angry"), layer=0, vectors=vectors, way=way)

    expected, subject = scored(fresh()), fresh()
    length = len(encode(subject, SENTENCES[0])) + 8
    with holding(subject, 3 * length):
        np.testing.assert_allclose(scored(subject), expected, atol=1e-4)
    assert 1 <= subject.memory.most["steered rows"] < 9


def test_prompts_that_share_a_beginning_are_those_of_a_model_with_room() -> None:
    vectors, plans = (
        directions(9),
        [continuations(tiny("llama"), SENTENCES[0] + end, ("glad", "angry")) for end in ("", " and then", " and")],
    )

    def scored(subject: Subject) -> list[np.ndarray]:
        return plans_logprobs(subject, plans, layer=0, vectors=vectors, masks=[None] * 3)

    expected, subject = scored(fresh()), fresh()
    with holding(subject, 3 * (len(plans[1].prompt) + 8)):
        np.testing.assert_allclose(scored(subject), expected, atol=1e-4)
    assert 1 <= subject.memory.most["steered rows"] < 9


def test_unsteered_words_are_those_of_a_model_with_room() -> None:
    words = [f"{a}{b}xqv" for a in "jkz" for b in "vxq"]
    expected, subject = plan_logprobs(fresh(), continuations(fresh(), SENTENCES[1], words)), fresh()
    length = len(encode(subject, SENTENCES[1])) + 8
    with holding(subject, length):
        np.testing.assert_allclose(plan_logprobs(subject, continuations(subject, SENTENCES[1], words)), expected, atol=1e-4)
    assert "continuations" in subject.memory.most


def test_what_is_written_is_what_a_model_with_room_writes() -> None:
    vectors, noise = directions(7), torch.randn(6, 7, VOCABULARY, generator=torch.Generator().manual_seed(1))
    prompt = encode(tiny("llama"), SENTENCES[0])

    def written(subject: Subject) -> Any:
        return write(subject, prompt, layer=1, vectors=vectors, noise=noise)

    expected, subject = written(fresh()), fresh()
    with holding(subject, 2 * len(prompt)):
        found = written(subject)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-4)
    assert subject.memory.most == {"written rows": 1}


def test_losses_under_steering_are_those_of_a_model_with_room() -> None:
    vectors = directions(9).numpy()
    texts = [encode(tiny("llama"), text) for text in SENTENCES[:2]]

    def found(subject: Subject) -> np.ndarray:
        return steered_nll(Bench(lambda: subject, few_stimuli(), Settings(layer=0)), texts, vectors)

    expected, subject = found(fresh()), fresh()
    with holding(subject, 3 * max(map(len, texts))):
        np.testing.assert_allclose(found(subject), expected, atol=1e-4)
    assert subject.memory.most


def test_a_bench_says_to_how_much_batches_were_halved_and_its_twins_heed_it() -> None:
    subject = fresh()
    b = Bench(lambda: subject, few_stimuli(neutral=SENTENCES), Settings(layer=1))
    assert b.halved == {}
    with holding(subject, 64):
        b.capture("x", SENTENCES)
    assert b.halved == subject.memory.most
    assert b.halved
    (twin,) = b.twins
    assert twin.subject.memory is subject.memory


def sizes(subject: Subject) -> list[int]:
    encoded = [encode(subject, text) for text in SENTENCES]
    weights = [pooling_weights(ids, special_ids(subject), "mean", None) for ids in encoded]
    return [batch.ids.numel() for batch in batches(subject, encoded, weights, None)]


def test_a_batch_is_as_large_as_the_free_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    each = bytes_per_token(config("llama"), torch.float32)
    longest = max(len(encode(fresh(), text)) for text in SENTENCES)
    monkeypatch.setattr(memory, "free_bytes", lambda device: each * 4 * longest)
    assert tokens_that_fit(config("llama"), torch.float32, torch.device("cpu"), 10_000) == 2 * longest
    assert max(sizes(fresh())) <= 2 * longest
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1)
    assert len(sizes(fresh())) == len(SENTENCES)
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    assert tokens_that_fit(config("llama"), torch.float32, torch.device("cpu"), 512) == 512


def test_a_token_takes_half_as_much_in_half_the_precision() -> None:
    assert bytes_per_token(config("gpt2"), torch.float32) == 2 * bytes_per_token(config("gpt2"), torch.bfloat16) > 16 * WIDTH * 2


FAULTS = """
import resource, sys, torch
from fixtures.memory import keep_freed_memory
torch.set_num_threads(1)
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(16_000_000)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> tuple[str, int]:
    """What a process says of keeping memory, and how many pages twenty blocks of 64 MB cost it, one after another."""
    words = [sys.executable, "-c", FAULTS, how]
    kept, pages = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    ).stdout.split()
    return kept, int(pages)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_used_again_and_a_users_own_setting_stands() -> None:
    known, plain = faults("kept"), faults("plain")
    assert known[0] == "True"
    assert known[1] < plain[1] / 2
    assert faults("kept", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
