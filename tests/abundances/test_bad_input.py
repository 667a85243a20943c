"""Tests of what AbundanceRegressor says about input that it cannot use."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS
from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.spectra import SpectrumSet


@pytest.fixture(scope="module")
def wavelength(emulator):
    return emulator.wavelength_


@pytest.fixture(scope="module")
def flux(emulator, draw_labels):
    """Three spectra without noise; don't write into them."""
    flux = emulator.predict(draw_labels(3))
    flux.flags.writeable = False
    return flux


def spectrum(flux, wavelength, **changes):
    arguments = {
        "flux": flux * u.dimensionless_unscaled,
        "spectral_axis": wavelength * u.AA,
        "uncertainty": StdDevUncertainty(np.full(np.shape(flux), 0.01)),
        "meta": {"medium": "air", "resolving_power": 20_000.0},
    }
    return Spectrum(**(arguments | changes))


# Uncertainties -------------------------------------------------------------------


def test_array_without_uncertainty_is_an_error(emulator, flux):
    with pytest.raises(ValueError, match=r"3 of 3 .* `uncertainty=` .* `snr=`"):
        AbundanceRegressor(emulator).predict(flux)


def test_spectrum_without_uncertainty_is_an_error(emulator, flux, wavelength):
    stars = [
        spectrum(flux[0], wavelength),
        spectrum(flux[1], wavelength, uncertainty=None),
    ]
    with pytest.raises(
        ValueError, match=r"1 of 2 .* first is spectrum 1.*`uncertainty=`.*`snr=`"
    ):
        AbundanceRegressor(emulator).predict(stars)


def test_errors_that_are_much_too_large_are_flagged(emulator, flux, wavelength):
    noise = 0.01 * np.random.default_rng(0).normal(size=flux.shape)
    told = np.array([[0.01], [0.015], [0.1]])
    table = AbundanceRegressor(emulator, Observation(velocity_range=None)).measure(
        flux + noise, uncertainty=np.broadcast_to(told, flux.shape)
    )
    is_low = (table["flags"] & FLAGS["LOW_CHI2"][0]) > 0
    np.testing.assert_array_equal(is_low, [False, True, True])


@pytest.mark.parametrize("value", [0.0, -0.01, np.nan])
def test_error_that_is_no_error_is_named_with_its_pixel(emulator, flux, value):
    sigma = np.full_like(flux, 0.01)
    sigma[1, 7] = value
    with pytest.raises(
        ValueError,
        match=rf"`uncertainty` must be positive .* {value} at spectrum 1, pixel 7",
    ):
        AbundanceRegressor(emulator).predict(flux, uncertainty=sigma)


@pytest.mark.parametrize("value", [0.0, -0.01, np.nan])
def test_masked_pixel_may_have_any_error(emulator, flux, value):
    sigma = np.full_like(flux, 0.01)
    sigma[1, 7] = value
    mask = np.zeros(flux.shape, dtype=bool)
    mask[1, 7] = True
    found = AbundanceRegressor(emulator).predict(flux, uncertainty=sigma, mask=mask)
    assert np.isfinite(found).all()


def test_negative_error_inside_a_spectrum_is_an_error(emulator, flux, wavelength):
    sigma = np.full(257, 0.01)
    sigma[7] = -0.01
    star = spectrum(flux[0], wavelength, uncertainty=StdDevUncertainty(sigma))
    with pytest.raises(ValueError, match=r"must not be negative .* pixel 7"):
        AbundanceRegressor(emulator).predict(star)


@pytest.mark.parametrize("snr", [0.0, -3.0, np.nan, np.inf])
def test_snr_must_be_positive_and_finite(emulator, flux, snr):
    with pytest.raises(
        ValueError, match=f"`snr` must be positive and finite; got {snr}"
    ):
        AbundanceRegressor(emulator, snr=snr).predict(flux)


def test_snr_must_be_one_or_one_per_star(emulator, flux):
    with pytest.raises(
        ValueError, match=r"`snr` must be one number or .*\(3,\).*\(2,\)"
    ):
        AbundanceRegressor(emulator, snr=[100.0, 50.0]).predict(flux)


