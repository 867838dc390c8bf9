from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from fixtures.activations import ContextError, capture, embeddings, extent, pooling_weights, residual_norms, skipped
from fixtures.models import Subject, encode, special_ids
from tests.tiny import (
    ARCHITECTURES,
    CONTEXT,
    LAYERS,
    SENTENCES,
    SPECIAL,
    VOCABULARY,
    WIDTH,
    as_subject,
    build,
    final_norm,
    stated,
    streams,
    tiny,
    tokenizer,
    tokens,
)

RANDOM_TEXTS = st.lists(st.lists(st.integers(len(SPECIAL), VOCABULARY - 1), min_size=1, max_size=CONTEXT // 2), min_size=1, max_size=6)


def one_at_a_time(subject: Subject, texts: list[list[int]]) -> np.ndarray:
    """Return the mean streams of token ids from forward passes over each alone, without capture or mask."""
    rows = []
    for ids in texts:
        skip = len(ids) // 4
        rows.append([stream[0, skip:].float().mean(0).numpy() for stream in streams(subject, torch.tensor([ids]))])
    return np.array(rows)


@pytest.mark.parametrize("pad", [VOCABULARY, VOCABULARY + 7])
def test_a_padding_token_without_an_embedding_is_never_looked_up(pad: int) -> None:
    """A fine-tune may add [PAD] to its tokenizer and leave the model's embeddings as they were."""
    subject = build("llama")
    texts = [encode(subject, text) for text in SENTENCES[:3]]
    assert len(set(map(len, texts))) > 1
    expected = capture(subject, texts, batch_size=1).values
    words = deepcopy(subject.tokenizer)
    words.add_tokens([f"<filler {i}>" for i in range(pad - len(words))])
    words.add_special_tokens({"pad_token": "[PAD]"})
    assert words.pad_token_id == pad
    found = capture(replace(subject, tokenizer=words), texts, batch_size=3).values
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_means_equal_those_of_hidden_states_at_every_block_but_the_last(architecture: str) -> None:
    subject, ids = tiny(architecture), tokens(3, 17)
    found = capture(subject, ids.tolist())
    for layer in range(LAYERS - 1):
        np.testing.assert_allclose(found.at(layer), stated(subject, ids)[layer + 1][:, 4:].mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_last_block_is_captured_before_the_final_norm(architecture: str) -> None:
    subject, ids = tiny(architecture), tokens(1, 6)
    each = capture(subject, [ids[0].tolist()] * 6, pooling="span", spans=[(t, t + 1) for t in range(6)]).at(LAYERS - 1)
    normed = stated(subject, ids)[-1][0]
    with torch.inference_mode():
        torch.testing.assert_close(final_norm(subject)(torch.from_numpy(each)), normed, rtol=1e-3, atol=1e-4)
    assert np.abs(each - normed.numpy()).max() > 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_neither_batch_size_nor_order_nor_company_matters(architecture: str, batch_size: int | None) -> None:
    subject = tiny(architecture)
    texts = [tokens(1, n, seed=n)[0].tolist() for n in (5, 23, 1, 12, 12, 30, 2)]
    expected = one_at_a_time(subject, texts)
    order = [3, 0, 6, 2, 5, 1, 4]
    shuffled = capture(subject, [texts[i] for i in order], batch_size=batch_size).values
    np.testing.assert_allclose(shuffled, expected[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "bloom", "gemma3", "mixtral"])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(texts=RANDOM_TEXTS)
def test_padding_is_never_seen(architecture: str, texts: list[list[int]]) -> None:
    subject = tiny(architecture)
    np.testing.assert_allclose(capture(subject, texts).values, one_at_a_time(subject, texts), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_own_padding_does_not_matter(side: str) -> None:
    subject = build("gpt2")
    expected = capture(subject, SENTENCES).values
    subject.tokenizer.padding_side, before = side, subject.tokenizer.padding_side
    subject.tokenizer.pad_token = None
    try:
        np.testing.assert_allclose(capture(subject, SENTENCES).values, expected, rtol=1e-5, atol=1e-5)
    finally:
        subject.tokenizer.padding_side, subject.tokenizer.pad_token = before, SPECIAL["pad_token"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(ids=st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_a_quarter_is_skipped_or_all_leading_special_tokens_but_never_everything(ids: list[int]) -> None:
    special = [0, 1]
    skip, n = skipped(ids, special), extent(ids, special)
    assert 0 <= skip < n <= len(ids)
    assert n == len(ids) or (set(ids[n:]) <= set(special) and ids[n - 1] not in special)
    assert skip >= n // 4
    assert skip == n - 1 or ids[skip] not in special or skip == n // 4
    weights = pooling_weights(ids, special, "mean", None)
    assert np.flatnonzero(weights).tolist() == list(range(skip, n))
    assert weights.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        *[([5], 0), ([5, 6], 0), ([5] * 4, 1), ([5] * 40, 10), ([1, 5], 1), ([1, 1, 1, 5, 6], 3), ([1], 0), ([1, 1], 1)],
        *[([5, 1], 0), ([1, 5, 1], 1), ([5] * 8 + [1] * 4, 2), ([5] * 7 + [1], 1)],
    ],
)
def test_short_passages_keep_at_least_one_token(ids: list[int], expected: int) -> None:
    assert skipped(ids, [0, 1]) == expected


@pytest.mark.parametrize(
    ("ids", "mean", "last", "end"),
    [
        ([1, 5, 6, 2], [0, 0.5, 0.5, 0], 2, 3),
        ([1, 5, 2, 6, 2, 2], [0, 1 / 3, 1 / 3, 1 / 3, 0, 0], 3, 5),
        ([5, 6, 7, 8], [0, 1 / 3, 1 / 3, 1 / 3], 3, 3),
        ([5, 2], [1, 0], 0, 1),
        ([1, 2], [0, 1], 1, 1),
        ([2], [1], 0, 0),
    ],
)
def test_trailing_special_tokens_are_read_only_where_a_text_has_no_others_or_its_very_end_is_asked_for(
    ids: list[int], mean: list[float], last: int, end: int
) -> None:
    assert pooling_weights(ids, [1, 2], "mean", None) == pytest.approx(mean)
    assert np.flatnonzero(pooling_weights(ids, [1, 2], "last", None)).tolist() == [last]
    assert np.flatnonzero(pooling_weights(ids, [1, 2], "end", None)).tolist() == [end]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_text_reads_the_same_whether_or_not_its_tokenizer_appends_an_end(pooling: str) -> None:
    plain, ending = tiny("llama"), deepcopy(tokenizer())
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    ends = replace(plain, tokenizer=ending)
    assert all(encode(ends, text) == [*encode(plain, text), 2] for text in SENTENCES)
    found, expected = (capture(subject, SENTENCES, pooling=pooling).values for subject in (ends, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(embeddings(ends, SENTENCES, pooling), embeddings(plain, SENTENCES, pooling), rtol=1e-5)


def test_the_skip_counts_a_texts_own_tokens_whatever_it_is_padded_to() -> None:
    subject, short = tiny("llama"), tokens(1, 8)
    found = capture(subject, [short[0].tolist(), tokens(1, 60)[0].tolist()], batch_size=2).values[0]
    direct = [stream[0] for stream in streams(subject, short)]
    np.testing.assert_allclose(found, torch.stack([stream[2:].mean(0) for stream in direct]), rtol=1e-4, atol=1e-5)


def test_a_leading_special_token_is_left_out_of_the_mean_and_of_the_norms() -> None:
    subject = as_subject(build("llama").model, bos=True)
    ids = encode(subject, "glad")
    assert ids[0] == 1
    assert set(special_ids(subject)) == {0, 1, 2, 3}
    each = [stream[0, 1:] for stream in streams(subject, torch.tensor([ids]))]
    np.testing.assert_allclose(capture(subject, ["glad"]).values[0], torch.stack([s.mean(0) for s in each]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(residual_norms(subject, ["glad"]), [s.norm(dim=-1).median() for s in each], rtol=1e-4)


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="no mean"):
        capture(tiny("llama"), ["She felt glad.", ""])


@pytest.mark.parametrize(("pooling", "span"), [("median", None), ("span", None), ("span", (2, 2)), ("span", (0, 9)), ("span", (-1, 2))])
def test_a_pooling_that_would_read_nothing_is_refused(pooling: str, span: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError, match="accepted: mean, last, end, or span"):
        pooling_weights([5, 6, 7], [], pooling, span)


def test_last_and_span_read_the_tokens_they_name() -> None:
    subject, texts = tiny("qwen2"), [tokens(1, 9)[0].tolist(), tokens(1, 4, seed=1)[0].tolist()]
    direct = [streams(subject, torch.tensor([ids]))[1][0] for ids in texts]
    last = capture(subject, texts, layers=[1], pooling="last").at(1)
    np.testing.assert_allclose(last, torch.stack([d[-1] for d in direct]), rtol=1e-4, atol=1e-5)
    spans = [(2, 5), (0, 2)]
    some = capture(subject, texts, layers=[1], pooling="span", spans=spans).at(1)
    np.testing.assert_allclose(some, torch.stack([d[a:b].mean(0) for d, (a, b) in zip(direct, spans, strict=True)]), rtol=1e-4, atol=1e-5)


def test_chosen_layers_come_in_the_order_asked_for() -> None:
    subject, texts = tiny("llama"), tokens(2, 9).tolist()
    every, some = capture(subject, texts), capture(subject, texts, layers=[2, 0])
    assert some.values.shape == (2, 2, WIDTH)
    assert every.values.dtype == np.float32
    for layer in (0, 2):
        np.testing.assert_array_equal(some.at(layer), every.at(layer))


def test_sums_over_a_bfloat16_model_are_float32() -> None:
    subject, ids = build("llama", dtype=torch.bfloat16), tokens(1, CONTEXT)
    found = capture(subject, ids.tolist()).values[0]
    each = [stream[0, CONTEXT // 4 :] for stream in streams(subject, ids)]
    assert each[0].dtype is torch.bfloat16
    exact = torch.stack([stream.double().mean(0) for stream in each]).numpy()
    coarse = torch.stack([stream.mean(0).double() for stream in each]).numpy()
    assert np.abs(found - exact).max() < 1e-5 < np.abs(coarse - exact).max()


def test_residual_norms_are_medians_over_tokens_other_than_the_first() -> None:
    subject, lengths = tiny("gpt2"), []
    for text in SENTENCES:
        lengths.append([stream[0, 1:].norm(dim=-1) for stream in streams(subject, torch.tensor([encode(subject, text)]))])
    expected = [torch.cat(rows).median() for rows in zip(*lengths, strict=True)]
    for batch_size in (1, 4):
        np.testing.assert_allclose(residual_norms(subject, SENTENCES, batch_size=batch_size), expected, rtol=1e-4)


def test_embeddings_pool_the_same_tokens_without_context() -> None:
    subject = tiny("llama")
    ids = encode(subject, SENTENCES[0])
    expected = subject.model.get_input_embeddings().weight[torch.tensor(ids[len(ids) // 4 :])].mean(0)
    np.testing.assert_allclose(embeddings(subject, SENTENCES[:1])[0], expected, rtol=1e-4, atol=1e-6)


def test_a_passage_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ContextError, match=f"{CONTEXT + 1} tokens and the context of llama holds {CONTEXT}"):
        capture(tiny("llama"), tokens(1, CONTEXT + 1).tolist())


def test_no_hook_is_left_behind_even_by_a_pass_that_fails() -> None:
    subject = build("llama")
    with pytest.raises(IndexError):
        capture(subject, [[5, VOCABULARY + 1]])
    assert all(not block._forward_hooks for block in subject.blocks)


def test_progress_hears_of_every_token_once() -> None:
    heard: list[int] = []
    capture(tiny("llama"), [[5] * n for n in (3, 7, 11)], batch_size=2, progress=heard.append)
    assert sum(heard) == 21


def test_the_output_head_never_runs() -> None:
    subject = replace(build("llama"))
    subject.model.lm_head.register_forward_hook(lambda *_: pytest.fail("the output head ran"))
    capture(subject, SENTENCES[:1])


def test_texts_that_come_out_alike_run_once_and_differ_in_nothing() -> None:
    subject, heard = tiny("llama"), list[int]()
    rows = [[5] * 7, [6, 7, 8], [5] * 7, [5] * 7, [6, 7, 8, 9]]
    found = capture(subject, rows, batch_size=1, progress=heard.append).values
    assert sum(heard) == 7 + 3 + 4
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[0], found[3])
    for row, values in zip(rows, found, strict=True):
        np.testing.assert_allclose(values, capture(subject, [row]).values[0], atol=1e-5)
    # alike to the token, and read elsewhere
    spans = [(0, 2), (0, 3), (1, 5), (0, 2), (0, 4)]
    apart = capture(subject, rows, pooling="span", spans=spans).values
    assert np.array_equal(apart[0], apart[3])
    assert not np.allclose(apart[0], apart[2])
