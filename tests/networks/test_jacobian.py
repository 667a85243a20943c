"""Tests of flux with derivatives, against torch's reverse mode and differences."""

import pytest
import torch
from torch import nn

from sk_payne.networks import (
    NETWORKS,
    evaluate,
    evaluate_with_jacobian,
    resolve_network,
)

N_LABELS, N_WAVELENGTHS, N_STARS = 5, 37, 3
PERIODS = {"shortest_period": 1e-4, "longest_period": 1e-2}


class UserNetwork(nn.Module):
    """An architecture of a user's own, on a fixed grid and without `jacobian`."""

    def __init__(self, n_labels, n_wavelengths):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_labels, 11), nn.Softplus(), nn.Linear(11, n_wavelengths)
        )

    def forward(self, labels):
        return 1 - torch.sigmoid(self.layers(labels)) * labels[:, :1] ** 2


class UserNetworkAtWavelengths(nn.Module):
    """One that takes the wavelength, and does not split its work."""

    takes_wavelength = True

    def __init__(self, n_labels, n_wavelengths):
        super().__init__()
        self.layer = nn.Linear(n_labels, 1)

    def forward(self, labels, log_wavelength):
        # float64 sines of a float64 phase, as the rules for networks ask
        return self.layer(labels).tanh() * torch.sin(300 * log_wavelength).to(labels)


CASES = {
    "payne": ("payne", {"n_hidden": 13}),
    "payne, silu": ("payne", {"n_hidden": 13, "activation": "silu"}),
    "payne, leaky_relu": ("payne", {"n_hidden": 13, "activation": "leaky_relu"}),
    "bigpayne": ("bigpayne", {"n_hidden": 13}),
    "cannon": ("cannon", {}),
    "convolutional": ("convolutional", {"n_channels": 5, "n_hidden": 7}),
    "opacity": ("opacity", {"n_populations": 7, "n_hidden": 5, "width": 3}),
    "transformer, pre": (
        "transformer",
        {"width": 16, "n_layers": 2, "n_tokens": 3, "zero_init": False, **PERIODS},
    ),
    "transformer, as a peer has it": (
        "transformer",
        {
            **{"width": 16, "n_layers": 2, "n_tokens": 3, "zero_init": False},
            **{"activation": "gelu_tanh", "bias": True, "norm_eps": 1e-6},
            **{"origin": 4500.0, "linear": True},
            **{"shortest_period": 3.0, "longest_period": 100.0},
        },
    ),
    "transformer, post": (
        "transformer",
        {"width": 16, "n_layers": 2, "n_tokens": 3, "residual": "post", **PERIODS},
    ),
    "user's": (UserNetwork, {}),
    "user's, at wavelengths": (UserNetworkAtWavelengths, {}),
}
CASES |= {arch: (arch, {}) for arch in NETWORKS if arch not in dict(CASES.values())}
AT_WAVELENGTHS = [
    name for name, (arch, _) in CASES.items() if resolve_network(arch).takes_wavelength
]
ON_A_GRID = [name for name in CASES if name not in AT_WAVELENGTHS]


def build(name):
    arch, params = CASES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = resolve_network(arch)(N_LABELS, N_WAVELENGTHS, **params)
    return network.double().requires_grad_(False).eval()


def stars(n=N_STARS):
    generator = torch.Generator().manual_seed(11)
    return 2 * torch.rand(n, N_LABELS, generator=generator, dtype=torch.float64) - 1


def wavelengths(n_stars=None, n=N_WAVELENGTHS):
    grid = torch.linspace(3.65, 3.66, n, dtype=torch.float64)
    if n_stars is None:
        return grid
    return grid + 1e-4 * torch.arange(n_stars, dtype=torch.float64)[:, None]


def by_reverse_mode(network, labels, *wavelength):
    """Derivatives (B, L, P) of one star after another."""
    return torch.stack(
        [
            torch.autograd.functional.jacobian(
                lambda x, row=row: network(
                    x[None], *(w[row : row + 1] for w in wavelength)
                )[0],
                labels[row],
            ).T
            for row in range(len(labels))
        ]
    )


@pytest.mark.parametrize("name", ON_A_GRID)
def test_derivatives_by_labels_equal_those_of_autograd(name):
    network, labels = build(name), stars()
    flux, jacobian = evaluate_with_jacobian(network, labels)
    torch.testing.assert_close(flux, network(labels))
    torch.testing.assert_close(jacobian, by_reverse_mode(network, labels))
    assert jacobian.abs().max() > 1e-3
    assert not jacobian.requires_grad


