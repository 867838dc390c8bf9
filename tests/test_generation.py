"""Generation under steering and reading it back, against greedy generation and one plain pass per row without a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import MptConfig, MptForCausalLM

from fixtures import generation
from fixtures.activations import recording
from fixtures.generation import (
    WAYS,
    Scored,
    Written,
    exact_way,
    gumbel,
    plain_ids,
    read,
    spoken,
    widened,
    write,
)
from fixtures.models import Subject, special_ids
from fixtures.steering import steer
from fixtures.verdicts import NotApplicable
from tests.tiny import (
    ARCHITECTURES,
    LAYERS,
    VOCABULARY,
    WIDENS,
    WIDTH,
    as_subject,
    build,
    directions,
    lively,
    logits,
    pushed,
    tiny,
)
from tests.writing import FRAME, ROWS, TOKENS, WORDS, ids_of, noise, written


def slowly(subject: Subject, layer: int, vector: Tensor, told: Tensor) -> tuple[list[int], list[float]]:
    """Return one row's tokens and entropies, every token from a whole pass with the vector pushed and without a cache."""
    ids, entropies = ids_of(subject), []
    start = len(ids)
    with pushed(subject, layer, vector):
        for step in told:
            steps = torch.log_softmax(logits(subject, torch.tensor([ids]))[0, -1].double(), dim=-1)
            entropies.append(float(-(steps.exp() * steps).sum()))
            steps[list(special_ids(subject))] = -torch.inf
            ids = [*ids, int((steps + step).argmax())]
    return ids[start:], entropies


def read_slowly(subject: Subject, row: Sequence[int], words: Sequence[str]) -> tuple[float, list[float]]:
    """Return one row's nats per token and its words' log-probabilities, each from a whole pass without a cache."""
    prompt, frame = ids_of(subject), ids_of(subject, FRAME)

    def told(before: list[int], after: list[int]) -> float:
        steps = torch.log_softmax(logits(subject, torch.tensor([[*before, *after]]))[0].double(), dim=-1)
        return float(sum(steps[len(before) - 1 + i, token] for i, token in enumerate(after)))

    text = [int(token) for token in row]
    return -told(prompt, text) / len(text), [told([*prompt, *text, *frame], ids_of(subject, f" {word}")) for word in words]


def scored(subject: Subject, rows: np.ndarray, way: str = "plain") -> Scored:
    return read(subject, ids_of(subject), rows, ids_of(subject, FRAME), spoken(subject, WORDS), way=way)


