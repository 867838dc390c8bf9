from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fixtures import scoring
from fixtures.activations import ContextError
from fixtures.blocks import hidden
from fixtures.continuations import Continuations, continuations
from fixtures.models import Subject
from fixtures.scoring import WAYS, fastest_way, frame_logprobs, word_logprobs
from tests.tiny import (
    ARCHITECTURES,
    LAYERS,
    SEVERAL,
    SINGLE,
    WIDENS,
    as_subject,
    build,
    config,
    directions,
    logits,
    pushed,
    tiny,
)

PROMPT = "The boy sat down and felt"
LONG = "The boy was afraid of the dog and the old man sat down and felt"
"""A prompt of more tokens than the sliding windows of the tiny models."""
WORDS = (*SINGLE, *SEVERAL)


def teacher_forced(subject: Subject, prompt: str, word: str) -> float:
    """Return log P(word | prompt) from one full pass over each whole variant, in float64."""
    start, total = len(subject.tokenizer(prompt)["input_ids"]), 0.0
    for variant in (f" {word}", f" {word.capitalize()}"):
        ids = subject.tokenizer(prompt + variant)["input_ids"]
        steps = torch.log_softmax(logits(subject, torch.tensor([ids])).double(), -1)[0]
        total += float(torch.exp(sum(steps[t - 1, ids[t]] for t in range(start, len(ids)))))
    return float(np.log(total))


def probabilities_of(subject: Subject, prefix: str) -> Tensor:
    return torch.softmax(logits(subject, torch.tensor([subject.tokenizer(prefix)["input_ids"]])).double()[0, -1], -1)


def test_the_words_of_these_tests_have_the_token_counts_they_are_meant_to_have() -> None:
    plan = continuations(tiny("llama"), PROMPT, WORDS)
    counts = [[len(ids) for ids in variants] for variants in plan.words]
    assert counts[0] == [1, 1]
    assert counts[1][0] == 1 < counts[1][1]
    assert all(min(some) > 1 for some in counts[2:])
    assert len(continuations(tiny("llama"), LONG, SINGLE).prompt) > 2 * config("mistral").sliding_window


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_word_scores_the_sum_over_variants_of_the_product_over_all_tokens(architecture: str) -> None:
    subject = tiny(architecture)
    found = word_logprobs(subject, PROMPT, WORDS)
    assert found.shape == (1, len(WORDS))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], [teacher_forced(subject, PROMPT, word) for word in WORDS], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", range(LAYERS))
def test_steered_words_score_what_each_vector_pushed_alone_gives_in_every_way_that_is_exact(architecture: str, layer: int) -> None:
    subject, vectors = tiny(architecture), directions(3)
    expected = []
    for vector in vectors:
        with pushed(subject, layer, vector):
            expected.append([teacher_forced(subject, LONG, word) for word in WORDS])
    assert fastest_way(subject, layer) == ("grouped" if WIDENS[architecture, layer] else "plain")
    for way in (None, *WAYS) if WIDENS[architecture, layer] else (None, "plain"):
        found = word_logprobs(subject, LONG, WORDS, layer=layer, vectors=vectors, way=way)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 0.01


def test_continuations_of_one_length_are_one_pass_and_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, vectors, passes = tiny("llama"), directions(3), []
    plan = continuations(subject, PROMPT, WORDS)
    lengths = [len(leaf) for leaf in plan.leaves()]
    handle = subject.blocks[0].register_forward_hook(lambda _m, _a, out: passes.append(tuple(hidden(out).shape[:2])))
    found = word_logprobs(subject, PROMPT, WORDS, layer=1, vectors=vectors, way="grouped")
    handle.remove()
    assert passes == [(1, len(plan.prompt)), *((lengths.count(n), n) for n in sorted(set(lengths)))]
    assert max(rows for rows, _ in passes) > 1
    # a pass keeps so many logits and copies the keys of so many tokens
    for name, limit in (("LOGITS", 3 * max(lengths) * subject.model.config.vocab_size), ("KEPT", 3 * (len(plan.prompt) + 1))):
        with monkeypatch.context() as patch:
            patch.setattr(scoring, name, limit)
            groups = list(scoring.grouped(plan, 3, subject))
            assert [leaf for group in groups for leaf in group] == plan.leaves()
            assert all(len({len(leaf) for leaf in group}) == 1 for group in groups)
            assert len(groups) > len(set(lengths))
            np.testing.assert_allclose(word_logprobs(subject, PROMPT, WORDS, layer=1, vectors=vectors, way="grouped"), found, atol=1e-4)


