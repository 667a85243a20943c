"""Pixels that an emulator cannot reach cost nothing and change nothing."""

import numpy as np
import pytest
from analytic import LABEL_NAMES, make_emulator
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from regressors import block_of
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._fitted_emulator import as_fitted_emulator
from sk_payne.abundances._wavelengths import pixels_in_reach
from sk_payne.datasets import make_spectra
from sk_payne.spectra import as_spectra, doppler_factor


@pytest.fixture(scope="module")
def star(emulator, grid):
    """A star of 40 km/s amid the spectrum of a large spectrograph, without light."""
    step = grid.wavelength[1] - grid.wavelength[0]
    wavelength = np.arange(4000.0, 5000.0, step)
    flux = np.interp(
        wavelength,
        grid.wavelength * doppler_factor(40.0),
        emulator.predict(grid.data[:1])[0],
    )
    return Spectrum(
        flux=flux * u.one,
        spectral_axis=wavelength * u.AA,
        uncertainty=StdDevUncertainty(np.full(len(flux), 0.01)),
        meta={"medium": grid.medium, "resolving_power": 20_000.0},
    )


def test_far_pixels_change_nothing(emulator, grid, star):
    regressor = AbundanceRegressor(emulator, Observation(continuum_degree=1))
    first, last = grid.wavelength[[0, -1]]
    inside = (star.wavelength.value > first - 10) & (star.wavelength.value < last + 10)
    part = star[np.flatnonzero(inside)[0] : np.flatnonzero(inside)[-1] + 1]
    table, model = regressor.measure(star, return_model=True)
    expected, part_model = regressor.measure(part, return_model=True)
    assert table["label_flags"] == expected["label_flags"]
    for name in expected.colnames[:-1]:
        np.testing.assert_allclose(
            np.asarray(table[name]), np.asarray(expected[name]), rtol=1e-6
        )
    assert model.shape == (1, len(star.flux))
    assert np.isnan(model[0, ~inside]).all()
    np.testing.assert_allclose(model[0, inside], part_model[0], rtol=1e-8)


def test_pixels_in_reach_are_those_near_the_emulator(emulator, grid, star):
    fitted, spectra = as_fitted_emulator(emulator), as_spectra(star)
    seen = pixels_in_reach(fitted, spectra, (-500, 500))
    wavelength = spectra.wavelength[seen]
    first, last = grid.wavelength[[0, -1]]
    # 500 km/s, and what air and vacuum differ by
    assert first * 0.9980 < wavelength[0] < first * 0.9981
    assert last * 1.0019 < wavelength[-1] < last * 1.0020
    wider = pixels_in_reach(fitted, spectra, (-6000, 0))
    assert spectra.wavelength[wider][0] < first * 0.980


def test_spectra_elsewhere_are_left_whole_for_the_error(emulator, star):
    far, velocities = as_spectra(star[:100]), (-500, 500)
    assert pixels_in_reach(as_fitted_emulator(emulator), far, velocities) == slice(None)


def test_what_belongs_to_pixels_is_cut_with_them(emulator, star):
    spectra = as_spectra(star)
    n = spectra.shape[1]
    spectra = spectra.replace(resolution_matrix=np.full((1, n, 3), 1 / 3))
    fitted = as_fitted_emulator(emulator)
    block = block_of(fitted, spectra, Observation(integrate_pixels=True))
    seen = pixels_in_reach(fitted, spectra, (-500, 500))
    assert 0 < len(block.pixels) < n
    np.testing.assert_array_equal(block.pixels, np.arange(n)[seen])
    np.testing.assert_array_equal(block.flux, spectra.flux[:, seen])
    np.testing.assert_array_equal(block.wavelength, spectra.wavelength[seen])
    assert block.instrument.sampling(np.array([0])).n_pixels == len(block.pixels)


def test_padding_and_pixels_of_other_stars_are_no_part_of_a_star(emulator, star):
    fitted = as_fitted_emulator(emulator)
    longer, shorter = as_spectra([star, star[:-7]]), as_spectra([star[:-7]])
    block = block_of(fitted, longer, rows=np.array([1]))
    alone = block_of(fitted, shorter)
    np.testing.assert_array_equal(block.pixels, alone.pixels)
    np.testing.assert_array_equal(block.flux, alone.flux)
    np.testing.assert_array_equal(np.ravel(block.wavelength), alone.wavelength)


@pytest.fixture(scope="module")
def long_grid():
    return make_spectra(
        100, n_wavelengths=4096, label_names=LABEL_NAMES, random_state=0
    )


@pytest.fixture(scope="module")
def long_emulator(long_grid):
    emulator = make_emulator(long_grid, max_steps=307)
    return emulator.fit(long_grid.data, long_grid.target)


def spectrum_of(emulator, labels, pixels, velocity=0.0):
    flux = emulator.predict(labels)[:, pixels]
    return Spectrum(
        flux=flux * u.one,
        spectral_axis=emulator.wavelength_[pixels] * doppler_factor(velocity) * u.AA,
        uncertainty=StdDevUncertainty(np.full(flux.shape, 1e-4)),
        meta={"medium": emulator.medium_},
    )


@pytest.mark.parametrize("first", [100, 1500, 3000])
def test_fit_of_a_part_finds_labels_with_that_part_of_the_emulator(
    long_emulator, long_grid, first
):
    emulator = long_emulator
    labels = emulator.label_low_ + [[0.4, 0.5, 0.6]] * np.ptp(long_grid.data, axis=0)
    star = spectrum_of(emulator, labels, slice(first, first + 701), velocity=12.0)
    observation = Observation(
        velocity_range=(-40, 40), emulator_error=False, resolving_power="emulator"
    )
    regressor = AbundanceRegressor(emulator, observation)
    found = regressor.measure(star)
    for name, value in zip(LABEL_NAMES, labels[0], strict=True):
        off = found[name][0] - value * found[name].unit
        assert abs(off) < 0.1 * found[f"{name}_error"][0]
    assert found["radial_velocity"].value[0] == pytest.approx(12.0, abs=0.01)
    block = block_of(as_fitted_emulator(emulator), as_spectra(star), observation)
    assert 701 < block.emulator.n_pixels <= 2048
    # all pixels are used: the part has what velocity and splines need beyond its ends
    assert found["n_pixels"][0] == 701


def test_part_of_the_emulator_has_its_errors_and_fraction(long_emulator):
    whole = as_fitted_emulator(long_emulator)
    part = whole.slice_grid(1024, 3072)
    assert part.fraction == 0.5
    np.testing.assert_array_equal(
        part.error_model.scale, whole.error_model.scale[1024:3072]
    )
    assert whole.slice_grid(0, 4096) is whole
    wavelength = whole.wavelength
    assert whole.pixels_of(wavelength[1500], wavelength[1600]) == (1024, 2048)
    # splines at the ends of a block need pixels of the next
    assert whole.pixels_of(wavelength[1030], wavelength[1600]) == (0, 2048)
    assert whole.pixels_of(1.0, 1e9) == (0, 4096)


def test_emulator_with_a_gap_is_never_cut(long_grid):
    pixels = np.r_[0:2000, 2100:4096]
    emulator = make_emulator(
        long_grid, max_steps=2, wavelength=long_grid.wavelength[pixels]
    ).fit(long_grid.data, long_grid.target[:, pixels])
    whole = as_fitted_emulator(emulator)
    wavelength = whole.wavelength
    assert whole.pixels_of(wavelength[500], wavelength[600]) == (0, len(pixels))
