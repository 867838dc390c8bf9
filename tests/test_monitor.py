"""The live monitor: what it shows are plain projections, token by token, and watching changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.generation import write
from fixtures.models import Subject
from fixtures.monitor import Projections, watch
from fixtures.steering import steer
from tests.tiny import ARCHITECTURES, LAYERS, VOCABULARY, WIDTH, build, directions, logits, stated, streams, tiny, tokens

AXES = {name: row.numpy() for name, row in zip(("fear", "calm"), directions(2, seed=5), strict=True)}
UNIT = np.stack([row / np.linalg.norm(row) for row in AXES.values()])


def projected(stream: torch.Tensor) -> np.ndarray:
    return np.asarray(stream.double().numpy() @ UNIT.T.astype(np.float64))


def hooks(subject: Subject) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in subject.model.modules())


def watched(subject: Subject, ids: torch.Tensor, layer: int = 1, **axes: Any) -> Projections:
    with watch(subject, layer, axes or AXES) as seen:
        logits(subject, ids)
    return seen


# what is shown


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_projections_are_hidden_states_times_unit_directions_at_every_token(architecture: str) -> None:
    subject, ids = tiny(architecture), tokens(3, 11)
    for layer in (0, LAYERS - 1):
        seen = watched(subject, ids, layer)
        assert seen.tokens.shape == (3, 11, 2)
        np.testing.assert_allclose(seen.tokens, projected(streams(subject, ids)[layer]), rtol=1e-4, atol=1e-4)
    # the model's own hidden states: embeddings first, and the last with the final norm applied
    np.testing.assert_allclose(watched(subject, ids, 0).tokens, projected(stated(subject, ids)[1]), rtol=1e-4, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 100))
def test_neither_the_size_of_a_direction_nor_what_else_is_watched_decides_and_its_sign_turns_the_reading(scale: float, seed: int) -> None:
    ids, row = tokens(2, 5, seed), directions(1, seed)[0].numpy()
    alone = watched(tiny("llama"), ids, a=row).of("a")
    both = watched(tiny("llama"), ids, other=AXES["fear"], a=scale * row, back=-row)
    np.testing.assert_allclose(both.of("a"), alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both.of("back"), -alone, rtol=1e-4, atol=1e-5)


def test_a_direction_may_be_an_array_or_a_tensor_of_any_precision_that_numpy_knows() -> None:
    ids, row = tokens(1, 4), np.round(4 * AXES["fear"]) + 1
    plain = watched(tiny("llama"), ids, a=row).tokens
    for given_ in (row.astype(np.float16), row.astype(int), row.astype(np.float64), torch.from_numpy(row)):
        np.testing.assert_array_equal(watched(tiny("llama"), ids, a=given_).tokens, plain)


@pytest.mark.parametrize("kind", ["bfloat16", "gradient"])
def test_a_direction_may_be_any_tensor(kind: str) -> None:
    row = torch.ones(WIDTH, dtype=torch.bfloat16) if kind == "bfloat16" else torch.ones(WIDTH, requires_grad=True)
    watched(tiny("llama"), tokens(1, 4), a=row)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_is_read_in_single(dtype: torch.dtype) -> None:
    subject, ids = build("llama", dtype=dtype), tokens(2, 6)
    seen = watched(subject, ids)
    assert seen.tokens.dtype == np.float32
    np.testing.assert_allclose(seen.tokens, projected(streams(subject, ids)[1].float()), rtol=1e-5, atol=1e-5)


def test_every_pass_is_kept_in_order_and_names_say_which_direction_is_which() -> None:
    subject, texts = tiny("gpt2"), [tokens(2, 5, seed) for seed in range(3)]
    with watch(subject, 2, AXES) as seen:
        for ids in texts:
            logits(subject, ids)
    assert seen.names == tuple(AXES)
    assert [part.shape for part in seen.passes] == [(2, 5, 2)] * 3
    for part, ids in zip(seen.passes, texts, strict=True):
        np.testing.assert_allclose(part, projected(streams(subject, ids)[2]), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(seen.of("calm"), np.concatenate([part[:, :, 1] for part in seen.passes], axis=1))


def test_nothing_seen_is_an_empty_text() -> None:
    with watch(tiny("llama"), 1, AXES) as seen:
        pass
    assert seen.tokens.shape == (0, 0, 2)
    assert seen.of("fear").shape == (0, 0)


def test_a_name_that_is_not_watched_is_refused_and_told_which_are() -> None:
    with pytest.raises(KeyError, match="'joy' is not watched; watched: fear, calm"):
        watched(tiny("llama"), tokens(1, 3)).of("joy")


def test_a_row_is_above_a_threshold_if_any_of_its_tokens_is() -> None:
    parts = [np.array([[[0.0, 9.0], [2.0, 9.0]], [[1.0, 9.0], [-5.0, 9.0]]]), np.array([[[1.0, 9.0]], [[0.5, 9.0]]])]
    seen = Projections(("fear", "calm"), parts)
    assert seen.above("fear", 1.5).tolist() == [True, False]
    assert seen.above("fear", 1.0).tolist() == [True, False]  # at the threshold is not above it
    assert seen.above("fear", 0.9).tolist() == [True, True]
    assert seen.above("fear", 2.0).tolist() == [False, False]
    assert seen.above("calm", 8.0).tolist() == [True, True]


# while a model writes


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "falcon", "mixtral"])
def test_with_a_cache_the_tokens_of_prompt_and_text_come_one_after_another(architecture: str) -> None:
    subject, start = tiny(architecture), tokens(2, 6)
    with watch(subject, 1, AXES) as seen:
        ids = subject.model.generate(start, attention_mask=torch.ones_like(start), do_sample=False, min_new_tokens=5, max_new_tokens=5)
    assert [part.shape[1] for part in seen.passes] == [6, 1, 1, 1, 1]
    # the last token was written and never read
    np.testing.assert_allclose(seen.tokens, projected(streams(subject, ids[:, :-1])[1]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("way", ["shared", "plain"])
def test_a_prompt_that_is_run_once_for_several_rows_is_part_of_each_of_them(way: str) -> None:
    subject, start = tiny("llama"), tokens(1, 6)
    # the first tokens of the three rows differ, so that from there on each has passes of its own
    noise = torch.from_numpy(np.random.default_rng(0).gumbel(size=(4, 3, VOCABULARY)).astype(np.float32)) * 20
    with watch(subject, 0, AXES) as seen:
        ids = write(subject, start[0].tolist(), layer=1, vectors=directions(3), noise=noise, way=way).ids
    assert len({row[0] for row in ids.tolist()}) == 3
    assert len(seen.passes[0]) == (1 if way == "shared" else 3)
    whole = torch.cat([start.expand(3, -1), torch.from_numpy(ids[:, :-1])], dim=1)
    np.testing.assert_allclose(seen.tokens, projected(streams(subject, whole)[0]), rtol=1e-4, atol=1e-4)
    assert seen.above("fear", -1e9).shape == (3,)


def test_rows_that_were_run_as_one_are_refused_below_the_steered_block_and_seen_above_it() -> None:
    subject, start = tiny("llama"), tokens(1, 6)
    noise = torch.from_numpy(np.random.default_rng(0).gumbel(size=(4, VOCABULARY)).astype(np.float32))
    pushes = torch.cat([directions(1) * 0, directions(1) * 0, 9 * directions(1)])

    def seen(layer: int, way: str) -> Any:
        with watch(subject, layer, AXES) as found:
            write(subject, start[0].tolist(), layer=0, vectors=pushes, noise=noise, way=way)
        return found

    with pytest.raises(ValueError, match="rows that wrote the same were run as one; watch a block above"):
        _ = seen(0, "shared").tokens
    np.testing.assert_allclose(seen(2, "shared").tokens, seen(2, "plain").tokens, rtol=1e-4, atol=1e-4)


def test_a_steering_hook_that_was_there_before_is_seen_and_a_later_one_is_not() -> None:
    subject, ids, push = tiny("llama"), tokens(1, 5), 3 * directions(1, seed=9)[0]
    plain = watched(subject, ids).tokens
    with steer(subject, 1, push), watch(subject, 1, AXES) as before:
        steered = logits(subject, ids)
    with watch(subject, 1, AXES) as after, steer(subject, 1, push):
        assert torch.equal(logits(subject, ids), steered)
    np.testing.assert_allclose(before.tokens, plain + projected(push), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(after.tokens, plain)


# watching changes nothing


@pytest.mark.parametrize("architecture", ["gpt2", "bloom", "falcon", "qwen3"])
def test_the_output_of_a_watched_model_is_bit_for_bit_its_own(architecture: str) -> None:
    subject, ids = tiny(architecture), tokens(2, 7)
    before = logits(subject, ids)
    with watch(subject, 1, AXES):
        during = logits(subject, ids)
    assert torch.equal(before, during)
    assert torch.equal(before, logits(subject, ids))


def test_what_was_seen_and_the_directions_are_copies_of_their_own() -> None:
    subject, ids, row = tiny("llama"), tokens(1, 5), AXES["fear"].copy()
    with watch(subject, 1, {"a": row}) as seen:
        row[:] = 0
        logits(subject, ids)
    np.testing.assert_allclose(seen.of("a"), watched(subject, ids, a=AXES["fear"]).of("a"))
    subject = build("llama")
    seen = watched(subject, ids)
    kept = seen.tokens.copy()
    with torch.no_grad():
        for parameter in subject.model.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(seen.tokens, kept)


def test_hooks_are_gone_afterwards_and_nothing_more_is_recorded() -> None:
    subject, ids = build("llama"), tokens(1, 4)
    before = hooks(subject)
    with watch(subject, 1, AXES) as seen:
        logits(subject, ids)
        assert hooks(subject) > before
    logits(subject, ids)
    assert hooks(subject) == before
    assert len(seen.passes) == 1


def test_an_exception_inside_comes_out_as_it_was_and_leaves_no_hook() -> None:
    subject, ids = build("llama"), tokens(1, 4)
    before = hooks(subject)
    kept: list[Projections] = []

    def breaks() -> None:
        with watch(subject, 1, AXES) as seen:
            kept.append(seen)
            logits(subject, ids)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        breaks()
    assert hooks(subject) == before
    assert kept[0].tokens.shape == (1, 4, 2)


def test_two_monitors_see_each_their_own() -> None:
    subject, ids = tiny("llama"), tokens(1, 4)
    with watch(subject, 0, {"a": AXES["fear"]}) as outer:
        with watch(subject, 2, {"a": AXES["calm"]}) as inner:
            logits(subject, ids)
        logits(subject, ids)
    assert (len(outer.passes), len(inner.passes)) == (2, 1)
    np.testing.assert_allclose(inner.of("a"), watched(subject, ids, 2).of("calm"), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outer.passes[0][:, :, 0], watched(subject, ids, 0).of("fear"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "row",
    [
        np.zeros(WIDTH),
        np.ones(WIDTH - 1),
        np.ones((1, WIDTH)),
        np.float64(1.0),
        np.full(WIDTH, np.nan),
        np.where(np.arange(WIDTH) == 3, np.inf, 1.0),
    ],
)
def test_a_direction_that_is_zero_not_finite_or_of_another_shape_is_refused_by_name_and_leaves_no_hook(row: np.ndarray) -> None:
    subject = build("llama")
    before = hooks(subject)
    with (
        pytest.raises(ValueError, match=rf"^direction 'bad' of shape .*; wants \({WIDTH},\), finite and not zero$"),
        watch(subject, 1, {"good": AXES["fear"], "bad": row}),
    ):
        pytest.fail("a bad direction was taken")
    assert hooks(subject) == before


def test_no_direction_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no directions"), watch(tiny("llama"), 1, {}):
        pytest.fail("nothing to watch was taken")


@pytest.mark.parametrize("layer", [-1, LAYERS, LAYERS + 5])
def test_a_layer_that_is_not_there_is_refused_and_told_which_are(layer: int) -> None:
    with pytest.raises(ValueError, match=rf"^layer {layer}: llama has blocks 0 to {LAYERS - 1}$"), watch(tiny("llama"), layer, AXES):
        pytest.fail("a wrong layer was taken")