@pytest.mark.parametrize("name", ["uncertainty", "mask"])
def test_spectra_carry_their_own_uncertainty_and_mask(emulator, flux, wavelength, name):
    with pytest.raises(ValueError, match=f"`{name}` goes with plain arrays"):
        AbundanceRegressor(emulator).predict(
            spectrum(flux[0], wavelength), **{name: np.ones((1, 257))}
        )


@pytest.mark.parametrize("name", ["uncertainty", "mask"])
def test_shape_of_uncertainty_and_mask_must_fit(emulator, flux, name):
    regressor = AbundanceRegressor(emulator, snr=100)
    with pytest.raises(ValueError, match=rf"`{name}` must .*\(3, 257\).*\(3, 11\)"):
        regressor.predict(flux, **{name: np.ones((3, 11))})


# Stars without data --------------------------------------------------------------


@pytest.mark.parametrize("how", ["mask", "NaN"])
def test_only_star_without_a_good_pixel_is_flagged_not_an_error(
    emulator, flux, wavelength, how
):
    if how == "mask":
        star = spectrum(flux[0], wavelength, mask=np.ones(257, dtype=bool))
    else:
        star = spectrum(np.full(257, np.nan), wavelength)
    regressor = AbundanceRegressor(emulator)
    table = regressor.measure(star)
    assert table["flags"][0] & FLAGS["NO_DATA"][0]
    assert np.isnan(table["teff"].value[0])
    with pytest.warns(ConvergenceWarning, match="1 of 1 stars have no good pixel"):
        assert np.isnan(regressor.predict(star)).all()


def test_star_with_a_single_good_pixel_is_flagged(emulator, flux, wavelength):
    mask = np.ones(257, dtype=bool)
    mask[131] = False
    table = AbundanceRegressor(emulator).measure(
        spectrum(flux[0], wavelength, mask=mask)
    )
    assert table["flags"][0] & FLAGS["FEW_PIXELS"][0]
    assert table["flags"][0] & FLAGS["UNCONSTRAINED"][0]
    assert not table["flags"][0] & FLAGS["NO_DATA"][0]
    assert table["n_pixels"][0] == 1


def test_no_star_in_the_range_of_the_emulator_is_an_error(emulator, flux, wavelength):
    stars = [spectrum(row, wavelength + 1000) for row in flux]
    with pytest.raises(
        WavelengthMismatchError,
        match=r"`X` covers 5500\.0-5520\.0 Å, .* knows 4500\.0-4520\.0 Å\. Pass",
    ):
        AbundanceRegressor(emulator).predict(stars)


def test_nanometres_taken_for_angstrom_are_an_error(emulator, flux, wavelength):
    star = spectrum(
        flux[0], wavelength / 10, meta={"medium": "air", "resolving_power": 20_000.0}
    )
    with pytest.raises(WavelengthMismatchError, match=r"`X` covers 450\.0-452\.0 Å"):
        AbundanceRegressor(emulator).predict(star)


# Wavelengths and medium ----------------------------------------------------------


def test_array_of_another_number_of_pixels_is_an_error(emulator, flux):
    with pytest.raises(
        ValueError, match=r"the 257 pixels of the emulator; got 251\. .* Spectrum"
    ):
        AbundanceRegressor(emulator, snr=100).predict(flux[:, :251])


def test_foreign_regressor_of_another_number_of_pixels_is_an_error(grid):
    foreign = Ridge().fit(grid.data, grid.target)
    regressor = AbundanceRegressor(
        foreign, snr=100, bounds=[[4000, 6000], [-2, 1], [-2, 1]]
    )
    with pytest.raises(ValueError, match=r"the 257 pixels of the emulator; got 11\."):
        regressor.predict(np.ones((2, 11)))


def test_trained_regressor_counts_its_features(grid):
    regressor = AbundanceRegressor(Ridge(), snr=100).fit(grid.target, grid.data)
    with pytest.raises(ValueError, match=r"11 features, but .* expecting 257"):
        regressor.predict(np.ones((2, 11)))


def test_missing_medium_is_an_error(emulator, flux, wavelength):
    star = spectrum(flux[0], wavelength, meta={})
    with pytest.raises(ValueError, match=r"`medium` .* medium='air'.* 80 km/s"):
        AbundanceRegressor(emulator).predict(star)


