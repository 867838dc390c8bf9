from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from fixtures.blocks import BlocksError, find_blocks, hidden, prove_blocks, replaced
from tests.tiny import ARCHITECTURES, LAYERS, TUPLES, VOCABULARY, WIDTH, build, config, lively, streams, tiny, tokens


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_as_many_blocks_are_found_as_the_configuration_states_and_they_are_proved(architecture: str) -> None:
    subject = tiny(architecture)
    blocks = find_blocks(subject.model)
    assert len(blocks) == len(set(blocks)) == LAYERS == subject.layers
    prove_blocks(subject.model, blocks)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_blocks_in_the_wrong_order_are_not_proved(architecture: str) -> None:
    first, second, third = tiny(architecture).blocks
    for wrong in ((third, second, first), (first, third, second), (second, first, third)):
        with pytest.raises(BlocksError, match="differs from the model's own hidden state"):
            prove_blocks(tiny(architecture).model, wrong)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parts_of_blocks_are_not_proved(architecture: str) -> None:
    subject = tiny(architecture)
    names = {name for name, part in subject.blocks[0].named_children() if any(True for _ in part.parameters())}
    for name in names - ({"mlp"} if architecture == "bloom" else set()):  # BLOOM's MLP adds the residual: it is the block's output
        with pytest.raises(BlocksError):
            prove_blocks(subject.model, [block.get_submodule(name) for block in subject.blocks])


def test_a_list_that_does_not_run_on_text_is_not_proved() -> None:
    subject = tiny("llama")
    with pytest.raises(BlocksError, match="0 of 3 decoder blocks ran"):
        prove_blocks(subject.model, build("llama", seed=1).blocks)


def test_too_few_blocks_and_blocks_listed_twice_are_not_proved() -> None:
    first, second, _ = tiny("llama").blocks
    with pytest.raises(BlocksError, match="states 4 hidden states"):
        prove_blocks(tiny("llama").model, (first, second))
    with pytest.raises(BlocksError, match="listed twice"):
        prove_blocks(tiny("llama").model, (first, second, second))


def test_a_vision_tower_of_the_same_depth_is_not_taken_for_the_decoder() -> None:
    vision = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 48}
    both = transformers.Gemma3Config(
        text_config=config("gemma3").to_dict(),
        vision_config={**vision, "image_size": 16, "patch_size": 8},
        mm_tokens_per_image=4,
        image_token_index=VOCABULARY - 1,
    )
    model = lively(transformers.Gemma3ForConditionalGeneration(both), 0)
    blocks = find_blocks(model)
    assert [type(block).__name__ for block in blocks] == ["Gemma3DecoderLayer"] * LAYERS
    prove_blocks(model, blocks)
    tower = next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == LAYERS and m[0] not in blocks)
    with pytest.raises(BlocksError, match="0 of 3 decoder blocks ran"):
        prove_blocks(model, list(tower))


def test_where_nothing_is_declared_the_one_list_of_the_right_length_is_taken_and_two_are_refused() -> None:
    model = build("llama").model
    decoder, expected = model.get_decoder(), tuple(model.get_decoder().layers)
    decoder._can_record_outputs = {}
    assert find_blocks(model) == expected
    decoder.tower = nn.ModuleList(nn.Identity() for _ in range(LAYERS))
    with pytest.raises(BlocksError, match="3 decoder blocks were not found in LlamaForCausalLM"):
        find_blocks(model)


def test_a_model_whose_tokens_see_the_future_is_refused() -> None:
    settings = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 48}
    masked = lively(transformers.BertLMHeadModel(transformers.BertConfig(vocab_size=VOCABULARY, **settings)), 0)
    with pytest.raises(BlocksError, match="BertLMHeadModel is not causal"):
        prove_blocks(masked, find_blocks(masked))


def test_the_proof_leaves_no_hook_of_its_own() -> None:
    model = build("llama").model
    blocks = find_blocks(model)
    model(input_ids=tokens(1, 4), output_hidden_states=True)  # transformers installs its own hooks, for good
    before = [len(block._forward_hooks) for block in blocks]
    prove_blocks(model, blocks)
    assert [len(block._forward_hooks) for block in blocks] == before


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_stream_of_a_real_block_is_found_and_replaced_in_the_kind_it_came_in(architecture: str) -> None:
    subject, kinds = tiny(architecture), []
    handle = subject.blocks[0].register_forward_hook(lambda _m, _a, out: kinds.append(type(out)))
    (stream, *_) = streams(subject, tokens(2, 5))
    handle.remove()
    assert kinds == [tuple if architecture in TUPLES else torch.Tensor]
    assert stream.shape == (2, 5, WIDTH)


def test_the_rest_of_a_tuple_is_kept_and_no_batch_row_is_taken_for_a_tuple() -> None:
    stream, cache, value = torch.randn(2, 5, WIDTH), object(), torch.zeros(2, 5, WIDTH)
    assert hidden(stream) is stream
    assert hidden((stream, cache)) is stream
    assert replaced(stream, value) is value
    assert replaced((stream, cache), value) == (value, cache)
