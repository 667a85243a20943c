"""Tests of the continuum: a polynomial for each segment of a spectrograph."""

import numpy as np
import pytest
import torch

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._continuum import (
    ContinuumModel,
    continuum_basis,
    fit_continuum,
)
from sk_payne.spectra import SpectrumSet

TWO_SEGMENTS = np.r_[np.linspace(4000, 4010, 30), np.linspace(4500, 4600, 40)]


def dense(basis):
    """All polynomials of the first star, each zero outside its segment."""
    segment = basis.segment[0].numpy()
    rows = [
        polynomial * (segment == i)
        for i in np.unique(segment)
        for polynomial in basis.polynomials[0].numpy()
    ]
    return np.array([row for row in rows if row.any()])


def test_basis_spans_polynomials_of_each_segment():
    ivar = np.ones((1, 70))
    ivar[0, 5] = 0
    basis = continuum_basis(TWO_SEGMENTS[None], ivar, 2)
    wanted = np.where(TWO_SEGMENTS < 4100, 3 + (TWO_SEGMENTS - 4000) ** 2, -7.0)
    rows, good = dense(basis), ivar[0] > 0
    solution = np.linalg.lstsq(rows.T[good], wanted[good], rcond=None)[0]
    np.testing.assert_allclose((rows.T @ solution)[good], wanted[good], rtol=1e-10)
    assert not rows[:, ~good].any()


def test_basis_of_short_segments_has_only_what_they_determine():
    wavelength = np.array([[4000.0, 4001.0, 4002.0, 4003.0, 4004.0, 5000.0]])
    basis = continuum_basis(wavelength, np.ones((1, 6)), 2)
    assert basis.n_coefficients.tolist() == [4]
    assert basis.polynomials[0, :, -1].tolist() == [1, 0, 0]


def test_segments_end_at_gaps_and_arms_and_not_at_masked_pixels():
    wavelength = np.linspace(4000, 4100, 500)
    ivar = np.ones((4, 500))
    ivar[1, 100:400] = 0
    ivar[2, :30] = ivar[2, 200:230] = ivar[2, 300:330] = 0
    ivar[3] = 0
    alike = np.broadcast_to(wavelength, (4, 500))
    basis = continuum_basis(alike, ivar, 1)
    assert basis.n_segments.tolist() == [1, 1, 1, 0]
    assert basis.n_coefficients.tolist() == [2, 2, 2, 0]
    # pixels that are absent make a gap
    keep = np.r_[0:100, 400:500]
    assert continuum_basis(alike[:1, keep], ivar[:1, keep], 1).n_segments == [2]
    # an arm of coarse pixels has no gaps, however fine another one is
    both = np.r_[np.linspace(4000, 4010, 1001), np.linspace(4005, 4205, 101)][None]
    arm = np.repeat([[0, 1]], [1001, 101], axis=1)
    assert continuum_basis(both, np.ones(both.shape), 2, arm).n_segments == [2]


@pytest.mark.parametrize("degree", [0, 2])
def test_continuum_of_many_segments_is_that_of_a_dense_solution(degree):
    rng = np.random.default_rng(0)
    keep = np.sort(rng.permutation(40)[:31])
    wavelength = (4000 + 20 * keep[:, None] + np.arange(17) / 10).reshape(1, -1)
    shape = wavelength.shape
    flux, model = rng.uniform(1, 2, shape), rng.uniform(0.5, 1, shape)
    ivar = rng.uniform(1, 9, shape) * (rng.uniform(size=shape) > 0.2)
    basis = continuum_basis(wavelength, ivar, degree)
    assert basis.n_segments == [31]
    rows = dense(basis) * model
    weighted = rows * ivar
    coefficients = np.linalg.solve(weighted @ rows.T, weighted @ flux[0])
    expected = (coefficients @ dense(basis))[ivar[0] > 0]
    found = fit_continuum(flux, ivar, basis, model)[ivar > 0]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


class Linear:
    """A model whose derivatives are given functions of the pixels."""

    def __init__(self, flux, jacobian):
        self._flux, self._jacobian = flux, jacobian

    def flux(self, rows, parameters):
        return self._flux[rows]

    def linearize(self, rows, parameters):
        return self._flux[rows], self._jacobian[rows]


def test_stars_of_unlike_segments_have_continua_as_if_alone():
    rng = np.random.default_rng(2)
    split = np.arange(70)
    wavelength = np.stack(
        [TWO_SEGMENTS, 4000 + split / 10, 4000 + split / 10 + 50 * (split > 11)]
    )
    flux = torch.from_numpy(rng.uniform(1, 2, (3, 70)))
    ivar = torch.from_numpy(rng.uniform(1, 2, (3, 70)))
    model = Linear(flux.flip(0), torch.from_numpy(rng.normal(size=(3, 5, 70))))
    basis = continuum_basis(wavelength, ivar.numpy(), 1)
    assert basis.n_segments.tolist() == [2, 1, 2]
    together = ContinuumModel(model, flux, ivar, basis)
    found = together.linearize(torch.arange(3), None)
    for i in range(3):
        row = torch.tensor([i])
        alone = Linear(model.flux(row, None), model.linearize(row, None)[1])
        own = continuum_basis(wavelength[[i]], ivar[[i]].numpy(), 1)
        expected = ContinuumModel(alone, flux[[i]], ivar[[i]], own)
        expected = expected.linearize(torch.tensor([0]), None)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one[[i]], other, rtol=1e-12, atol=1e-12)


def test_masked_runs_take_no_degrees_of_freedom(emulator, draw_labels):
    labels = draw_labels(2)
    flux = 3 * emulator.predict(labels)
    ivar = np.full(flux.shape, 1e4)
    ivar[1, 40:52] = ivar[1, 100:112] = ivar[1, 160:172] = 0
    stars = SpectrumSet(
        flux, ivar, wavelength=emulator.wavelength_, medium=emulator.medium
    )
    regressor = AbundanceRegressor(
        emulator, Observation(continuum_degree=2, resolving_power="emulator")
    )
    table = regressor.measure(stars)
    taken = np.asarray(table["n_pixels"] - table["dof"])
    assert taken[0] == taken[1]
    assert table["n_segments"].tolist() == [1, 1]
    np.testing.assert_allclose(table["teff"].value, labels[:, 0], atol=2.0)