def test_unknown_medium_is_an_error(emulator, flux, wavelength):
    star = spectrum(flux[0], wavelength, meta={})
    with pytest.raises(
        ValueError, match="`medium` must be 'air' or 'vacuum'; got 'Air'"
    ):
        AbundanceRegressor(emulator, medium="Air").predict(star)


def test_medium_that_contradicts_the_spectra_is_an_error(emulator, flux, wavelength):
    with pytest.raises(ValueError, match=r"`medium` is 'vacuum', but .* state 'air'"):
        AbundanceRegressor(emulator, medium="vacuum").predict(
            spectrum(flux[0], wavelength)
        )


def test_emulator_without_wavelengths_takes_no_spectra_of_others(
    make_emulator, grid, flux, wavelength
):
    emulator = make_emulator(wavelength=None, medium=None, max_steps=2)
    emulator.fit(grid.data, grid.target)
    cut = [spectrum(row[:101], wavelength[:101]) for row in flux]
    whole = [spectrum(row, wavelength) for row in flux]
    for stars in (cut, whole):
        with pytest.raises(ValueError, match=r"not known\. Pass `wavelength=`"):
            AbundanceRegressor(emulator).predict(stars)
    # plain flux is on its pixels by definition
    table = AbundanceRegressor(emulator, snr=100).measure(flux)
    assert "radial_velocity" not in table.colnames


# The emulator --------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda e: e, FrozenEstimator], ids=["bare", "frozen"])
def test_unfitted_emulator_is_an_error(make_emulator, flux, wrap):
    with pytest.raises(
        NotFittedError, match="AbundanceRegressor instance is not fitted"
    ):
        AbundanceRegressor(wrap(make_emulator()), snr=100).predict(flux)


def test_fitted_foreign_regressor_without_bounds_is_an_error(grid, flux):
    foreign = Ridge().fit(grid.data, grid.target)
    with pytest.raises(
        ValueError, match=r"`bounds` must be given: Ridge .* shape \(n_labels, 2\)"
    ):
        AbundanceRegressor(foreign, snr=100).predict(flux)


# Arguments -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounds",
    [
        [[4000, 6000], [-2, 1]],
        [[4000, 6000], [-2, 1], [1, -2]],
        [[4000, 6000], [-2, 1], [-2, np.nan]],
        [[4000, 6000], [-2, 1], [-np.inf, np.inf]],
        [4000, 6000, 1],
    ],
    ids=["too few", "reversed", "NaN", "infinite", "flat"],
)
def test_bad_bounds_are_an_error(emulator, flux, bounds):
    with pytest.raises(
        ValueError, match=r"`bounds` must have the shape \(3, 2\), .*got"
    ):
        AbundanceRegressor(emulator, snr=100, bounds=bounds).predict(flux)


@pytest.mark.parametrize(
    "velocity_range",
    [(100.0, -100.0), (-4e5, 0.0), (0.0, 3e5), (0.0, np.nan), (0.0,), 100.0],
)
def test_bad_velocity_range_is_an_error(emulator, flux, velocity_range):
    with pytest.raises(
        ValueError, match=r"`velocity_range` must be .* km/s, or None; got"
    ):
        AbundanceRegressor(
            emulator, Observation(velocity_range=velocity_range), snr=100
        ).predict(flux)


@pytest.mark.parametrize("max_iterations", [0, -1])
def test_bad_max_iterations_is_an_error(emulator, flux, max_iterations):
    with pytest.raises(
        ValueError, match=f"`max_iterations` must be at least 1; got {max_iterations}"
    ):
        AbundanceRegressor(emulator, snr=100, max_iterations=max_iterations).predict(
            flux
        )


def test_constructor_judges_nothing():
    AbundanceRegressor(
        None, Observation(velocity_range=3), snr=-1, medium="water", max_iterations=0
    )


@pytest.mark.parametrize("X", [3.0, None], ids=repr)
def test_what_is_no_spectrum_is_an_error(emulator, X):
    with pytest.raises(ValueError, match=r"2D array|could not convert|could not be"):
        AbundanceRegressor(emulator, snr=100).predict(X)


