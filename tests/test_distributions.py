"""Slices of rows give bit for bit what all rows at once give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fixtures import distributions
from fixtures.distributions import draw, log_probabilities, slices, surprisal

VOCABULARY = 5003
SHAPES = [(1, 3), (2, 3), (3, 1), (7, 4), (41, 3)]


def logits(*shape: int) -> Tensor:
    return torch.randn(*shape, VOCABULARY, generator=torch.Generator().manual_seed(len(shape))) * 5


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions, "SLICE", 3 * VOCABULARY)


@pytest.mark.parametrize(("rows", "tokens"), SHAPES)
def test_slices_hold_every_row_once_in_order_and_never_one_alone(rows: int, tokens: int) -> None:
    given = logits(rows, tokens)
    parts = slices(given)
    assert torch.equal(torch.cat(parts), given)
    assert len(parts) > 1 or rows < 6, "something is sliced at all"
    assert rows < 2 or min(map(len, parts)) >= 2, "a sum over one row alone is split among threads in another way"


@pytest.mark.parametrize(("rows", "tokens"), SHAPES)
def test_sliced_figures_are_those_of_all_rows_at_once(rows: int, tokens: int) -> None:
    given, some = logits(rows, tokens), [0, 17, VOCABULARY - 1]
    whole = torch.log_softmax(given, dim=-1)
    told = torch.randint(VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(1))
    assert torch.equal(surprisal(given, told), -whole.gather(2, told[:, :, None])[:, :, 0])
    assert torch.equal(log_probabilities(given[:, 0], some), whole[:, 0][:, some])


@pytest.mark.parametrize(("rows", "tokens"), SHAPES)
@pytest.mark.parametrize("own", [False, True])
def test_draws_are_those_of_all_rows_at_once(rows: int, tokens: int, own: bool) -> None:
    given = logits(rows, tokens)[:, -1]
    noise = logits(rows) if own else logits(1)[0]
    whole = torch.log_softmax(given, dim=-1)
    entropy = -(whole.exp() * whole.clamp(min=-1e4)).sum(dim=-1)
    free = (whole + noise).argmax(dim=-1)
    ids, found = draw(given, noise, [])
    assert torch.equal(ids, free)
    assert torch.equal(found, entropy)
    banned = [*free.tolist(), VOCABULARY + 1]
    again, found = draw(given, noise, banned)
    assert not set(again.tolist()) & set(banned)
    assert torch.equal(found, entropy), "a banned token is part of the distribution all the same"


def test_noise_may_be_longer_than_the_vocabulary_that_has_logits() -> None:
    given = logits(4)
    noise = torch.cat([torch.zeros(VOCABULARY), torch.full((9,), 100.0)])
    assert torch.equal(draw(given, noise, [])[0], given.argmax(dim=-1))


def test_half_precision_is_summed_in_float32() -> None:
    given = logits(5, 2).to(torch.bfloat16)
    told = torch.zeros(5, 2, dtype=torch.long)
    assert torch.equal(surprisal(given, told), -torch.log_softmax(given.float(), dim=-1)[:, :, 0])
    assert given.dtype == torch.bfloat16
    assert not torch.isinf(given).any(), "what was given is left alone"
