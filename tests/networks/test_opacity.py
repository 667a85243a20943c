"""Tests of the opacity network, against its formulas in numpy."""

import math

import numpy as np
import pytest
import torch

from sk_payne.networks import OpacityPayne
from sk_payne.networks._chemistry import find_labels
from sk_payne.networks._jacobian import jacobian_on_grid

NAMES = ["teff", "C_H", "O_H", "Fe_H"]
CENTER, HALF_WIDTH = [5000.0, -0.5, -0.25, 0.0], [1000.0, 1.5, 1.25, 1.0]


def make(**options):
    torch.manual_seed(0)
    options = {"n_populations": 11, "n_hidden": 7, "width": 5, "n_sums": 3} | options
    return OpacityPayne(4, 13, **options).double()


def chemistry():
    return OpacityPayne.label_params(NAMES, CENTER, HALF_WIDTH)


def labels_of(n=17, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, 4, generator=generator, dtype=torch.float64) - 1


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


@pytest.mark.parametrize("reach", [3, 0])
@pytest.mark.parametrize("options", [{}, chemistry()])
def test_forward_is_the_formula(options, reach):
    network = make(**options, reach=reach)
    with torch.no_grad():
        network.offset.normal_()
        network.wavelength_code.normal_()
        network.rest.weight.normal_()
        network.profile.normal_()
        if options:
            network.chemical_powers.weight.normal_()
    w = {name: p.detach().numpy() for name, p in network.named_parameters()}
    p = labels_of().numpy()
    rate = 1.5 * math.log(10)
    exponential = 2 * (np.exp(rate * (p - 1)) - np.exp(-rate))
    first = p @ w["from_labels.weight"].T + w["from_labels.bias"]
    first += exponential @ w["from_exponentials.weight"].T
    if options:
        features = network.chemistry(torch.from_numpy(p)).numpy()
        first += features @ w["from_chemistry.weight"].T
    star = gelu(gelu(first) @ w["hidden.weight"].T + w["hidden.bias"])
    power = p @ w["powers.weight"].T
    power += star @ w["populations.weight"].T + w["populations.bias"]
    if options:
        power += features @ w["chemical_powers.weight"].T
    n = np.exp(power)
    tau = np.einsum("bk,pmk->bpm", n, np.exp(w["strength"]))
    code = star @ w["star_code.weight"].T + w["star_code.bias"]
    x = np.log(tau + 1e-6) @ w["sums.weight"].T + w["sums.bias"]
    x = gelu(x + w["wavelength_code"] + code[:, None, :5])
    x = gelu(x @ w["growth.weight"].T + w["growth.bias"] + code[:, None, 5:])
    intrinsic = (x @ w["flux.weight"].T)[..., 0] + w["flux.bias"]
    expected = np.array([np.correlate(f, w["profile"]) for f in intrinsic])
    expected += w["offset"] + star @ w["rest.weight"].T
    found = network(torch.from_numpy(p)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_profile_starts_as_a_gaussian_two_wavelengths_wide():
    profile = make().profile.detach()
    assert float(profile.sum()) == pytest.approx(1)
    # half of the maximum one wavelength from it
    assert (profile[2:5] / profile[3]).tolist() == pytest.approx(
        [0.5, 1, 0.5], abs=1e-3
    )


def test_every_population_starts_as_a_power_of_one_label():
    weight = make().powers.weight.detach()
    assert ((weight != 0).sum(dim=1) == 1).all()
    assert ((weight != 0).sum(dim=0) >= 2).all()


def test_network_at_the_centre_does_not_depend_on_the_layers_of_the_labels():
    # so that fine-tuning may forget what the base never saw vary
    network = make()
    center = torch.zeros(1, 4, dtype=torch.float64)
    before = network(center)
    for name in network.label_layers:
        torch.nn.init.normal_(network.get_submodule(name).weight)
    torch.testing.assert_close(network(center), before, rtol=1e-12, atol=1e-12)


def test_label_params_find_teff_and_abundances():
    assert chemistry() == {"linear": find_labels(NAMES, CENTER, HALF_WIDTH)}
    assert OpacityPayne.label_params(["label_0"], [0.0], [1.0]) == {}


def test_options_of_a_label_free_network_build_one_without_chemistry():
    assert make().chemistry is None
    assert make(**chemistry()).chemistry is not None


@pytest.mark.parametrize("options", [{}, chemistry(), {"reach": 0}])
def test_derivatives_are_those_of_torchs_forward_mode(options):
    network = make(**options)
    torch.nn.init.normal_(network.rest.weight, std=0.1)
    labels = torch.rand(3, 4, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        flux, jacobian = network.jacobian(labels)
        expected_flux, expected = jacobian_on_grid(network, labels)
    torch.testing.assert_close(flux, expected_flux, rtol=0, atol=1e-12)
    torch.testing.assert_close(jacobian, expected, rtol=0, atol=1e-12)
    assert jacobian.abs().max() > 0.01


def test_low_rank_tables_equal_full_tables_of_their_products():
    """A network of full tables that are set to the products has the same flux."""
    low, full = make(rank=2), make()
    tables, own = low.low_rank, full.state_dict()
    with torch.no_grad():
        tables.to_code.weight.normal_()
        tables.to_rest.weight.normal_()
        shared = {k: v for k, v in low.state_dict().items() if k in own}
        numbers = tables.numbers
        strength = numbers @ tables.to_strength.weight.T + tables.to_strength.bias
        products = {
            "strength": strength.reshape(19, 3, 11),
            "wavelength_code": numbers @ tables.to_code.weight.T,
            "rest.weight": numbers[3:-3] @ tables.to_rest.weight,
        }
        full.load_state_dict(shared | products)
        found = low(labels_of())
        torch.testing.assert_close(found, full(labels_of()), rtol=1e-10, atol=1e-12)
        jacobian = low.jacobian(labels_of())[1]
        expected = jacobian_on_grid(low, labels_of())[1]
    torch.testing.assert_close(jacobian, expected, rtol=1e-10, atol=1e-12)


def test_low_rank_has_fewer_weights_by_the_ratio_of_the_rank_to_the_tables():
    def per_wavelength(**options):
        sizes = [
            sum(w.numel() for w in OpacityPayne(3, n, **options).parameters())
            for n in (100, 101)
        ]
        return sizes[1] - sizes[0]

    # strengths of 96 populations in 4 sums, a code of 32, 256 for the rest, an offset
    assert per_wavelength() == 4 * 96 + 32 + 256 + 1
    assert per_wavelength(rank=64) == 64 + 1