@pytest.mark.parametrize("X", [[], np.empty((0, 257))], ids=["list", "array"])
def test_no_star_at_all_is_an_error(emulator, X):
    with pytest.raises(ValueError, match=r"at least one spectrum|0 sample"):
        AbundanceRegressor(emulator, snr=100).predict(X)


# Training ------------------------------------------------------------------------


@pytest.fixture
def quick(make_emulator):
    return make_emulator(max_steps=2, wavelength=None, medium=None)


def test_training_spectra_on_different_grids_are_an_error(quick, grid):
    X = [
        spectrum(row, grid.wavelength + (0.01 if i == 5 else 0.0))
        for i, row in enumerate(grid.target[:11])
    ]
    with pytest.raises(
        ValueError, match=r"one wavelength grid in training; .* FluxConservingResampler"
    ):
        AbundanceRegressor(quick).fit(X, grid.data[:11])


def test_training_spectra_of_different_lengths_are_an_error(quick, grid):
    X = [
        spectrum(row[: 257 - i], grid.wavelength[: 257 - i])
        for i, row in enumerate(grid.target[:11])
    ]
    with pytest.raises(ValueError, match="one wavelength grid in training"):
        AbundanceRegressor(quick).fit(X, grid.data[:11])


@pytest.mark.parametrize("kind", ["list", "set"])
def test_labels_and_spectra_must_be_as_many(quick, grid, kind):
    X = [spectrum(row, grid.wavelength) for row in grid.target[:11]]
    if kind == "set":
        X = SpectrumSet.from_specutils(X)
    with pytest.raises(ValueError, match=r"for each of the 11 spectra; got 7\."):
        AbundanceRegressor(quick).fit(X, grid.data[:7])


def test_labels_and_rows_of_an_array_must_be_as_many(quick, grid):
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[11, 7\]"):
        AbundanceRegressor(quick).fit(grid.target[:11], grid.data[:7])


def test_training_spectra_need_a_medium(quick, grid):
    X = [spectrum(row, grid.wavelength, meta={}) for row in grid.target[:11]]
    with pytest.raises(ValueError, match="`medium` must be given with `wavelength`"):
        AbundanceRegressor(quick).fit(X, grid.data[:11])
    fitted = AbundanceRegressor(quick, medium="air").fit(X, grid.data[:11])
    assert fitted.emulator_.medium_ == "air"


def test_pixel_that_is_bad_in_every_training_spectrum_is_an_error(quick, grid):
    flux = grid.target[:11].copy()
    flux[:, [7, 31]] = np.nan
    with pytest.raises(
        ValueError, match=r"2 pixels have none, the first is pixel 7\. Leave those wave"
    ):
        AbundanceRegressor(quick).fit(flux, grid.data[:11])


def test_good_training_spectra_raise_no_warning(quick, grid):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AbundanceRegressor(clone(quick)).fit(grid.target[:11], grid.data[:11])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["array", "list"])
def test_labels_must_be_finite(quick, grid, kind, value):
    labels = grid.data[:11].copy()
    labels[3, 1] = value
    X = grid.target[:11]
    if kind == "list":
        X = [spectrum(row, grid.wavelength) for row in X]
    with pytest.raises(ValueError, match=r"contains NaN|contains infinity"):
        AbundanceRegressor(quick).fit(X, labels)


def test_path_in_the_place_of_spectra_names_the_reader(emulator):
    with pytest.raises(TypeError, match=r"`X` .*'star.fits'.*read_spectra"):
        AbundanceRegressor(emulator).measure("star.fits")


@pytest.mark.parametrize("path", ["a.safetensors", Path("a.safetensors")])
def test_path_in_the_place_of_an_emulator_names_the_reader(path, flux):
    regressor = AbundanceRegressor(path, snr=100)
    with pytest.raises(TypeError, match=r"`emulator` .*'a.safetensors'.*sk_payne.load"):
        regressor.predict(flux)
    with pytest.raises(TypeError, match=r"`emulator` .*sk_payne.load"):
        regressor.fit(flux, [[0.0], [1.0], [2.0]])
