"""Tests of the opacity network, against its formulas in numpy."""

import math

import numpy as np
import pytest
import torch

from sk_payne.networks import OpacityPayne

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


@pytest.mark.parametrize("options", [{}, chemistry()])
def test_forward_is_the_formula(options):
    network = make(**options)
    with torch.no_grad():
        network.offset.normal_()
        network.wavelength_code.normal_()
    w = {name: p.detach().numpy() for name, p in network.named_parameters()}
    p = labels_of().numpy()
    rate = 1.5 * math.log(10)
    exponential = 2 * (np.exp(rate * (p - 1)) - np.exp(-rate))
    first = p @ w["from_labels.weight"].T + w["from_labels.bias"]
    first += exponential @ w["from_exponentials.weight"].T
    if options:
        first += network.bonds(torch.from_numpy(p)).detach().numpy()
    star = gelu(gelu(first) @ w["hidden.weight"].T + w["hidden.bias"])
    n = np.exp(
        p @ w["powers.weight"].T
        + star @ w["populations.weight"].T
        + w["populations.bias"]
    )
    tau = np.einsum("bk,pmk->bpm", n, np.exp(w["strength"]))
    code = star @ w["star_code.weight"].T + w["star_code.bias"]
    x = np.log(tau + 1e-6) @ w["sums.weight"].T + w["sums.bias"]
    x = gelu(x + w["wavelength_code"] + code[:, None, :5])
    x = gelu(x @ w["growth.weight"].T + w["growth.bias"] + code[:, None, 5:])
    expected = (x @ w["flux.weight"].T)[..., 0] + w["flux.bias"] + w["offset"]
    found = network(torch.from_numpy(p)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_every_population_starts_as_a_power_of_one_label():
    weight = make().powers.weight.detach()
    assert ((weight != 0).sum(dim=1) == 1).all()
    assert ((weight != 0).sum(dim=0) >= 2).all()


def test_carbon_monoxide_leaves_what_the_law_of_mass_action_says():
    network = make(**chemistry())
    # read the input of the last layer
    seen = []
    network.bonds.left.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    labels = labels_of()
    network(labels)
    left = 10 ** (3 * seen[0].numpy())
    # the constants are kept in float32
    carbon, oxygen = np.float32([8.43 - 0.5, 8.69 - 0.25]).astype(float)
    c = 10 ** (carbon + 1.5 * labels[:, 1].numpy() - 8)
    o = 10 ** (oxygen + 1.25 * labels[:, 2].numpy() - 8)
    for column, bond in enumerate((9.0, 7.0, 5.0)):
        b = 10 ** (bond - 8)
        for side, (this, other) in enumerate(((c, o), (o, c))):
            expected = [
                max(np.roots([1, y - x + b, -b * x]).real)
                for x, y in zip(this, other, strict=True)
            ]
            found = left[:, 2 * column + side]
            np.testing.assert_allclose(found, expected, rtol=1e-9)
        # what is bound is as much of the one as of the other
        bound = [x - left[:, 2 * column + i] for i, x in enumerate((c, o))]
        np.testing.assert_allclose(bound[0], bound[1], rtol=1e-9, atol=1e-9)


def test_carbon_monoxide_is_smooth_where_carbon_equals_oxygen():
    network = make(carbon=[8.5, 0.0, 1.0, 0.0, 0.0], oxygen=[8.5, 0.0, 0.0, 1.0, 0.0])
    labels = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(network(labels).sum(), labels)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize(
    ("names", "carbon"),
    [
        (["teff", "C_H", "O_H", "Fe_H"], [8.43 - 0.5, 0, 1.5, 0, 0]),
        (["teff", "[C/H]", "[O/H]", "x"], [8.43 - 0.5, 0, 1.5, 0, 0]),
        (["teff", "C_Fe", "O_Fe", "Fe_H"], [8.43 - 0.5, 0, 1.5, 0, 1.0]),
    ],
)
def test_label_params_find_carbon(names, carbon):
    found = OpacityPayne.label_params(names, CENTER, HALF_WIDTH)
    np.testing.assert_allclose(found["carbon"], carbon, rtol=1e-14)


@pytest.mark.parametrize(
    "names",
    [
        ["teff", "C_H", "logg", "Fe_H"],  # no oxygen
        ["teff", "C_Fe", "O_Fe", "logg"],  # no iron
        ["label_0", "label_1", "label_2", "label_3"],
        ["teff", "Ca_H", "Co_H", "Fe_H"],
    ],
)
def test_label_params_are_none_without_carbon_and_oxygen(names):
    assert OpacityPayne.label_params(names, CENTER, HALF_WIDTH) == {}


def test_network_at_the_centre_does_not_depend_on_the_layers_of_the_labels():
    # so that fine-tuning may forget what the base never saw vary
    network = make()
    center = torch.zeros(1, 4, dtype=torch.float64)
    before = network(center)
    for name in network.label_layers:
        torch.nn.init.normal_(network.get_submodule(name).weight)
    torch.testing.assert_close(network(center), before, rtol=1e-12, atol=1e-12)
