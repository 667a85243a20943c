"""Tests of molecules and electrons, against numpy's roots and sums."""

from itertools import product

import numpy as np
import pytest
import torch
from astropy import constants as c
from scipy.optimize import brentq

from sk_payne.networks._chemistry import _LAYERS, Chemistry, find_labels

NAMES = ["teff", "C_H", "O_H", "Fe_H"]
CENTER, HALF_WIDTH = [5000.0, -0.5, -0.25, 0.0], [1000.0, 1.5, 1.25, 1.0]


@pytest.fixture(scope="module")
def atmospheres(data_file):
    with np.load(data_file("atlas9_k2.npz")) as file:
        return [file[k] for k in ("layers", "metallicity", "log_g", "teff")]


def labels_of(n=17, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, 4, generator=generator, dtype=torch.float64) - 1


def features_of(labels, names=NAMES):
    chemistry = Chemistry(find_labels(names, CENTER, HALF_WIDTH))
    return chemistry.double()(labels)


def test_carbon_monoxide_leaves_what_the_law_of_mass_action_says():
    labels = labels_of()
    left = 10 ** (3 * features_of(labels).numpy())
    # the constants are kept in float32
    carbon, oxygen = np.float32([8.43 - 0.5, 8.69 - 0.25]).astype(float)
    n_c = 10 ** (carbon + 1.5 * labels[:, 1].numpy() - 8)
    n_o = 10 ** (oxygen + 1.25 * labels[:, 2].numpy() - 8)
    for column, bond in enumerate((9.0, 7.0, 5.0)):
        b = 10 ** (bond - 8)
        for side, (this, other) in enumerate(((n_c, n_o), (n_o, n_c))):
            expected = [
                max(np.roots([1, y - x + b, -b * x]).real)
                for x, y in zip(this, other, strict=True)
            ]
            found = left[:, 2 * column + side]
            np.testing.assert_allclose(found, expected, rtol=1e-9)
        # what is bound is as much of the one as of the other
        bound = [x - left[:, 2 * column + i] for i, x in enumerate((n_c, n_o))]
        np.testing.assert_allclose(bound[0], bound[1], rtol=1e-9, atol=1e-9)


def test_electrons_are_those_of_the_saha_equation():
    names = ["teff", "logg", "Na_H", "Mg_H", "Fe_H"]
    center, half_width = [5000.0, 4.4, -0.5, -0.5, -0.5], [1000.0, 0.5, 1.5, 1.5, 1.5]
    labels = 2 * torch.rand(17, 5, dtype=torch.float64) - 1
    linear = find_labels(names, center, half_width)
    linear = {name: linear[name] for name in ("teff", "logg", "Na", "Mg", "Fe")}
    found = Chemistry(linear).double()(labels)[:, 6:].numpy()
    teff, logg, *metals = (np.array(center) + labels.numpy() * half_width).T
    k, m, h = c.k_B.cgs.value, c.m_e.cgs.value, c.h.cgs.value
    for layer, (factor, log_p, by_logg, by_iron, by_teff) in enumerate(_LAYERS):
        for star in range(len(labels)):
            T = factor * teff[star]
            log_p_star = (
                log_p + by_logg * (logg[star] - 4.5) + by_iron * metals[2][star]
            )
            n_h = 10 ** (log_p_star + by_teff * (teff[star] - 5000) / 1000) / (k * T)
            log_n = np.array([12.0, 6.24, 7.60, 7.50]) - 12
            log_n[1:] += [metal[star] for metal in metals]
            n = n_h * 10**log_n
            energy = np.array([13.60, 5.14, 7.65, 7.90]) * 1.602177e-12
            ratio = np.array([1 / 2, 1 / 2, 2, 30 / 25])
            s = 2 * ratio * (2 * np.pi * m * k * T / h**2) ** 1.5
            s *= np.exp(-energy / (k * T))
            log_e = brentq(
                lambda x, n=n, s=s: np.log((n * s / (s + np.exp(x))).sum()) - x, 0, 60
            )
            expected = (log_e - np.log(n_h)) / np.log(10) + 5
            assert found[star, layer] == pytest.approx(expected, abs=2e-3)


