"""Tests of the warning that flux is far from the level of the emulator."""

import re
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from regressors import make_regressor
from sklearn.exceptions import ConvergenceWarning
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation
from sk_payne.exceptions import FluxLevelWarning
from sk_payne.spectra import SpectrumSet


@pytest.fixture(scope="module")
def flux(emulator, draw_labels):
    """Three spectra with noise of S/N 100; don't write into them."""
    flux = emulator.predict(draw_labels(3))
    flux = flux + np.random.default_rng(0).normal(size=flux.shape) / 100
    flux.flags.writeable = False
    return flux


@pytest.fixture(scope="module")
def photons(grid, make_emulator):
    """An emulator of absolute flux, 15 times brighter at its hot end; don't change."""
    brightness = 1e18 * (grid.data[:, :1] / 5000) ** 6
    return make_emulator(max_steps=607).fit(grid.data, grid.target * brightness)


def spectra(flux, wavelength, error=0.01, medium="air"):
    return SpectrumSet(
        flux,
        np.broadcast_to(np.asarray(error, dtype=float) ** -2, flux.shape),
        wavelength=wavelength,
        medium=medium,
        resolving_power=np.full(flux.shape, 20_000.0),
    )


def silent(regressor, *args, **options):
    """Measure with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return regressor.measure(*args, **options)


@pytest.mark.parametrize("factor", [1474.0, 2.2, 0.4, 1e-16])
def test_flux_at_another_level_is_told_with_both_levels_and_the_way_out(
    emulator, flux, factor
):
    scaled, error = flux.copy(), np.full(flux.shape, 0.01)
    scaled[1:] *= factor
    error[1:] *= factor
    told = re.escape(f"{np.median(scaled[1]):.4g}")
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None))
    with pytest.warns(
        FluxLevelWarning,
        match=rf"2 of 3 spectra .*spectrum 1: its median is {told}, that of model "
        r"spectra is 0\.\d+ to [01][.\d]*\. .*Observation\(continuum_degree=2\)",
    ):
        regressor.measure(scaled, uncertainty=error)


def test_warning_names_the_line_of_the_caller(emulator, flux):
    regressor = AbundanceRegressor(emulator, snr=100)
    with warnings.catch_warnings():
        # no star is so bright, and its fit need not converge
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.warns(FluxLevelWarning) as told:
            regressor.predict(9 * flux)
    assert told[0].filename == __file__


def test_spectra_with_wavelengths_are_judged_where_the_emulator_is(emulator, flux):
    own = emulator.wavelength_
    step = own[1] - own[0]
    wavelength = np.concatenate([own[0] - step * np.arange(600, 0, -1), own])
    # the rest of the spectrum may be at any level
    wide = np.concatenate([np.full((3, 600), 7.0), flux], axis=1)
    regressor = AbundanceRegressor(emulator)
    silent(regressor, spectra(wide, wavelength))
    with pytest.warns(FluxLevelWarning, match="3 of 3 spectra"):
        regressor.measure(spectra(wide / 7, wavelength))


def test_continuum_that_is_fitted_takes_any_level(emulator, flux):
    star = spectra(1474 * flux, emulator.wavelength_, 14.74)
    silent(AbundanceRegressor(emulator, Observation(continuum_degree=2)), star)


@pytest.mark.parametrize("snr", [2.0, 10.0, 100.0])
def test_no_star_of_the_box_is_told(emulator, grid, snr):
    low, high = emulator.label_low_, emulator.label_high_
    corners = np.stack(np.meshgrid(*zip(low, high, strict=True)), -1).reshape(-1, 3)
    noise = np.random.default_rng(1).normal(size=(len(corners), 257)) / snr
    stars = spectra(emulator.predict(corners) + noise, grid.wavelength, 1 / snr)
    silent(AbundanceRegressor(emulator, Observation(velocity_range=None)), stars)


def test_level_may_depend_on_labels_and_have_any_unit(photons, grid):
    rows = [int(grid.data[:, 0].argmin()), int(grid.data[:, 0].argmax())]
    flux = photons.predict(grid.data[rows])
    error = 0.01 * flux
    assert flux[1].mean() > 5 * flux[0].mean()
    regressor = AbundanceRegressor(photons, Observation(velocity_range=None))
    silent(regressor, flux, uncertainty=error)
    with pytest.warns(FluxLevelWarning, match="2 of 2 spectra"):
        regressor.measure(1e-18 * flux, uncertainty=1e-18 * error)


def test_noise_is_no_level(emulator, flux):
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None))
    nothing = 0.2 * flux
    with pytest.warns(FluxLevelWarning, match="3 of 3"):
        regressor.measure(nothing, uncertainty=np.full(flux.shape, 0.1))
    silent(regressor, nothing, uncertainty=np.full(flux.shape, 10.0))


def test_stars_with_few_good_pixels_are_not_judged(emulator, flux):
    scaled = 9 * flux
    scaled[:, : 257 // 2 + 2] = np.nan
    silent(AbundanceRegressor(emulator, snr=100), scaled)


def test_padding_is_no_bad_pixel(emulator, flux):
    stars = [
        Spectrum(
            flux=9 * row[pixels] * u.one,
            spectral_axis=emulator.wavelength_[pixels] * u.AA,
            uncertainty=StdDevUncertainty(np.full(len(row[pixels]), 0.01)),
            meta={"medium": "air", "resolving_power": 20_000.0},
        )
        for row, pixels in zip(flux[:2], (slice(0, 90), slice(None)), strict=True)
    ]
    with pytest.warns(FluxLevelWarning, match="2 of 2 spectra"):
        AbundanceRegressor(emulator).measure(stars)


def test_every_way_to_measure_tells_it(emulator, flux):
    regressor = make_regressor(emulator, velocity_range=None, snr=100)
    for method, how in (
        ("predict", {}),
        ("limits", {"labels": ["Fe_H"]}),
        ("posterior", {"sampler": "importance", "n_draws": 9, "random_state": 0}),
    ):
        with pytest.warns(FluxLevelWarning):
            getattr(regressor, method)(9 * flux[:1], **how)