@pytest.mark.parametrize("by_wavelength", [False, True])
@pytest.mark.parametrize("name", AT_WAVELENGTHS)
def test_derivatives_at_wavelengths_equal_those_of_autograd(name, by_wavelength):
    network, labels, wavelength = build(name), stars(), wavelengths(N_STARS)
    flux, jacobian = evaluate_with_jacobian(
        network, labels, wavelength, by_wavelength=by_wavelength
    )
    torch.testing.assert_close(flux, network(labels, wavelength))
    torch.testing.assert_close(
        jacobian[:, :N_LABELS], by_reverse_mode(network, labels, wavelength)
    )
    assert jacobian.shape == (N_STARS, N_LABELS + by_wavelength, N_WAVELENGTHS)
    assert jacobian.abs().max() > 1e-3


@pytest.mark.parametrize("name", AT_WAVELENGTHS)
def test_derivative_by_wavelength_equals_differences(name):
    network, labels, wavelength = build(name), stars(), wavelengths(N_STARS)
    _, jacobian = evaluate_with_jacobian(
        network, labels, wavelength, by_wavelength=True
    )
    # the shortest period is 1e-4 dex, 6e4 radians per dex: with this step the third
    # derivative leaves (6e4 * 1e-8)**2 / 6 = 6e-8, rounding 1e-16 / 1e-8
    step = 1e-8
    up, down = network(labels, wavelength + step), network(labels, wavelength - step)
    expected = (up - down) / (2 * step)
    scale = expected.abs().max().item()
    assert scale > 1
    torch.testing.assert_close(jacobian[:, -1], expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", AT_WAVELENGTHS)
def test_shared_wavelengths_stand_for_all_stars(name):
    network, labels, shared = build(name), stars(), wavelengths()
    once = evaluate_with_jacobian(network, labels, shared, by_wavelength=True)
    each = evaluate_with_jacobian(
        network, labels, shared.expand(N_STARS, -1).clone(), by_wavelength=True
    )
    torch.testing.assert_close(once, each)


@pytest.mark.parametrize(("n_stars", "n_wavelengths"), [(2, 4999), (1709, 5)])
def test_blocks_are_put_together_in_order(n_stars, n_wavelengths):
    # more pixels than fit in one block, in either direction
    network = build("user's, at wavelengths")
    labels, wavelength = stars(n_stars), wavelengths(n_stars, n_wavelengths)
    flux, jacobian = evaluate_with_jacobian(
        network, labels, wavelength, by_wavelength=True
    )
    torch.testing.assert_close(flux, evaluate(network, labels, wavelength))
    level = network.layer(labels).tanh()
    torch.testing.assert_close(jacobian[:, -1], level * 300 * (300 * wavelength).cos())
    by_label = (1 - level**2) * network.layer.weight
    torch.testing.assert_close(
        jacobian[:, :-1], by_label[:, :, None] * (300 * wavelength).sin()[:, None]
    )


@pytest.mark.parametrize("by_wavelength", [False, True])
@pytest.mark.parametrize("n_heads", [1, 2])
def test_derivatives_by_hand_equal_those_of_forward_mode(n_heads, by_wavelength):
    # two blocks of wavelengths, of which the second is short
    labels, wavelength = stars(2), wavelengths(2, 4999)
    network = NETWORKS["transformer"](
        *(N_LABELS, N_WAVELENGTHS),
        **{"width": 8, "n_layers": 2, "n_tokens": 3, "n_heads": n_heads},
        **{"zero_init": False, **PERIODS},
    ).double()
    ours = evaluate_with_jacobian(
        network, labels, wavelength, by_wavelength=by_wavelength
    )

    class Split(nn.Module):
        """The same without the method."""

        takes_wavelength = True

        def forward(self, labels, log_wavelength):
            return network(labels, log_wavelength)

    theirs = evaluate_with_jacobian(
        resolve_network(Split)(), labels, wavelength, by_wavelength=by_wavelength
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ON_A_GRID)
def test_network_on_a_fixed_grid_has_no_derivative_by_wavelength(name):
    with pytest.raises(
        ValueError, match=r"`by_wavelength` must be False .* interpolate"
    ):
        evaluate_with_jacobian(build(name), stars(), wavelengths(), by_wavelength=True)


@pytest.mark.parametrize("name", CASES)
def test_single_precision_stays_single(name):
    network = build(name).float()
    wavelength = wavelengths() if name in AT_WAVELENGTHS else None
    flux, jacobian = evaluate_with_jacobian(network, stars().float(), wavelength)
    double = evaluate_with_jacobian(network.double(), stars(), wavelength)
    assert flux.dtype == jacobian.dtype == torch.float32
    # activations of order one carry 1e-7; a few layers and periods of 1e-4 dex
    # leave a hundred times that
    torch.testing.assert_close(flux.double(), double[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(jacobian.double(), double[1], rtol=0, atol=1e-4)
