"""Tests of molecules and electrons, against numpy's roots and sums."""

import numpy as np
import pytest
import torch

from sk_payne.networks._chemistry import Chemistry, find_abundances

NAMES = ["teff", "C_H", "O_H", "Fe_H"]
CENTER, HALF_WIDTH = [5000.0, -0.5, -0.25, 0.0], [1000.0, 1.5, 1.25, 1.0]


def labels_of(n=17, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, 4, generator=generator, dtype=torch.float64) - 1


def features_of(labels, names=NAMES):
    chemistry = Chemistry(find_abundances(names, CENTER, HALF_WIDTH))
    return chemistry.double()(labels)


def test_carbon_monoxide_leaves_what_the_law_of_mass_action_says():
    labels = labels_of()
    left = 10 ** (3 * features_of(labels).numpy())
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


def test_electrons_are_the_sum_of_the_ionised_abundances():
    labels = labels_of()
    found = 10 ** features_of(labels, ["teff", "Na_H", "Mg_H", "Si_H"])[:, 6:].numpy()
    solar, energy = np.array([6.24, 7.60, 7.51]), np.array([5.14, 7.65, 8.15])
    log_n = solar + np.array(CENTER[1:]) + labels[:, 1:].numpy() * HALF_WIDTH[1:]
    for column, cut in enumerate((5.6, 7.2, 8.6)):
        ionised = 1 / (1 + np.exp((energy - cut) / 0.35))
        expected = (10 ** (log_n - 6) * ionised).sum(axis=1)
        np.testing.assert_allclose(found[:, column], expected, rtol=2e-6)


def test_features_are_zero_where_abundances_are_not_known():
    features = features_of(labels_of(), ["teff", "Na_H", "logg", "Si_H"])
    assert (features[:, :6] == 0).all()
    assert (features[:, 6:] != 0).all()
    features = features_of(labels_of(), ["teff", "C_H", "O_H", "logg"])
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
    chemistry = Chemistry(find_abundances(NAMES, CENTER, HALF_WIDTH)).to(dtype)
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
    found = find_abundances(names, CENTER, HALF_WIDTH)
    np.testing.assert_allclose(found["C"], carbon, rtol=1e-14)


@pytest.mark.parametrize(
    "names", [["teff", "logg"], ["label_0", "label_1"], ["C_Fe", "logg"], ["Xy_H"]]
)
def test_nothing_is_found_where_nothing_is_said(names):
    assert find_abundances(names, CENTER, HALF_WIDTH) == {}
