"""Muon in the precision of the weights: torch's own to within what bfloat16 rounds off, and exact where that is not."""

from __future__ import annotations

import pytest
import torch

from fixtures.reference import Recipe, build_model
from fixtures.reference.muon import Muon, orthogonalised
from fixtures.reference.train import PEAK, PEAK_OTHERS, optimisers

QUINTIC = (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (8, 8)])
def test_it_moves_a_matrix_as_torchs_own_does_but_for_bfloat16(shape: tuple[int, int]) -> None:
    torch.manual_seed(3)
    start, grads = torch.randn(shape), torch.randn(5, *shape)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    both = (
        (ours, Muon([ours], lr=0.1, weight_decay=0.01)),
        (theirs, torch.optim.Muon([theirs], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")),
    )
    for grad in grads:
        for matrix, used in both:
            matrix.grad = grad.clone()
            used.step()
    moved = (theirs - start).abs().mean()
    assert 0 < (ours - theirs).abs().mean() < 0.02 * moved


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_its_iteration_follows_the_polynomial_of_every_singular_value(shape: tuple[int, int]) -> None:
    torch.manual_seed(4)
    matrix = torch.randn(shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values / matrix.norm()
    a, b, c = QUINTIC
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    expected = left @ values.diag() @ right
    torch.testing.assert_close(orthogonalised(matrix, QUINTIC, 5, 1e-7), expected)
    torch.testing.assert_close(orthogonalised(matrix.float(), QUINTIC, 5, 1e-7).double(), expected, atol=1e-5, rtol=1e-4)


def test_a_matrix_without_a_gradient_stays() -> None:
    still = torch.nn.Parameter(torch.ones(2, 3))
    Muon([still], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(still, torch.ones(2, 3))


def test_the_matrices_of_the_blocks_are_trained_with_it_and_all_else_is_not() -> None:
    model = build_model(Recipe("small", 1, 16, 1), 40)
    matrices, others = optimisers(model, 0.5)
    assert type(matrices) is Muon
    assert (matrices.param_groups[0]["lr"], others.param_groups[0]["lr"]) == (PEAK / 2, PEAK_OTHERS / 2)
    assert {id(p) for p in matrices.param_groups[0]["params"]} == {id(p) for p in model.model.layers.parameters() if p.ndim == 2}
    assert sum(len(used.param_groups[0]["params"]) for used in (matrices, others)) == len(list(model.parameters()))