def test_a_sun_has_an_electron_for_ten_thousand_hydrogen_atoms():
    # Gray, "The Observation and Analysis of Stellar Photospheres", table 9.2: around
    # 5000 K the electron pressure is 1e-4 of the gas pressure
    names, center = ["teff", "logg", "Fe_H"], [5772.0, 4.44, 0.0]
    chemistry = Chemistry(find_labels(names, center, [1000.0, 0.5, 1.0]))
    electrons = 10 ** (chemistry(torch.zeros(1, 3))[0, 6:] - 5)
    assert 0.7e-4 < electrons[1] < 1.5e-4


@pytest.mark.parametrize("layer", range(len(_LAYERS)))
def test_gas_pressure_is_about_that_of_model_atmospheres(layer, atmospheres):
    factor, log_p, by_logg, by_iron, by_teff = _LAYERS[layer]
    columns, metallicity, log_g, teff = atmospheres
    off = []
    for (i, iron), (j, g), (k, t) in product(
        enumerate(metallicity), enumerate(log_g), enumerate(teff)
    ):
        if 4000 <= t <= 6000 and 4 <= g <= 5:
            _, T, pressure, _ = columns[i, j, k].T
            order = np.argsort(T)
            expected = np.interp(factor * t, T[order], np.log10(pressure[order]))
            found = log_p + by_logg * (g - 4.5) + by_iron * iron
            off.append(found + by_teff * (t - 5000) / 1000 - expected)
    assert abs(np.mean(off)) < 0.05
    assert np.std(off) < (0.08, 0.08, 0.3)[layer]


def test_features_are_zero_where_abundances_are_not_known():
    features = features_of(labels_of(), ["teff", "Na_H", "logg", "Si_H"])
    assert (features[:, :6] == 0).all()
    assert (features[:, 6:] != 0).all()
    features = features_of(labels_of(), ["vsini", "C_H", "O_H", "logg"])
    assert (features[:, :6] != 0).all()
    assert (features[:, 6:] == 0).all()


def test_features_are_smooth_where_carbon_equals_oxygen():
    form = [8.5, 0.0, 1.0, 0.0, 0.0], [8.5, 0.0, 0.0, 1.0, 0.0]
    chemistry = Chemistry(dict(zip("CO", form, strict=True))).double()
    labels = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(chemistry(labels).sum(), labels)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_of_extreme_stars_are_finite(dtype):
    chemistry = Chemistry(find_labels(NAMES, CENTER, HALF_WIDTH)).to(dtype)
    corners = torch.cartesian_prod(*[torch.tensor([-2.0, 2.0])] * 4).to(dtype)
    features = chemistry(corners)
    assert features.shape == (16, Chemistry.n_features)
    assert torch.isfinite(features).all()
    assert features.abs().max() < 10


@pytest.mark.parametrize(
    ("names", "carbon"),
    [
        (["teff", "C_H", "O_H", "Fe_H"], [8.43 - 0.5, 0, 1.5, 0, 0]),
        (["teff", "[C/H]", "[O/H]", "x"], [8.43 - 0.5, 0, 1.5, 0, 0]),
        (["teff", "C_Fe", "O_Fe", "Fe_H"], [8.43 - 0.5, 0, 1.5, 0, 1.0]),
        (["teff", "[C/M]", "O_Fe", "[M/H]"], [8.43 - 0.5, 0, 1.5, 0, 1.0]),
        (["teff", "logg", "vsini", "Fe_H"], [8.43, 0, 0, 0, 1.0]),
    ],
)
def test_carbon_is_found_in_every_notation(names, carbon):
    found = find_labels(names, CENTER, HALF_WIDTH)
    np.testing.assert_allclose(found["C"], carbon, rtol=1e-14)


@pytest.mark.parametrize(
    "names", [["teff", "logg"], ["label_0", "label_1"], ["C_Fe", "logg"], ["Xy_H"]]
)
def test_nothing_is_found_where_nothing_is_said(names):
    assert find_labels(names, CENTER, HALF_WIDTH) == {}
