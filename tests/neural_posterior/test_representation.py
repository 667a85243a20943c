"""Spectra on any pixels, with any continuum, look alike to the network."""

import numpy as np
import pytest
import torch

from sk_payne.neural_posterior._bins import Bins, PixelLayout
from sk_payne.spectra import SpectrumSet


def layout_of(bins, wavelength, arm=None, **changes):
    grid = np.geomspace(3000, 9000, 99_999)
    options = {"degree": None, "grid": grid, "velocities": (0.0, 0.0), "reach": 0.0}
    return PixelLayout(bins, wavelength, arm, **(options | changes))


def binned(layout, flux, ivar):
    tensors = (torch.from_numpy(v.astype(np.float32)) for v in (flux, ivar))
    flux, ivar = (t[:, layout.span] for t in tensors)
    return [values.numpy() for values in layout.to_bins(flux, ivar)]


def test_pixels_that_are_the_bins_stay_as_they_are():
    wavelength = np.geomspace(5000, 5100, 400)
    bins = Bins.of_grid(wavelength)
    flux = np.random.default_rng(0).uniform(size=(2, 400))
    found, weight = binned(layout_of(bins, wavelength), flux, np.ones((2, 400)))
    np.testing.assert_allclose(found, flux, rtol=1e-6)
    assert (weight == 1).all()


def test_bins_have_all_the_information_of_the_pixels():
    bins = Bins(np.log(5000), 2e-5, 1000)
    wavelength = np.exp(np.log(5000) + 3.1e-5 * np.arange(20, 500))
    ivar = np.random.default_rng(0).uniform(1, 5, (3, len(wavelength)))
    _, weight = binned(layout_of(bins, wavelength), ivar, ivar)
    np.testing.assert_allclose(weight.sum(axis=1), ivar.sum(axis=1), rtol=2e-3)


def test_a_bin_is_the_weighted_mean_of_its_pixels():
    bins = Bins(np.log(5000), 4e-5, 100)
    wavelength = np.exp(np.log(5000) + 4e-5 * (np.arange(40) / 2 + 9.75))
    rng = np.random.default_rng(0)
    flux, ivar = rng.uniform(size=(1, 40)), rng.uniform(1, 9, (1, 40))
    found, _ = binned(layout_of(bins, wavelength), flux, ivar)
    expected = np.average(flux[0, 4:6], weights=ivar[0, 4:6])
    assert found[0, 12] == pytest.approx(expected, rel=1e-5)


def test_arms_that_overlap_share_bins_and_holes_have_none():
    bins = Bins(np.log(5000), 2e-5, 400)
    one, other = np.arange(50, 150), np.arange(120, 300)
    other = other[(other < 200) | (other > 240)]
    place = np.concatenate([one, other])
    arm = np.repeat([0, 1], [len(one), len(other)])
    wavelength = np.exp(np.log(5000) + 2e-5 * place)
    ones = np.ones((1, len(place)))
    _, weight = binned(layout_of(bins, wavelength, arm), ones, ones)
    assert weight[0, 130] == 2
    assert weight[0, 100] == weight[0, 180] == 1
    assert weight[0, 220] == weight[0, 20] == 0


def test_pixels_that_a_velocity_brings_beyond_the_grid_are_not_used():
    grid = np.geomspace(5000, 5100, 400)
    layout = layout_of(
        Bins.of_grid(grid), grid, grid=grid, velocities=(-200.0, 50.0), reach=10.0
    )
    inside = grid[layout.span]
    assert inside[0] == pytest.approx(5000 * (1 + 60 / 3e5), rel=6e-5)
    assert inside[-1] == pytest.approx(5100 * (1 - 210 / 3e5), rel=6e-5)


@pytest.mark.parametrize(("slope", "largest"), [(0.0, 1e-3), (0.2, 0.3)])
def test_predictions_do_not_depend_on_the_unit_and_the_tilt_of_the_flux(
    posterior, stars, slope, largest
):
    spectra, _, _ = stars(5)
    tilt = 3e-14 * (1 + slope * np.linspace(-1, 1, spectra.shape[1]))
    tilted = spectra.replace(flux=spectra.flux * tilt, ivar=spectra.ivar / tilt**2)
    one, other = posterior.predict(spectra), posterior.predict(tilted)
    error = posterior.sample(spectra, 200, random_state=0)[..., :3].std(axis=1)
    assert (np.abs(one - other) < largest * error).all()


def test_predictions_on_other_pixels_are_those_of_the_same_stars(
    posterior, emulator, stars
):
    grid = emulator.wavelength_
    fine = np.geomspace(grid[0], grid[-1], 3 * len(grid))
    _, labels, _ = stars(20, seed=4)
    noisy, _, _ = stars(20, seed=4, snr=100 / np.sqrt(3), wavelength=fine)
    samples = posterior.sample(noisy, 400, random_state=0)[..., :3]
    pull = (samples.mean(axis=1) - labels) / samples.std(axis=1)
    assert np.abs(pull).max() < 5
    assert 0.4 < pull.std() < 1.6


def test_flux_of_masked_pixels_does_not_matter(posterior, stars):
    spectra, _, _ = stars(3)
    ivar = spectra.ivar.copy()
    ivar[:, 60:75] = 0
    flux = spectra.flux.copy()
    flux[:, 60:75] = 99.0
    one = posterior.predict(SpectrumSet(spectra.flux, ivar, **where(spectra)))
    other = posterior.predict(SpectrumSet(flux, ivar, **where(spectra)))
    np.testing.assert_array_equal(one, other)


def where(spectra):
    names = ("wavelength", "medium", "resolving_power")
    return {name: getattr(spectra, name) for name in names}
