"""The logit lens: from a direction, through the norm and the head, to whole words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fixtures.continuations import continuations
from fixtures.lens import final_gain, lens_logits, top_words
from tests.odd import prefixed
from tests.tiny import ARCHITECTURES, ONE_PLUS, SEVERAL, SINGLE, build, directions, final_norm, tiny

PROMPT = "The boy sat down and felt"
WORDS = (*SINGLE, *SEVERAL)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_final_gain_is_that_of_the_norm_before_the_head(architecture: str) -> None:
    subject = build(architecture)
    norm = final_norm(subject)
    drawn = torch.rand(subject.width, generator=torch.Generator().manual_seed(1)) + 0.5
    norm.weight.copy_(drawn)
    if getattr(norm, "bias", None) is not None:
        norm.bias.fill_(3.0)
    torch.testing.assert_close(final_gain(subject), drawn + (architecture in ONE_PLUS), rtol=1e-4, atol=1e-5)


def test_a_model_without_a_final_norm_has_a_gain_of_one() -> None:
    subject = build("opt", do_layer_norm_before=False)
    assert subject.model.get_decoder().final_layer_norm is None
    assert torch.equal(final_gain(subject), torch.ones(subject.width))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_planted_unembedding_row_ranks_its_word_first_and_its_negative_last(architecture: str) -> None:
    subject = tiny(architecture)
    rows = subject.model.get_output_embeddings().weight
    for word in SINGLE:
        for (token,) in continuations(subject, PROMPT, [word]).words[0]:
            planted = (rows[token] / final_gain(subject)).numpy()
            scores = lens_logits(subject, np.stack([planted, -planted]), WORDS)
            assert scores.shape == (2, len(WORDS))
            assert top_words(scores[0], WORDS)[0][0] == word
            np.testing.assert_allclose(scores[0, WORDS.index(word)], float(rows[token] @ rows[token]), rtol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_a_word_of_several_tokens_scores_the_mean_of_its_best_variant(architecture: str) -> None:
    subject, vectors = tiny(architecture), directions(3)
    logit = (vectors * final_gain(subject)) @ subject.model.get_output_embeddings().weight.T
    expected = [
        torch.stack([logit[:, list(ids)].mean(1) for ids in variants]).amax(0) for variants in continuations(subject, PROMPT, WORDS).words
    ]
    np.testing.assert_allclose(lens_logits(subject, vectors.numpy(), WORDS), torch.stack(expected, dim=1), rtol=1e-4, atol=1e-5)


def test_the_lens_scores_a_word_and_not_the_blank_that_a_tokenizer_puts_before_every_text() -> None:
    subject = replace(tiny("llama"), tokenizer=prefixed())
    rows = subject.model.get_output_embeddings().weight
    own = subject.tokenizer.convert_tokens_to_ids("\u2581glad")
    planted = (rows[own] / final_gain(subject)).numpy()
    found = lens_logits(subject, planted[None], ["glad"])
    np.testing.assert_allclose(found, [[float(rows[own] @ rows[own])]], rtol=1e-4)


def test_the_lens_looks_through_the_projection_before_the_head() -> None:
    subject = build("opt", word_embed_proj_dim=16)
    rows, outward = subject.model.get_output_embeddings().weight, subject.model.get_decoder().project_out.weight
    (token,) = continuations(subject, PROMPT, SINGLE).words[0][0]
    planted = (torch.linalg.pinv(outward) @ rows[token] / final_gain(subject)).numpy()
    assert top_words(lens_logits(subject, planted[None], WORDS)[0], WORDS)[0][0] == SINGLE[0]


def test_top_words_are_the_highest_first_and_the_lowest_first() -> None:
    assert top_words(np.array([0.1, 3.0, -2.0, 1.0]), ["a", "b", "c", "d"], 2) == (["b", "d"], ["c", "a"])
