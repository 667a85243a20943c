"""Tests of evaluation in blocks, against evaluation at once."""

import pytest
import torch
from torch import nn

from sk_payne.networks import (
    Payne,
    TransformerPayne,
    evaluate,
    pixel_blocks,
    resolve_network,
)

CPU = torch.device("cpu")
# more pixels than one block of 4096 holds
N_STARS, N_WAVELENGTHS = 7, 1009
GRID = torch.linspace(3.65, 3.66, N_WAVELENGTHS, dtype=torch.float64)


class Slope(nn.Module):
    """A user's architecture at any wavelength that does not split its work."""

    takes_wavelength = True

    def forward(self, labels, log_wavelength):
        return labels.sum(dim=1, keepdim=True) * log_wavelength


@pytest.fixture
def network():
    torch.manual_seed(0)
    return TransformerPayne(
        3,
        N_WAVELENGTHS,
        width=8,
        n_layers=2,
        n_tokens=3,
        zero_init=False,
        **TransformerPayne.grid_params(GRID),
    ).double()


@pytest.fixture
def labels():
    return torch.randn(
        N_STARS, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )


def test_evaluate_in_blocks_equals_the_network_at_once(network, labels):
    found = evaluate(network, labels, GRID)
    torch.testing.assert_close(found, network(labels, GRID), rtol=0, atol=1e-13)


def test_evaluate_with_wavelengths_of_each_star_equals_the_network(network, labels):
    own = GRID + torch.linspace(0, 1e-3, N_STARS, dtype=torch.float64)[:, None]
    found = evaluate(network, labels, own)
    torch.testing.assert_close(found, network(labels, own), rtol=0, atol=1e-13)


def test_evaluate_of_one_star_at_more_wavelengths_than_a_block_holds(network, labels):
    long = torch.linspace(3.65, 3.66, 9001, dtype=torch.float64)
    found = evaluate(network, labels[:1], long)
    torch.testing.assert_close(found, network(labels[:1], long), rtol=0, atol=1e-13)


def test_evaluate_never_hands_more_pixels_to_the_network_than_a_block(network, labels):
    seen = []
    network.encoding.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].shape[-1])
    )
    contexts = []
    network.tokens.register_forward_hook(
        lambda module, inputs, output: contexts.append(len(inputs[0]))
    )
    evaluate(network, labels, GRID)
    assert contexts == [4, 3]  # 4096 // 1009 stars
    assert seen == [N_WAVELENGTHS, N_WAVELENGTHS]


def test_evaluate_is_differentiable(network, labels):
    labels.requires_grad_()
    (found,) = torch.autograd.grad(evaluate(network, labels, GRID).sum(), labels)
    (expected,) = torch.autograd.grad(network(labels, GRID).sum(), labels)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_evaluate_of_a_fixed_grid_is_the_network(labels):
    network = Payne(3, 11, n_hidden=5).double()
    torch.testing.assert_close(
        evaluate(network, labels), network(labels), rtol=0, atol=0
    )


def test_evaluate_of_a_network_without_context_calls_it(labels):
    found = evaluate(resolve_network(Slope)(), labels, GRID)
    torch.testing.assert_close(found, labels.sum(1)[:, None] * GRID, rtol=0, atol=0)


@pytest.mark.parametrize("n", [0, 1, 2, 4095, 4096, 4097, 10_007])
@pytest.mark.parametrize("size", [0, 1, 61, 5003])
def test_pixel_blocks_cover_everything_once_and_stay_small(n, size):
    blocks = list(pixel_blocks(n, size, CPU))
    assert [i for b in blocks for i in range(b.start, b.stop)] == list(range(n))
    for block in blocks:
        assert (
            block.stop - block.start == 1 or (block.stop - block.start) * size <= 4096
        )


def test_pixel_blocks_of_an_accelerator_are_larger():
    blocks = list(pixel_blocks(2**18 + 1, 1, torch.device("cuda")))
    assert [block.stop - block.start for block in blocks] == [2**18, 1]
