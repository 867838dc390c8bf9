"""Noise that is drawn by row and place, what is written under it, and where writing ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from fixtures import generation
from fixtures.generation import WAYS, Noise, gumbel_rows, plain_ids, write
from fixtures.models import encode
from tests.test_sampled import MESSAGES
from tests.tiny import VOCABULARY, WIDTH, directions, tiny

# noise and writing


def steps(noise: Noise, tokens: int) -> torch.Tensor:
    return torch.stack([noise(place) for place in range(tokens)])


def test_every_row_and_every_place_has_a_draw_of_its_own_from_the_seed_in_whatever_order_they_are_asked_for() -> None:
    subject = tiny("llama")
    noise, same = (gumbel_rows(subject, 5, (3, 1)) for _ in range(2))
    backwards = [same(place) for place in (2, 1, 0)][::-1]
    assert torch.equal(steps(noise, 3), torch.stack(backwards))
    assert noise(0).shape == (5, VOCABULARY)
    assert len(torch.unique(steps(noise, 3))) == 3 * 5 * VOCABULARY
    assert not torch.isclose(noise(0), gumbel_rows(subject, 5, (3, 2))(0)).any(dim=1).all()
    assert not torch.equal(noise(0), gumbel_rows(subject, 5, (4, 1))(0))


def test_a_draw_per_row_is_gumbel_noise() -> None:
    drawn = steps(gumbel_rows(tiny("llama"), 10, (0,)), 4).numpy().ravel()
    assert stats.kstest(drawn, "gumbel_r").pvalue > 0.01


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("per_row", [False, True])
def test_noise_that_is_a_function_of_the_place_writes_what_the_same_noise_in_one_tensor_writes(
    monkeypatch: pytest.MonkeyPatch, way: str, per_row: bool
) -> None:
    subject, vectors = tiny("qwen3"), directions(5)
    told = steps(gumbel_rows(subject, 5, (1,)), 6) if per_row else steps(gumbel_rows(subject, 1, (1,)), 6)[:, 0]
    for rows in (160, 2):
        monkeypatch.setattr(generation, "ROWS", rows)
        prompt = plain_ids(subject, MESSAGES[0])
        whole = write(subject, prompt, layer=1, vectors=vectors, noise=told, way=way)
        stepwise = write(subject, prompt, layer=1, vectors=vectors, noise=lambda place: told[place], tokens=6, way=way)
        assert stepwise.ids.shape == (5, 6)
        assert (stepwise.ids == whole.ids).all()
        np.testing.assert_array_equal(stepwise.entropy, whole.entropy)


def test_rows_under_the_same_vector_write_texts_of_their_own() -> None:
    subject = tiny("llama")
    prompt = plain_ids(subject, MESSAGES[0])
    alike = write(subject, prompt, layer=1, vectors=torch.zeros(6, WIDTH), noise=gumbel_rows(subject, 6, (0,)), tokens=6).ids
    assert len({tuple(row) for row in alike}) == 6


STOP = " glad"


def forced(places: list[int | None]) -> Noise:
    """Return noise under which row r writes the word of STOP at places[r], and everywhere else other single letters."""
    (word,) = encode(tiny("llama"), STOP)
    letters = [encode(tiny("llama"), letter)[0] for letter in "jkqvz"]

    def at(place: int) -> torch.Tensor:
        wanted = [word if place == own else letters[(place + row) % len(letters)] for row, own in enumerate(places)]
        return 1e4 * torch.eye(VOCABULARY)[wanted]

    return at


def until(places: list[int | None], stop: str | None = STOP, tokens: int = 40) -> np.ndarray:
    subject = tiny("llama")
    prompt, rows = plain_ids(subject, MESSAGES[0]), directions(len(places))
    return write(subject, prompt, layer=1, vectors=rows, noise=forced(places), tokens=tokens, stop=stop).ids


def test_writing_ends_soon_after_every_row_holds_the_end_and_is_the_same_up_to_there() -> None:
    whole = until([3, 11], stop=None)
    assert whole.shape == (2, 40)
    found = until([3, 11])
    assert 12 <= found.shape[1] <= 20
    assert (found == whole[:, : found.shape[1]]).all()
    assert all(STOP in text for text in tiny("llama").tokenizer.batch_decode(found))


@pytest.mark.parametrize("places", [[3, None], [None, None]])
def test_one_row_without_the_end_keeps_all_of_its_batch_writing(places: list[int | None]) -> None:
    assert (until(places) == until(places, stop=None)).all()


def test_an_end_in_the_prompt_alone_is_none() -> None:
    assert STOP in MESSAGES[0]
    assert until([None, None]).shape == (2, 40)


def test_a_batch_that_ended_sooner_is_filled_up_with_its_last_token_and_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, places = tiny("llama"), [2, 30, 3]
    monkeypatch.setattr(generation, "ROWS", 1)
    prompt = plain_ids(subject, MESSAGES[0])
    found = write(subject, prompt, layer=1, vectors=directions(3), noise=forced(places), tokens=40, stop=STOP)
    plain = write(subject, prompt, layer=1, vectors=directions(3), noise=forced(places), tokens=40)
    assert found.ids.shape == found.entropy.shape == (3, found.ids.shape[1])
    assert 31 <= found.ids.shape[1] < 40
    for row in (0, 2):
        ended = next(n for n in range(4, 13) if (found.ids[row, n:] == found.ids[row, n - 1]).all())
        assert (found.ids[row, :ended] == plain.ids[row, :ended]).all()
        assert (found.entropy[row, ended:] == found.entropy[row, ended - 1]).all()
    assert (found.ids[1] == plain.ids[1, : found.ids.shape[1]]).all()


def test_progress_counts_what_is_written_and_no_filling(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    subject, width = tiny("llama"), until([3, 3]).shape[1]
    write(
        subject, plain_ids(subject, "The"), layer=1, vectors=directions(2), noise=forced([3, 3]), tokens=40, stop=STOP, progress=told.append
    )
    assert sum(told) == 2 * width < 2 * 40
