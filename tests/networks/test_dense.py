"""Tests of The Payne and BigPayne, against formulas written out by hand."""

import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from sk_payne.networks import BigPayne, Payne, _activations

ACTIVATIONS = {
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    # Hendrycks & Gimpel, arXiv:1606.08415
    "gelu_tanh": lambda x: (
        x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    ),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": expit,
    "silu": lambda x: x * expit(x),
    "squared_relu": lambda x: np.maximum(x, 0) ** 2,
    "tanh": np.tanh,
}


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("network", [Payne, BigPayne])
def test_forward_is_the_formula(network, activation):
    torch.manual_seed(0)
    module = network(3, 11, n_hidden=7, n_layers=2, activation=activation).double()
    labels = np.random.default_rng(0).normal(size=(5, 3))
    w1, b1, w2, b2, w3, b3 = (p.detach().numpy() for p in module.parameters())
    g = ACTIVATIONS[activation]
    expected = g(g(labels @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    found = module(torch.from_numpy(labels)).detach().numpy()
    # rounding of float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_payne_has_as_many_parameters_as_the_public_code_for_two_layers_of_300():
    n_labels, n_wavelengths = 25, 7214
    expected = 25 * 300 + 300 + 300 * 300 + 300 + 300 * 7214 + 7214
    assert count(Payne(n_labels, n_wavelengths)) == expected


def test_bigpayne_has_four_layers_of_1024():
    expected = 19 * 1024 + 1024 + 3 * (1024**2 + 1024) + 1024 * 2198 + 2198
    assert count(BigPayne(19, 2198)) == expected


@pytest.mark.parametrize("n_layers", [1, 2, 5])
def test_n_layers_counts_the_hidden_layers(n_layers):
    module = Payne(3, 11, n_hidden=7, n_layers=n_layers)
    expected = 3 * 7 + 7 + (n_layers - 1) * (7 * 7 + 7) + 7 * 11 + 11
    assert count(module) == expected


@pytest.mark.parametrize("network", [Payne, BigPayne])
def test_takes_wavelength_is_false(network):
    assert network.takes_wavelength is False


@pytest.mark.parametrize("network", [Payne, BigPayne])
def test_unknown_activation_is_an_error(network):
    with pytest.raises(
        ValueError, match=r"`activation` must be one of \['gelu', .*; got 'swish'"
    ):
        network(3, 11, activation="swish")


def test_every_activation_is_tested():
    assert set(ACTIVATIONS) == set(_activations.ACTIVATIONS)


@pytest.mark.parametrize("sizes", [{"n_hidden": 0}, {"n_layers": 0}])
@pytest.mark.parametrize("network", [Payne, BigPayne])
def test_no_layers_or_no_neurons_is_an_error(network, sizes):
    with pytest.raises(ValueError, match=r"must be at least 1; got (0 and|\d+ and 0)"):
        network(3, 11, **sizes)