def some_rows(count: int = ROWS, tokens: int = TOKENS, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(4, VOCABULARY, size=(count, tokens))


# writing


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", [0, LAYERS - 1])
def test_every_exact_way_writes_what_one_pushed_row_at_a_time_writes_without_a_cache(architecture: str, layer: int) -> None:
    subject, vectors, told = tiny(architecture), 5 * directions(3), noise(4)
    rows = [slowly(subject, layer, vector, told) for vector in vectors]
    for way in WAYS if WIDENS[architecture, layer] else ("plain",):
        found = written(subject, layer, vectors, told, way)
        assert found.ids.tolist() == [ids for ids, _ in rows]
        np.testing.assert_allclose(found.entropy, [entropies for _, entropies in rows], rtol=1e-3, atol=1e-4)
    assert len({tuple(ids) for ids, _ in rows}) > 1  # the vectors matter


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", [0, LAYERS - 2])
def test_rows_that_have_written_the_same_pass_the_lower_blocks_once_and_write_what_a_plain_batch_writes(
    architecture: str, layer: int
) -> None:
    subject, told = tiny(architecture), noise(6) * 4
    vectors = torch.cat([0.02 * directions(4), 5 * directions(3), torch.zeros(2, subject.width)])
    rows: dict[int, list[int]] = {0: [], layer + 1: []}
    way = exact_way(subject, layer)
    with recording(subject, tuple(rows), lambda at, stream: rows[at].append(stream.shape[0])):
        shared = written(subject, layer, vectors, told, way)
    plain = written(subject, layer, vectors, told, "plain")
    assert (shared.ids == plain.ids).all()
    np.testing.assert_allclose(shared.entropy, plain.entropy, rtol=1e-3, atol=1e-4)
    below, above = rows.values()
    if WIDENS[architecture, layer]:
        # after token t there are as many rows below as beginnings of t tokens that differ
        assert below == [1, *(len(np.unique(plain.ids[:, : t + 1], axis=0)) for t in range(len(below) - 1))]
        assert below[-1] < len(vectors)
        assert set(above) == {len(vectors)}
    else:
        assert set(below) == {len(vectors)}


@pytest.mark.parametrize("different", range(1, 7))
def test_as_many_beginnings_as_heads_are_not_taken_for_heads(different: int) -> None:
    # MPT hands every block a bias per head, whose first size is no batch's
    settings_of = {"d_model": WIDTH, "n_heads": 4, "n_layers": LAYERS, "vocab_size": VOCABULARY, "max_seq_len": 64}
    subject = as_subject(lively(MptForCausalLM(MptConfig(**settings_of)), 0))
    told = 30 * noise(6, rows=6)[:, [row % different for row in range(6)]]
    assert exact_way(subject, 0) == "shared"
    shared, plain = (written(subject, 0, directions(6), told, way) for way in WAYS)
    assert (shared.ids == plain.ids).all()
    np.testing.assert_allclose(shared.entropy, plain.entropy, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_rows_that_are_alike_are_read_once(way: str) -> None:
    subject, seen, different = tiny("llama"), [], some_rows(3)
    with recording(subject, (0,), lambda _, stream: seen.append(stream.shape[0])):
        found = scored(subject, different[[2, 0, 2, 2, 1, 0]], way)
    alone = scored(subject, different, way)
    assert max(seen) == 3
    np.testing.assert_array_equal(found.nll, alone.nll[[2, 0, 2, 2, 1, 0]])
    np.testing.assert_array_equal(found.words, alone.words[[2, 0, 2, 2, 1, 0]])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_way_is_exact_where_the_architecture_widens_and_plain_elsewhere(architecture: str) -> None:
    subject = tiny(architecture)
    assert [exact_way(subject, layer) == "shared" for layer in range(LAYERS)] == [WIDENS[architecture, layer] for layer in range(LAYERS)]


@pytest.mark.parametrize("wrong", ["ids", "entropy", "not a number", "refused"])
def test_a_shared_way_that_gives_something_else_is_not_exact(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    true = generation.write

    def other(*arguments: Any, way: str = "plain", **rest: Any) -> Written:
        if way == "shared" and wrong == "refused":
            raise RuntimeError("sizes do not fit")
        found = true(*arguments, way=way, **rest)
        if way == "plain":
            return found
        if wrong == "ids":
            return replace(found, ids=found.ids[::-1])
        return replace(found, entropy=found.entropy * (1.1 if wrong == "entropy" else np.nan))

    assert exact_way(tiny("llama"), 1) == "shared"
    monkeypatch.setattr(generation, "write", other)
    assert exact_way(tiny("llama"), 1) == "plain"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_zero_vectors_and_no_noise_write_what_transformers_generates_greedily(architecture: str) -> None:
    subject, start = tiny(architecture), torch.tensor([ids_of(tiny(architecture))])
    greedy = subject.model.generate(
        start,
        attention_mask=torch.ones_like(start),
        do_sample=False,
        max_new_tokens=TOKENS,
        suppress_tokens=list(special_ids(subject)),
    )[0, start.shape[1] :]
    for way in WAYS if WIDENS[architecture, 0] else ("plain",):
        found = written(subject, 0, torch.zeros(2, WIDTH), torch.zeros(TOKENS, VOCABULARY), way)
        assert found.ids.tolist() == [greedy.tolist()] * 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_nothing_depends_on_how_many_rows_are_in_a_batch(monkeypatch: pytest.MonkeyPatch, way: str, per_row: bool, chunk: int) -> None:
    subject, vectors, told = tiny("qwen3"), directions(7), noise(TOKENS, 7 if per_row else None)
    together = written(subject, 1, vectors, told, way)
    read_together = scored(subject, together.ids, way)
    monkeypatch.setattr(generation, "ROWS", chunk)
    apart = written(subject, 1, vectors, told, way)
    assert (apart.ids == together.ids).all()
    np.testing.assert_allclose(apart.entropy, together.entropy, rtol=1e-4, atol=1e-5)
    read_apart = scored(subject, together.ids, way)
    np.testing.assert_allclose(read_apart.nll, read_together.nll, rtol=1e-5)
    np.testing.assert_allclose(read_apart.words, read_together.words, rtol=1e-5)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(order=st.permutations(range(5)), way=st.sampled_from(WAYS), per_row=st.booleans(), seed=st.integers(0, 50))
def test_the_order_of_rows_is_irrelevant(order: list[int], way: str, per_row: bool, seed: int) -> None:
    subject, vectors = tiny("gemma2"), directions(5, seed)
    told = noise(TOKENS, 5 if per_row else None, seed)
    straight = written(subject, 1, vectors, told, way)
    mixed = written(subject, 1, vectors[order], told[:, order] if per_row else told, way)
    assert (mixed.ids == straight.ids[order]).all()
    before, after = scored(subject, straight.ids, way), scored(subject, mixed.ids, way)
    np.testing.assert_allclose(after.nll, before.nll[order], rtol=1e-5)
    np.testing.assert_allclose(after.words, before.words[order], rtol=1e-5)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(architecture=st.sampled_from(ARCHITECTURES), way=st.sampled_from(WAYS), seed=st.integers(0, 50))
def test_special_tokens_are_never_drawn_even_if_the_noise_asks_for_nothing_else(architecture: str, way: str, seed: int) -> None:
    subject, told = tiny(architecture), noise(TOKENS, seed=seed)
    special = sorted(special_ids(subject))
    told[:, special] += 1e4
    found = written(subject, LAYERS - 1, directions(3, seed), told, way).ids
    assert found.shape == (3, TOKENS)
    assert not np.isin(found, special).any()


def test_a_model_whose_blocks_keep_a_running_state_is_not_applicable_and_says_so() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    settings = transformers.Lfm2Config(vocab_size=VOCABULARY, layer_types=["conv", "full_attention"], **sizes)  # type: ignore[arg-type]
    subject = as_subject(lively(transformers.AutoModelForCausalLM.from_config(settings), 0))
    reason = r"nothing is written with it here: its blocks \(conv\) keep a running state, which rows cannot share"
    with pytest.raises(NotApplicable, match=reason):
        write(subject, ids_of(subject), layer=0, vectors=torch.zeros(ROWS, 32), noise=noise(), tokens=TOKENS)
    with pytest.raises(NotApplicable, match=reason):
        read(subject, ids_of(subject), some_rows(), FRAME, WORDS)


def test_the_noise_decides_the_token_where_it_is_larger_than_any_log_probability() -> None:
    wanted, told = [[7, 9, 11], [20, 21, 22]], torch.zeros(3, 2, VOCABULARY)
    for row, ids in enumerate(wanted):
        for place, token in enumerate(ids):
            told[place, row, token] = 1e4
    assert written(tiny("llama"), 1, directions(2), told).ids.tolist() == wanted


def test_gumbel_noise_makes_samples_of_the_models_own_distribution() -> None:
    subject, count = tiny("gpt2"), 1500
    told = torch.stack([gumbel(subject, 1, (0, k)) for k in range(count)], dim=1)
    drawn = written(subject, 0, torch.zeros(count, WIDTH), told, "shared").ids[:, 0]
    steps = logits(subject, torch.tensor([ids_of(subject)]))[0, -1].double()
    steps[list(special_ids(subject))] = -torch.inf
    expected = torch.softmax(steps, -1).numpy()
    share = np.bincount(drawn, minlength=VOCABULARY) / count
    assert expected.max() < 0.9  # else nothing would be sampled
    assert np.abs(share - expected).max() < 4 * np.sqrt(0.25 / count)
    assert np.abs(share - expected).sum() < 0.25 * np.abs(expected - 1 / VOCABULARY).sum()


def test_gumbel_noise_is_determined_by_its_seed_and_its_first_tokens_do_not_depend_on_how_many_follow() -> None:
    subject = tiny("llama")
    first, same, longer = gumbel(subject, 3, (4, 2)), gumbel(subject, 3, (4, 2)), gumbel(subject, 5, (4, 2))
    assert first.shape == (3, VOCABULARY)
    assert torch.equal(first, same)
    assert torch.equal(longer[:3], first)
    assert not torch.isclose(gumbel(subject, 3, (4, 3)), first).all(dim=1).any()


@pytest.mark.parametrize("way", WAYS)
def test_the_model_is_bit_for_bit_as_before_afterwards(way: str) -> None:
    subject = build("falcon")
    weights = {name: value.clone() for name, value in subject.model.state_dict().items()}
    before = logits(subject, torch.tensor([ids_of(subject)]))
    scored(subject, written(subject, way=way).ids, way)
    exact_way(subject, 1)
    assert all(torch.equal(value, weights[name]) for name, value in subject.model.state_dict().items())
    assert torch.equal(logits(subject, torch.tensor([ids_of(subject)])), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())


def test_progress_counts_every_token_that_is_written() -> None:
    told: list[int] = []
    write(tiny("llama"), ids_of(tiny("llama")), layer=1, vectors=directions(3), noise=noise(5), progress=told.append)
    assert sum(told) == 3 * 5


def test_a_cache_of_one_prompt_is_widened_and_one_that_holds_all_rows_stays() -> None:
    subject = tiny("llama")
    cache = generation.DynamicCache()
    with torch.inference_mode(), steer(subject, 1, directions(3), widen=True):
        subject.model(input_ids=torch.tensor([ids_of(subject)]), past_key_values=cache, use_cache=True)
    keys = [layer.keys.clone() for layer in cache.layers]
    assert [len(k) for k in keys] == [1, 1, 3]
    widened(cache, 3)
    for layer, before in zip(cache.layers, keys, strict=True):
        assert torch.equal(layer.keys, before.expand(3, -1, -1, -1))
        assert layer.keys.shape == layer.values.shape


def test_a_special_token_that_the_tokenizer_added_beyond_the_models_vocabulary_is_no_obstacle() -> None:
    subject = build("llama", vocab_size=VOCABULARY)
    added = replace(subject, tokenizer=WithSpecial(subject.tokenizer, (*special_ids(subject), VOCABULARY)))
    assert (written(added).ids == written(subject).ids).all()


class WithSpecial:
    """A tokenizer with other special tokens."""

    def __init__(self, tokenizer: Any, special: tuple[int, ...]) -> None:
        self.tokenizer, self.all_special_ids = tokenizer, list(special)

    def __call__(self, text: str) -> Any:
        return self.tokenizer(text)


# reading


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("way", WAYS)
def test_reading_gives_what_one_row_at_a_time_gives_without_a_cache(architecture: str, way: str) -> None:
    subject, rows = tiny(architecture), some_rows(3)
    found = scored(subject, rows, way)
    plain = [read_slowly(subject, row, WORDS) for row in rows]
    assert found.words.shape == (3, len(WORDS))
    np.testing.assert_allclose(found.nll, [nll for nll, _ in plain], rtol=1e-4)
    np.testing.assert_allclose(found.words, [words for _, words in plain], rtol=1e-4)


def test_the_words_of_these_tests_have_one_token_and_several() -> None:
    assert sorted({len(ids) for (ids,) in spoken(tiny("llama"), WORDS).words}) == [1, 3, 5]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("rows", "tokens"), [(1, 1), (1, 5), (2, 1)])
def test_a_single_row_and_a_single_token_are_read_as_well(way: str, rows: int, tokens: int) -> None:
    subject, ids = tiny("mistral"), some_rows(rows, tokens)
    found = scored(subject, ids, way)
    plain = [read_slowly(subject, row, WORDS) for row in ids]
    np.testing.assert_allclose(found.nll, [nll for nll, _ in plain], rtol=1e-4)
    np.testing.assert_allclose(found.words, [words for _, words in plain], rtol=1e-4)


def test_a_word_scores_the_same_whichever_words_are_read_with_it() -> None:
    subject, rows = tiny("llama"), some_rows()
    prompt, frame = ids_of(subject), ids_of(subject, FRAME)
    together = scored(subject, rows).words
    for place, word in enumerate(WORDS):
        alone = read(subject, prompt, rows, frame, spoken(subject, [word])).words[:, 0]
        np.testing.assert_allclose(alone, together[:, place], rtol=1e-5)


def test_the_model_finds_its_own_greedy_text_likelier_than_random_tokens() -> None:
    subject = tiny("llama")
    greedy = written(subject, 1, torch.zeros(1, WIDTH), torch.zeros(TOKENS, VOCABULARY)).ids
    nll = scored(subject, np.concatenate([greedy, some_rows(20)])).nll
    assert nll[0] < nll[1:].min()


def test_a_prompt_ends_without_special_tokens_and_begins_with_those_of_its_tokenizer() -> None:
    subject = build("llama", bos=True)

    def ended(text: str) -> dict[str, list[int]]:
        return {"input_ids": [*subject.tokenizer(text)["input_ids"], 2, 0]}

    ids = plain_ids(subject, "The dog")
    assert ids[0] == 1
    assert len(ids) > 1
    tokenizer = type("Ended", (), {"all_special_ids": subject.tokenizer.all_special_ids, "__call__": lambda _, text: ended(text)})()
    assert plain_ids(replace(subject, tokenizer=tokenizer), "The dog") == ids
    assert plain_ids(replace(subject, tokenizer=tokenizer), "") == []


def test_spoken_words_follow_a_space_and_carry_no_special_tokens() -> None:
    plain, with_bos = spoken(tiny("llama"), WORDS), spoken(build("llama", bos=True), WORDS)
    assert plain == with_bos
    assert [tiny("llama").tokenizer.decode(ids) for (ids,) in plain.words] == [f" {word}" for word in WORDS]


def test_a_word_that_the_tokenizer_cannot_write_is_refused_rather_than_certain() -> None:
    class Unknown:
        all_special_ids = (3,)

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [3]}

    with pytest.raises(ValueError, match="lonesome"):
        spoken(replace(tiny("llama"), tokenizer=Unknown()), ["lonesome"])