def test_the_tokens_that_a_mask_spares_are_spared_in_every_way() -> None:
    subject, vectors = tiny("llama"), directions(3)
    plan = continuations(subject, PROMPT, WORDS)
    mask = torch.tensor([float(i % 2) for i in range(len(plan.prompt))])
    plain, *others = (scoring.plan_logprobs(subject, plan, layer=1, vectors=vectors, way=way, mask=mask) for way in WAYS[::-1])
    for found in others:
        np.testing.assert_allclose(found, plain, atol=1e-4)
    everywhere = scoring.plan_logprobs(subject, plan, layer=1, vectors=vectors, way="grouped")
    assert np.abs(everywhere - plain).max() > 0.01


STARTS = (
    "The boy sat down and felt",
    "The boy sat down",
    "The boy was afraid",
    "The boy sat down and felt",
    "A girl",
    "The boy sat down and",
)


def halves(subject: Subject) -> list[Tensor | None]:
    """Return masks for STARTS that differ where texts are alike: all, then the second half, then the first token."""
    lengths = [len(continuations(subject, start, SINGLE).prompt) for start in STARTS]
    kinds = (lambda n: None, lambda n: (torch.arange(n) >= n // 2).float(), lambda n: (torch.arange(n) == 0).float())
    return [kinds[i % 3](n) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("masked", [False, True])
def test_prompts_that_begin_alike_score_together_what_they_score_alone(architecture: str, masked: bool) -> None:
    subject, vectors = tiny(architecture), directions(3)
    plans = [continuations(subject, start, (*WORDS, "old")[i % 3 :]) for i, start in enumerate([LONG, *STARTS])]
    masks = [None, *(halves(subject) if masked else [None] * len(STARTS))]
    found = scoring.plans_logprobs(subject, plans, layer=1, vectors=vectors, masks=masks)
    for each, plan, mask in zip(found, plans, masks, strict=True):
        expected = scoring.plan_logprobs(subject, plan, layer=1, vectors=vectors, mask=mask, way="plain")
        np.testing.assert_allclose(each, expected, rtol=1e-5, atol=1e-4)


def runs(subject: Subject, plans: list[Continuations], masks: list[Tensor | None]) -> int:
    """Return how many tokens of prompts go through the first block; the words have one token each."""
    passes: list[int] = []
    handle = subject.blocks[0].register_forward_hook(lambda _m, _a, out: passes.append(hidden(out).shape[1]))
    scoring.plans_logprobs(subject, plans, layer=1, vectors=directions(2), way="grouped", masks=masks)
    handle.remove()
    return sum(passes)


def test_what_prompts_begin_with_alike_and_steered_alike_runs_once() -> None:
    subject = tiny("llama")
    plans = [continuations(subject, start, SINGLE[:1]) for start in STARTS]
    prompts = [plan.prompt for plan in plans]
    for masks in ([None] * len(plans), halves(subject)):
        rows = [scoring.steered_prompt(plan, mask) for plan, mask in zip(plans, masks, strict=True)]
        beginnings = {row[: k + 1] for row in rows for k in range(len(row))}
        # a prompt that is another's beginning, or comes again, still has its last token run for the logits after it
        again = len(rows) - len({*rows}) + sum(any(row != other and other[: len(row)] == row for other in rows) for row in {*rows})
        assert len(beginnings) <= runs(subject, plans, masks) <= len(beginnings) + again
    assert runs(subject, plans, [None] * len(plans)) < runs(subject, plans, halves(subject)) < sum(map(len, prompts))


def test_the_progress_of_prompts_counts_what_is_run() -> None:
    subject, counted = tiny("llama"), []
    plans = [continuations(subject, start, SINGLE[:1]) for start in STARTS]
    scoring.plans_logprobs(
        subject, plans, layer=1, vectors=directions(2), masks=[None] * len(plans), way="grouped", progress=counted.append
    )
    assert sum(counted) == 2 * runs(subject, plans, [None] * len(plans))


def test_one_plan_that_is_too_long_for_the_context_raises_before_any_is_run() -> None:
    subject = tiny("llama")
    plans = [continuations(subject, start, SINGLE) for start in (LONG, " ".join([LONG] * 9))]
    handle = subject.blocks[0].register_forward_hook(lambda *_: pytest.fail("a prompt was run"))
    with pytest.raises(ContextError, match=f"the context of llama holds {subject.context}"):
        scoring.plans_logprobs(subject, plans, layer=1, vectors=directions(2), masks=[None, None], way="grouped")
    handle.remove()


def test_no_fast_way_is_taken_where_the_result_depends_on_the_number_of_rows() -> None:
    subject = build("llama")
    assert fastest_way(subject, 1) == "grouped"
    subject.blocks[0].register_forward_hook(lambda _m, _a, out: out + 1 if len(out) == 1 else out)
    assert fastest_way(subject, 1) == "plain"


def test_a_zero_vector_scores_what_no_vector_scores() -> None:
    subject = tiny("qwen2")
    plain = word_logprobs(subject, PROMPT, WORDS)
    np.testing.assert_allclose(word_logprobs(subject, PROMPT, WORDS, layer=0, vectors=torch.zeros(1, subject.width)), plain, atol=1e-5)


def test_a_word_of_one_token_scores_the_next_token_and_one_of_several_never_its_first_piece_alone() -> None:
    subject = tiny("gpt2")
    odds = probabilities_of(subject, PROMPT)
    (glad, Glad), (_, angry) = (continuations(subject, PROMPT, [w]).words[0] for w in ("glad", "angry"))
    found = word_logprobs(subject, PROMPT, ["glad", "angry"])[0]
    assert found[0] == pytest.approx(float(torch.log(odds[glad[0]] + odds[Glad[0]])), abs=1e-5)
    assert found[1] < float(torch.log(odds[angry[0]])) - 1


def test_neither_the_company_of_words_nor_the_size_of_batches_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, vectors = tiny("llama"), directions(5)
    plain = word_logprobs(subject, PROMPT, WORDS)
    moved = word_logprobs(subject, PROMPT, WORDS, layer=1, vectors=vectors)
    alone = np.concatenate([word_logprobs(subject, PROMPT, [w], layer=1, vectors=vectors) for w in reversed(WORDS)], axis=1)
    np.testing.assert_allclose(alone[:, ::-1], moved, atol=1e-4)
    monkeypatch.setattr(scoring, "CHUNK", 2)
    monkeypatch.setattr(scoring, "LEAVES", 1)
    np.testing.assert_allclose(word_logprobs(subject, PROMPT, WORDS), plain, atol=1e-4)
    np.testing.assert_allclose(word_logprobs(subject, PROMPT, WORDS, layer=1, vectors=vectors), moved, atol=1e-4)


def test_a_special_token_before_the_prompt_is_kept_and_never_scored() -> None:
    subject = as_subject(tiny("llama").model, bos=True)
    plan = continuations(subject, PROMPT, WORDS)
    assert plan.prompt[0] == 1
    assert all(1 not in ids for variants in plan.words for ids in variants)
    np.testing.assert_allclose(word_logprobs(subject, PROMPT, WORDS)[0], [teacher_forced(subject, PROMPT, w) for w in WORDS], atol=1e-4)


def test_frames_are_scored_one_by_one() -> None:
    subject, frames, vectors = tiny("llama"), [PROMPT, "She was"], directions(2)
    found = frame_logprobs(subject, frames, WORDS, layer=1, vectors=vectors)
    np.testing.assert_array_equal(found, [word_logprobs(subject, f, WORDS, layer=1, vectors=vectors) for f in frames])
    assert frame_logprobs(subject, frames, WORDS).shape == (2, 1, len(WORDS))


def test_progress_hears_of_the_tokens_of_every_row() -> None:
    subject, heard = tiny("llama"), []
    length = len(subject.tokenizer(PROMPT)["input_ids"])
    word_logprobs(subject, PROMPT, SINGLE, layer=LAYERS - 1, vectors=directions(3), progress=heard.append)
    assert sum(heard) == 3 * length
