"""Tests of the convolutional emulator: its sizes, and what a pixel depends on."""

import pytest
import torch

from sk_payne.networks import Convolutional


def small(n_wavelengths, **options):
    return Convolutional(3, n_wavelengths, n_channels=5, n_hidden=7, **options)


@pytest.mark.parametrize(
    "n", [1, 2, 3, 8, 9, 10, 26, 27, 28, 61, 80, 81, 82, 257, 2198]
)
def test_forward_gives_as_many_pixels_as_asked_for(n):
    assert small(n)(torch.zeros(2, 3)).shape == (2, n)


@pytest.mark.parametrize("kernel_size", [3, 5, 11, 13])
def test_forward_gives_as_many_pixels_whatever_the_kernel(kernel_size):
    assert small(101, kernel_size=kernel_size)(torch.zeros(2, 3)).shape == (2, 101)


@pytest.mark.parametrize(
    ("n_wavelengths", "n_blocks"), [(1, 0), (8, 0), (9, 1), (2198, 6), (22315, 8)]
)
def test_number_of_blocks_follows_from_the_number_of_wavelengths(
    n_wavelengths, n_blocks
):
    network = small(n_wavelengths)
    assert len(network.blocks) == n_blocks
    # a handful of coarse pixels, of which no whole one is cropped
    assert n_blocks == 0 or 3 <= network.n_coarse <= 9
    assert 0 <= network.n_coarse * 3**n_blocks - n_wavelengths < 3**n_blocks


def test_number_of_parameters_is_the_sum_over_the_layers():
    network = small(81, kernel_size=11)  # 3**4, of which nothing is cropped
    coarse, blocks = network.n_coarse, len(network.blocks)
    stem = 3 * 7 + 7 + 7 * 5 * coarse + 5 * coarse
    block = (5 * 5 * 11 + 5) + (5 * 5 * 3 + 5)
    head = 5 * 11 + 1
    assert coarse * 3**blocks == 81
    expected = stem + blocks * block + head
    assert sum(p.numel() for p in network.parameters()) == expected


def test_every_output_depends_on_the_labels():
    # also the cropped edge has pixels of the network, none is padding
    torch.manual_seed(0)
    network = small(101)
    labels = torch.zeros(1, 3)
    jacobian = torch.autograd.functional.jacobian(network, labels)
    assert (jacobian.abs().sum(dim=(0, 2, 3)) > 0).all()


def test_a_coarse_pixel_reaches_only_its_neighbourhood():
    torch.manual_seed(0)
    network = small(2187, kernel_size=3).requires_grad_(False)
    features = torch.zeros(1, 5, network.n_coarse, requires_grad=True)
    flux = features
    for block in network.blocks:
        flux = block(flux)
    network.head(flux)[0, 0, 0].backward()
    felt = features.grad.abs().sum(dim=(0, 1))
    assert felt[0] > 0
    assert felt[2:].max() == 0


@pytest.mark.parametrize("kernel_size", [1, 2, 4, 10])
def test_even_or_short_kernel_is_an_error(kernel_size):
    with pytest.raises(
        ValueError, match=f"must be odd and at least 3; got {kernel_size}"
    ):
        small(101, kernel_size=kernel_size)


def test_takes_wavelength_is_false():
    assert Convolutional.takes_wavelength is False
