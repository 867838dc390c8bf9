"""What the self-tests of written text share: a prompt, noise, and rows of a tiny model that write."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fixtures.generation import (
    Written,
    plain_ids,
    write,
)
from fixtures.models import Subject
from tests.tiny import (
    VOCABULARY,
    directions,
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
