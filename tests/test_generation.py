"""Generation under steering and reading it back, against greedy generation and one plain pass per row without a cache."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
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
    distinct,
    exact_way,
    gumbel,
    gumbel_rows,
    looped,
    plain_ids,
    read,
    reply_ends,
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
    tokenizer,
)

PROMPT = "The boy was afraid of the dog and sat down"
"""A prompt of more tokens than the sliding windows of the tiny models."""

FRAME = " and he felt"
WORDS = ("glad", "felt", "angry", "lonesome")
"""Words of one token and of several."""

ROWS, TOKENS = 4, 6


def ids_of(subject: Subject, text: str = PROMPT) -> list[int]:
    return plain_ids(subject, text)


def noise(tokens: int = TOKENS, rows: int | None = None, seed: int = 1) -> Tensor:
    """Return Gumbel noise, one draw for all rows or one per row."""
    shape = (tokens, VOCABULARY) if rows is None else (tokens, rows, VOCABULARY)
    return torch.from_numpy(np.random.default_rng(seed).gumbel(size=shape).astype(np.float32))


def written(subject: Subject, layer: int = 1, vectors: Tensor | None = None, told: Tensor | None = None, way: str = "plain") -> Written:
    rows = directions(ROWS) if vectors is None else vectors
    return write(subject, ids_of(subject), layer=layer, vectors=rows, noise=noise() if told is None else told, way=way)


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


# replies that end

END, TURN, OTHER = 2, 1, 3
"""Special tokens of the tiny tokenizer: two that end a reply here, and one that does not."""


def ending(places: Sequence[int | None], tokens: int = TOKENS) -> Tensor:
    """Return noise with a draw per row that makes row i end at `places[i]`, by one token or the other, and goes for `OTHER` throughout."""
    told = 3 * noise(tokens, len(places))
    told[..., [END, TURN]] = -1e4
    told[..., OTHER] = 1e4
    for row, place in enumerate(places):
        if place is not None:
            told[place, row, (END, TURN)[row % 2]] = 1e4
    return told


def replied(subject: Subject, told: Tensor, way: str = "plain", **more: Any) -> Written:
    rows = 3 * directions(told.shape[1])
    return write(subject, ids_of(subject), layer=1, vectors=rows, noise=told, way=way, ends=(TURN, END), **more)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3", "bloom"])
def test_a_row_ends_at_its_end_and_writes_until_then_what_a_row_without_an_end_writes(architecture: str) -> None:
    subject, places = tiny(architecture), (3, None, 0, 5, 3)
    told = ending(places)
    never = written(subject, 1, 3 * directions(5), told)
    for way in WAYS if WIDENS[architecture, 1] else ("plain",):
        found = replied(subject, told, way)
        assert found.lengths.tolist() == [TOKENS if place is None else place for place in places]
        for row, (own, length) in enumerate(zip(found.own(), found.lengths, strict=True)):
            assert own.tolist() == never.ids[row, :length].tolist()
            assert not np.isin(own, list(special_ids(subject))).any()
            assert (found.ids[row, length:] == (END, TURN)[row % 2]).all()
            np.testing.assert_allclose(found.entropy[row, : length + 1], never.entropy[row, : length + 1], rtol=1e-3, atol=1e-4)
    assert never.lengths.tolist() == [TOKENS] * 5


@pytest.mark.parametrize("way", WAYS)
def test_rows_that_share_their_beginnings_part_where_one_of_them_ends(way: str) -> None:
    subject, told = tiny("llama"), 30 * noise(TOKENS, 3)[:, [0, 0, 0]]
    told[..., [END, TURN]] = -1e4
    told[2, 1, END] = told[4, 2, TURN] = 1e4
    found = replied(subject, told, way)
    assert found.lengths.tolist() == [TOKENS, 2, 4]
    assert all(own.tolist() == found.ids[0, : len(own)].tolist() for own in found.own())


def test_an_end_is_drawn_as_often_as_the_model_gives_it_and_tokens_that_are_no_end_stay_banned() -> None:
    subject, count = tiny("gpt2"), 1500
    told = torch.stack([gumbel(subject, 1, (0, k)) for k in range(count)], dim=1)
    vectors = torch.zeros(count, WIDTH)
    drawn = write(subject, ids_of(subject), layer=0, vectors=vectors, noise=told, ends=(END,), way="shared").ids[:, 0]
    steps = logits(subject, torch.tensor([ids_of(subject)]))[0, -1].double()
    steps[[i for i in special_ids(subject) if i != END]] = -torch.inf
    expected = torch.softmax(steps, -1).numpy()
    share = np.bincount(drawn, minlength=VOCABULARY) / count
    assert expected[END] > 0
    assert np.abs(share - expected).max() < 4 * np.sqrt(0.25 / count)
    assert set(drawn) & set(special_ids(subject)) <= {END}


def test_writing_ends_once_every_row_has_and_whatever_the_batch_a_row_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, heard, told = tiny("llama"), [], ending((9, 2, 11, 4), tokens=40)
    found = replied(subject, told, progress=heard.append)
    assert found.ids.shape == (4, 16)
    assert sum(heard) == 4 * 16
    monkeypatch.setattr(generation, "ROWS", 2)
    apart = replied(subject, told)
    assert [own.tolist() for own in apart.own()] == [own.tolist() for own in found.own()]
    monkeypatch.setattr(generation, "ROWS", 1)
    assert [own.tolist() for own in replied(subject, told).own()] == [own.tolist() for own in found.own()]


def test_a_row_ends_with_the_text_that_stops_it_or_before_its_end_whichever_comes_first() -> None:
    subject, told = tiny("llama"), ending((4, 4, None, 2), tokens=24)
    letter = subject.tokenizer.convert_tokens_to_ids("q")
    told[..., letter] = -1e4
    for row, place in enumerate((2, 6, 3, None)):
        if place is not None:
            told[place, row, letter] = 1e5
    found = replied(subject, told, stop="q")
    assert found.lengths.tolist() == [3, 4, 4, 2]
    assert found.ids.shape == (4, 8)
    texts = subject.tokenizer.batch_decode(found.own())
    assert ["q" in text for text in texts] == [True, False, True, False]


def test_a_reply_that_ends_at_once_is_empty() -> None:
    subject = tiny("llama")
    found = replied(subject, ending((0, 0)))
    assert found.lengths.tolist() == [0, 0]
    assert subject.tokenizer.batch_decode(found.own()) == ["", ""]


CHAT = "{% for m in messages %}<s>{{ m.content }}{{ END }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "eos", "named", "expected"),
    [
        (None, "</s>", 2, (2,)),
        (None, None, None, ()),
        (None, None, [2, 7], (2, 7)),
        (CHAT.replace("{{ END }}", "<pad>\n</s>"), None, None, (0,)),
        (CHAT.replace("{{ END }}", "\n"), "</s>", None, (2,)),
        ("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}</s>{% endif %}{% endfor %}", None, None, ()),
        ("{{ raise_exception('no turns today') }}", "</s>", [7], (2, 7)),
        (CHAT.replace("{{ END }}", "<pad>"), "</s>", [2, 7], (0, 2, 7)),
    ],
)
def test_a_reply_ends_where_the_tokenizer_the_generation_config_or_the_chat_template_says(
    template: str | None, eos: str | None, named: Any, expected: tuple[int, ...]
) -> None:
    subject = replace(build("llama"), tokenizer=deepcopy(tokenizer()))
    subject.tokenizer.chat_template, subject.tokenizer.eos_token = template, eos
    subject.model.generation_config.eos_token_id = named
    assert reply_ends(subject) == expected


def test_draws_of_a_row_of_its_own_end_where_the_noise_of_its_own_says() -> None:
    subject, rows, tokens = tiny("gpt2"), 64, 24
    start, vectors, ends = ids_of(subject)[:4], torch.zeros(rows, WIDTH), reply_ends(subject)
    found = write(subject, start, layer=0, vectors=vectors, noise=gumbel_rows(subject, rows, (0, 1)), tokens=tokens, ends=ends)
    again = write(
        subject, start, layer=0, vectors=vectors, noise=gumbel_rows(subject, rows, (0, 1)), tokens=tokens, ends=ends, way="shared"
    )
    assert [own.tolist() for own in found.own()] == [own.tolist() for own in again.own()]
    assert 0 < (found.lengths < tokens).sum()
    for row, length in zip(found.ids, found.lengths, strict=True):
        assert not np.isin(row[:length], list(special_ids(subject))).any()
        assert length == tokens or row[length] in ends


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


# repetition


def longest_loop(row: Sequence[int]) -> int:
    """Return, by trying every stretch, the length of the longest that is a run of up to 8 tokens at least twice over."""
    return max(
        (
            end - start
            for start in range(len(row))
            for end in range(start + 2, len(row) + 1)
            for period in range(1, min(8, (end - start) // 2) + 1)
            if all(row[i] == row[i + period] for i in range(start, end - period))
        ),
        default=0,
    )


def as_ids(*texts: str) -> np.ndarray:
    """Return every word of texts of equal length as a number."""
    index = {word: i for i, word in enumerate(sorted({word for text in texts for word in text.split()}))}
    return np.array([[index[word] for word in text.split()] for text in texts])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I was so confused I was so confused I was so confused", 12),
        ("I was so confused I was so confused", 8),
        ("he was so angry was so angry was so angry and left", 9),
        ("was so angry was so angry", 6),
        ("one day I was so confused I was so confused I was", 10),
        ("it was very very cold", 2),
        ("no no no no no", 5),
        ("the dog saw the cat and the dog ran", 0),
        ("every word of this text is another one", 0),
        ("a b c d e f g h a b c d e f g h", 16),
        ("a b c d e f g h i a b c d e f g h i", 0),
    ],
)
def test_the_posts_loops_are_recognised_and_a_text_without_immediate_repetition_has_none(text: str, tokens: int) -> None:
    assert list(looped(as_ids(text))) == [tokens]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=20, max_size=20), min_size=1, max_size=3))
def test_the_longest_loop_is_that_of_trying_every_stretch(rows: list[list[int]]) -> None:
    assert looped(np.array(rows)).tolist() == [longest_loop(row) for row in rows]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=0, max_size=14), st.integers(1, 3))
def test_repetition_does_not_depend_on_which_tokens_are_which_or_on_the_reading_direction(row: list[int], size: int) -> None:
    ids = np.array([row], dtype=int)
    for other in (100 - 7 * ids, ids[:, ::-1]):
        assert looped(other) == looped(ids)
        assert distinct(other, size) == distinct(ids, size)


def test_distinct_is_the_share_of_runs_that_differ() -> None:
    assert distinct(as_ids("a b c d e", "a a a a a", "a b a b a")).tolist() == [1.0, 0.25, 0.5]
    assert distinct(as_ids("a b a b c"), 1).tolist() == [0.6]
    assert distinct(as_ids("a b a b a"), 3) == pytest.approx([2 / 3])


def test_a_text_too_short_to_repeat_is_wholly_distinct_and_has_no_loop() -> None:
    for tokens in (0, 1):
        ids = np.zeros((2, tokens), dtype=int)
        assert distinct(ids).tolist() == [1.0, 1.0]
        assert looped(ids).tolist() == [0, 0]
