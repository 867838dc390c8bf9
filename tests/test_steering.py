from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fixtures.models import Subject
from fixtures.steering import SteeringError, steer
from tests.tiny import ARCHITECTURES, LAYERS, WIDENS, WIDTH, build, directions, logits, pushed, streams, tiny, tokens

IDS = tokens(4, 12)
MASK = torch.zeros(4, 12).scatter_(1, torch.tensor([[0, 5], [1, 2], [11, 10], [7, 7]]), 1.0)


def steered(subject: Subject, layer: int, vectors: Tensor, **options: object) -> list[Tensor]:
    with steer(subject, layer, vectors, **options):  # type: ignore[arg-type]
        return streams(subject, IDS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", range(LAYERS))
def test_the_stream_moves_by_exactly_the_vector_and_blocks_below_do_not_move(architecture: str, layer: int) -> None:
    subject, vectors = tiny(architecture), directions(4)
    plain, found = streams(subject, IDS), steered(subject, layer, vectors)
    assert torch.equal(found[layer], plain[layer] + vectors[:, None, :])
    assert all(torch.equal(found[below], plain[below]) for below in range(layer))
    assert all(not torch.allclose(found[above], plain[above], atol=1e-2) for above in range(layer + 1, LAYERS))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_steering_does_to_later_blocks_what_pushing_the_block_itself_does(architecture: str) -> None:
    subject, (vector,) = tiny(architecture), directions(1)
    with pushed(subject, 1, vector):
        expected = logits(subject, IDS)
    with steer(subject, 1, vector):
        assert torch.equal(logits(subject, IDS), expected)
    assert not torch.allclose(logits(subject, IDS), expected, atol=1e-2)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "bloom"])
def test_each_row_is_moved_by_its_own_vector_only(architecture: str) -> None:
    subject, vectors = tiny(architecture), directions(4)
    together = steered(subject, 0, vectors)
    for row in range(4):
        alone = steered(subject, 0, vectors[row])
        torch.testing.assert_close(together[-1][row], alone[-1][row], rtol=1e-4, atol=1e-5)
    vectors[2] = 0
    assert torch.equal(steered(subject, 0, vectors)[0][2], streams(subject, IDS)[0][2])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("mask", [MASK, MASK.bool(), MASK[0], MASK[1].bool()], ids=["rows", "rows-bool", "tokens", "tokens-bool"])
def test_only_masked_tokens_move_and_those_by_exactly_the_vector(architecture: str, mask: Tensor) -> None:
    subject, vectors = tiny(architecture), directions(4)
    where = mask.bool().expand(4, 12)
    plain, found = streams(subject, IDS)[1], steered(subject, 1, vectors, mask=mask)[1]
    assert torch.equal(found[~where], plain[~where])
    assert torch.equal(found[where], (plain + vectors[:, None, :])[where])


def test_tokens_before_a_steered_span_never_change() -> None:
    subject, mask = tiny("llama"), (torch.arange(12) >= 6)
    for plain, found in zip(streams(subject, IDS), steered(subject, 0, directions(1)[0], mask=mask), strict=True):
        assert torch.equal(found[:, :6], plain[:, :6])
        assert not torch.allclose(found[:, 6:], plain[:, 6:], atol=1e-2)


def test_alpha_multiplies_the_vector_and_nested_vectors_add_up() -> None:
    subject, (first, second) = tiny("llama"), directions(2)
    assert torch.equal(steered(subject, 1, first, alpha=-2.0)[-1], steered(subject, 1, -2.0 * first)[-1])
    with steer(subject, 1, first):
        both = steered(subject, 1, second)
    torch.testing.assert_close(both[1], streams(subject, IDS)[1] + first + second, rtol=1e-5, atol=1e-5)
    assert torch.equal(steered(subject, 1, first, alpha=0.0)[-1], streams(subject, IDS)[-1])


