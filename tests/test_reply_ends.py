"""Replies end where the model ends them: each row at its own end, whatever the batch, and at the ends that tokenizer and template name."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fixtures import generation
from fixtures.generation import (
    WAYS,
    Written,
    gumbel,
    gumbel_rows,
    reply_ends,
    write,
)
from fixtures.models import Subject, special_ids
from tests.tiny import (
    VOCABULARY,
    WIDENS,
    WIDTH,
    build,
    directions,
    logits,
    tiny,
    tokenizer,
)
from tests.writing import TOKENS, ids_of, noise, written

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