def test_a_bfloat16_stream_is_moved_in_float32_and_stays_bfloat16() -> None:
    subject, (vector,) = build("llama", dtype=torch.bfloat16), directions(1)
    plain, found = streams(subject, IDS)[1], steered(subject, 1, vector)[1]
    assert torch.equal(found, (plain.float() + vector).to(torch.bfloat16))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_leaving_restores_the_model_bit_for_bit(architecture: str) -> None:
    subject = tiny(architecture)
    plain, hooks = logits(subject, IDS), [len(block._forward_hooks) for block in subject.blocks]
    weights = [parameter.clone() for parameter in subject.model.parameters()]
    steered(subject, 1, directions(4))
    assert torch.equal(logits(subject, IDS), plain)
    assert [len(block._forward_hooks) for block in subject.blocks] == hooks
    assert all(torch.equal(now, then) for now, then in zip(subject.model.parameters(), weights, strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_exception_inside_is_the_one_seen_and_the_model_is_restored(architecture: str) -> None:
    subject = tiny(architecture)
    plain, mine = logits(subject, IDS), ZeroDivisionError("mine")

    def interrupted() -> None:
        with steer(subject, 1, directions(4)):
            logits(subject, IDS)
            raise mine

    with pytest.raises(ZeroDivisionError) as caught:
        interrupted()
    assert caught.value is mine
    assert torch.equal(logits(subject, IDS), plain)
    with pytest.raises(SteeringError, match="2 vectors for a batch of 4 rows"), steer(subject, 1, directions(2)):
        logits(subject, IDS)
    assert torch.equal(logits(subject, IDS), plain)


def test_the_blocks_own_output_is_not_changed_in_place() -> None:
    subject, kept = build("llama"), []
    subject.blocks[1].register_forward_hook(lambda _m, _a, out: kept.append((out, out.clone())))
    steered(subject, 1, directions(4))
    ((out, copy),) = kept
    assert torch.equal(out, copy)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", range(LAYERS))
def test_widening_at_a_block_equals_a_plain_batch_in_the_architectures_listed(architecture: str, layer: int) -> None:
    subject, vectors = tiny(architecture), directions(5)
    if WIDENS[architecture, layer]:
        for mask in (None, torch.arange(12) > 3):
            with steer(subject, layer, vectors, mask=mask):
                plain = logits(subject, IDS[:1].expand(5, -1))
            with steer(subject, layer, vectors, mask=mask, widen=True):
                wide = logits(subject, IDS[:1])
            torch.testing.assert_close(wide, plain, rtol=1e-4, atol=1e-4)
        assert (plain[0] - plain[1]).abs().max() > 0.1


@pytest.mark.parametrize("layer", [-1, LAYERS])
def test_a_layer_out_of_range_is_refused_at_once(layer: int) -> None:
    with pytest.raises(SteeringError, match=f"layer {layer}: llama has blocks 0 to 2"), steer(tiny("llama"), layer, directions(1)):
        pass


@pytest.mark.parametrize("shape", [(WIDTH + 1,), (4, 1), (1, 1, WIDTH), ()])
def test_vectors_of_another_shape_are_refused_at_once(shape: tuple[int, ...]) -> None:
    with pytest.raises(SteeringError, match="vectors of shape"), steer(tiny("llama"), 0, torch.zeros(shape)):
        pass


@pytest.mark.parametrize("shape", [(1,), (11,), (4,), (4, 1), (2, 12), (4, 12, 1)])
def test_a_mask_of_another_shape_is_refused_and_never_broadcast(shape: tuple[int, ...]) -> None:
    with pytest.raises(SteeringError, match="a mask of shape"):
        steered(tiny("llama"), 0, directions(1)[0], mask=torch.ones(shape))


def test_widening_takes_one_prompt_and_rows_of_vectors() -> None:
    for vectors in (directions(4), directions(1)[0]):
        with pytest.raises(SteeringError, match="widening takes one prompt"):
            steered(tiny("llama"), 0, vectors, widen=True)
