"""Tests of AbundanceRegressor: stars in every container, in scikit-learn, in truth."""

import pickle

import numpy as np
import pytest
import scipy.optimize
import sklearn
from astropy import units as u
from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty
from regressors import make_regressor
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from specutils import Spectrum, SpectrumCollection, SpectrumList

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS
from sk_payne.datasets import make_spectra
from sk_payne.spectra import SpectrumSet, convert_medium, doppler_factor

N_STARS = 5


@pytest.fixture(scope="module")
def labels(draw_labels):
    return draw_labels(N_STARS)


@pytest.fixture(scope="module")
def stars(observe, labels):
    """Noisy spectra of five stars on one grid; don't change them."""
    return SpectrumList(
        [observe(row, velocity=17.0, seed=i) for i, row in enumerate(labels)]
    )


@pytest.fixture(scope="module")
def flux(stars):
    return np.stack([star.flux.value for star in stars])


@pytest.fixture(scope="module")
def wavelength(stars):
    return stars[0].spectral_axis.to_value(u.AA)


@pytest.fixture(scope="module")
def expected(emulator, stars):
    """What the list of stars gives, with which everything else is compared."""
    return AbundanceRegressor(emulator).measure(stars)


def spectrum(flux, wavelength, **changes):
    arguments = {
        "flux": flux * u.dimensionless_unscaled,
        "spectral_axis": wavelength * u.AA,
        "uncertainty": StdDevUncertainty(np.full(np.shape(flux), 0.01)),
        "meta": {"medium": "air", "resolving_power": 20_000.0},
    }
    return Spectrum(**(arguments | changes))


def labels_of(table):
    return np.stack([table[name].value for name in ("teff", "Fe_H", "Mg_H")], axis=1)


def errors_of(table):
    return np.stack(
        [table[f"{name}_error"].value for name in ("teff", "Fe_H", "Mg_H")], axis=1
    )


def assert_same(table, expected, tolerance=1e-6):
    """Same labels within a part of their errors, and the same errors."""
    distance = (labels_of(table) - labels_of(expected)) / errors_of(expected)
    assert np.abs(distance).max() < tolerance
    np.testing.assert_allclose(errors_of(table), errors_of(expected), rtol=1e-6)
    np.testing.assert_allclose(
        table["radial_velocity"].value, expected["radial_velocity"].value, atol=1e-6
    )
    np.testing.assert_array_equal(table["flags"], expected["flags"])


# Containers ----------------------------------------------------------------------


def as_list(flux, wavelength):
    return [spectrum(row, wavelength) for row in flux]


def as_tuple(flux, wavelength):
    return tuple(as_list(flux, wavelength))


def as_object_array(flux, wavelength):
    array = np.empty(len(flux), dtype=object)
    array[:] = as_list(flux, wavelength)
    return array


def as_two_dimensional(flux, wavelength):
    return spectrum(flux, wavelength, spectral_axis_index=1)


def as_collection(flux, wavelength):
    return SpectrumCollection(
        flux=flux * u.dimensionless_unscaled,
        spectral_axis=np.tile(wavelength, (len(flux), 1)) * u.AA,
        uncertainty=StdDevUncertainty(np.full(flux.shape, 0.01)),
        meta=[{"medium": "air", "resolving_power": 20_000.0}] * len(flux),
    )


def as_spectrum_set(flux, wavelength):
    return SpectrumSet(
        flux,
        np.full(flux.shape, 1e4),
        wavelength=wavelength,
        medium="air",
        resolving_power=np.full(flux.shape, 20_000.0),
    )


def as_nanometres(flux, wavelength):
    return [
        spectrum(row, wavelength, spectral_axis=wavelength / 10 * u.nm) for row in flux
    ]


def as_decreasing(flux, wavelength):
    return [spectrum(row[::-1], wavelength[::-1]) for row in flux]


def as_frequency(flux, wavelength):
    frequency = (wavelength * u.AA).to(u.THz, u.spectral())
    return [spectrum(row, wavelength, spectral_axis=frequency) for row in flux]


class OwnSpectrum(Spectrum):
    """A user's class, defined outside of specutils."""


def as_subclass(flux, wavelength):
    return [
        OwnSpectrum(
            flux=row * u.dimensionless_unscaled,
            spectral_axis=wavelength * u.AA,
            uncertainty=StdDevUncertainty(np.full(row.shape, 0.01)),
            meta={"medium": "air", "resolving_power": 20_000.0},
        )
        for row in flux
    ]


@pytest.mark.parametrize(
    "container",
    [
        as_list,
        as_tuple,
        as_object_array,
        as_two_dimensional,
        as_collection,
        as_spectrum_set,
        as_nanometres,
        as_decreasing,
        as_frequency,
        as_subclass,
    ],
)
def test_every_container_gives_the_same(
    emulator, expected, flux, wavelength, container
):
    table = AbundanceRegressor(emulator).measure(container(flux, wavelength))
    assert_same(table, expected)


def test_single_spectrum_is_one_star(emulator, expected, stars):
    table = AbundanceRegressor(emulator).measure(stars[2])
    assert len(table) == 1
    assert_same(table, expected[2:3])


def test_array_is_flux_on_the_grid_of_the_emulator(emulator, labels, observe, grid):
    at_rest = [observe(row, seed=i) for i, row in enumerate(labels)]
    flux = np.stack([star.flux.value for star in at_rest])
    regressor = AbundanceRegressor(emulator)
    table = regressor.measure(flux, uncertainty=np.full_like(flux, 0.01))
    assert_same(table, regressor.measure(at_rest))
    assert_same(regressor.measure(flux.tolist(), uncertainty=0.01), table)


def test_stars_on_different_grids_and_of_different_lengths_go_together(
    emulator, observe, labels
):
    cuts = [
        slice(None),
        slice(11, 240),
        slice(31, 200, 1),
        slice(0, 251),
        slice(7, 255),
    ]
    ragged = [
        observe(row, velocity=30.0 * i, pixels=cut, seed=i)
        for i, (row, cut) in enumerate(zip(labels, cuts, strict=True))
    ]
    regressor = AbundanceRegressor(emulator)
    together = regressor.measure(ragged)
    # pixels near the ends of the emulator may leave it during the fit
    assert together["n_pixels"][2] == 169
    for i, star in enumerate(ragged):
        alone = regressor.measure(star)
        assert together["n_pixels"][i] == alone["n_pixels"][0]
        assert_same(together[i : i + 1], alone)
    np.testing.assert_allclose(
        together["radial_velocity"].value, 30.0 * np.arange(N_STARS), atol=1.0
    )


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(np.full(257, 0.01)),
        VarianceUncertainty(np.full(257, 1e-4)),
        InverseVariance(np.full(257, 1e4)),
        StdDevUncertainty(np.full(257, 1.0), unit=u.percent),
    ],
    ids=["std", "variance", "inverse variance", "percent"],
)
def test_every_kind_of_uncertainty_gives_the_same(
    emulator, expected, flux, wavelength, uncertainty
):
    star = spectrum(flux[1], wavelength, uncertainty=uncertainty)
    assert_same(AbundanceRegressor(emulator).measure(star), expected[1:2])


def test_snr_stands_for_a_missing_uncertainty(emulator, expected, flux, wavelength):
    bare = [spectrum(row, wavelength, uncertainty=None) for row in flux]
    assert_same(AbundanceRegressor(emulator, snr=100).measure(bare), expected)
    each = AbundanceRegressor(emulator, snr=np.full(N_STARS, 100.0))
    assert_same(each.measure(bare), expected)


def test_uncertainty_of_the_spectra_goes_before_snr(emulator, expected, stars):
    assert_same(AbundanceRegressor(emulator, snr=3.0).measure(stars), expected)


# Bad pixels ----------------------------------------------------------------------

BAD = [0, 31, 32, 33, 101, 256]


@pytest.fixture(scope="module")
def expected_with_bad_pixels(emulator, flux, wavelength):
    sigma = np.full(257, 0.01)
    mask = np.zeros(257, dtype=bool)
    mask[BAD] = True
    return AbundanceRegressor(emulator).measure(
        spectrum(flux[1], wavelength, uncertainty=StdDevUncertainty(sigma), mask=mask)
    )


@pytest.mark.parametrize("value", [1e9, -1e9, 0.0, np.inf])
def test_what_is_in_a_masked_pixel_does_not_matter(
    emulator, flux, wavelength, expected, expected_with_bad_pixels, value
):
    mask = np.zeros(257, dtype=bool)
    mask[BAD] = True
    star = spectrum(np.where(mask, value, flux[1]), wavelength, mask=mask)
    table = AbundanceRegressor(emulator).measure(star)
    # the first and the last pixel may leave the emulator, and do not count anyway
    assert table["n_pixels"][0] == expected["n_pixels"][1] - (len(BAD) - 2)
    assert_same(table, expected_with_bad_pixels, tolerance=1e-12)


@pytest.mark.parametrize("how", ["nan flux", "zero error", "infinite error", "removed"])
def test_pixels_that_say_nothing_are_as_if_masked(
    emulator, flux, wavelength, expected_with_bad_pixels, how
):
    sigma, values = np.full(257, 0.01), flux[1].copy()
    if how == "nan flux":
        values[BAD] = np.nan
    elif how == "removed":
        values, sigma, wavelength = (
            np.delete(part, BAD) for part in (values, sigma, wavelength)
        )
    else:
        sigma[BAD] = 0.0 if how == "zero error" else np.inf
    star = spectrum(values, wavelength, uncertainty=StdDevUncertainty(sigma))
    # the start differs where pixels are missing altogether: 1e-3 sigma
    tolerance = 2e-3 if how == "removed" else 1e-12
    table = AbundanceRegressor(emulator).measure(star)
    distance = (labels_of(table) - labels_of(expected_with_bad_pixels)) / errors_of(
        table
    )
    assert np.abs(distance).max() < tolerance


@pytest.mark.parametrize("how", ["mask=", "NaN", "masked array"])
def test_bad_pixels_of_an_array_are_ignored(emulator, labels, how):
    flux = emulator.predict(labels)
    mask = np.zeros(flux.shape, dtype=bool)
    mask[1, BAD] = True
    spoiled = np.where(mask, 7.0, flux)
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None), snr=100)
    if how == "mask=":
        table = regressor.measure(spoiled, mask=mask)
    elif how == "NaN":
        table = regressor.measure(np.where(mask, np.nan, flux))
    else:
        table = regressor.measure(np.ma.array(spoiled, mask=mask))
    assert table["n_pixels"].tolist() == [257, 257 - len(BAD), 257, 257, 257]
    # the flux is the emulator's own: the truth, to 1e-3 sigma
    assert np.abs((labels_of(table) - labels) / errors_of(table)).max() < 2e-3


def test_unmasked_corruption_does_change_the_result(
    emulator, flux, wavelength, expected_with_bad_pixels
):
    spoiled = flux[1].copy()
    spoiled[BAD] = 0.3
    table = AbundanceRegressor(emulator).measure(spectrum(spoiled, wavelength))
    distance = labels_of(table) - labels_of(expected_with_bad_pixels)
    assert np.abs(distance / errors_of(table)).max() > 1


def test_unmeasurable_stars_are_named_and_do_not_touch_the_others(
    emulator, stars, expected, wavelength
):
    blank = spectrum(np.full(257, np.nan), wavelength)
    some = [stars[0], blank, *stars[1:], blank]
    regressor = AbundanceRegressor(emulator)
    with pytest.warns(
        ConvergenceWarning, match=r"2 of 7 stars have no good pixel .* rows 1, 6\."
    ):
        found = regressor.predict(some)
    assert np.isnan(found[[1, 6]]).all()
    table = regressor.measure(some)
    good = [0, 2, 3, 4, 5]
    assert_same(table[good], expected)
    np.testing.assert_array_equal(found[good], labels_of(table)[good])
    assert (table["flags"][[1, 6]] & FLAGS["NO_DATA"][0] > 0).all()
    assert table["n_pixels"][[1, 6]].tolist() == [0, 0]
    assert np.isnan(errors_of(table)[[1, 6]]).all()


def test_unfinished_stars_are_named(emulator, stars):
    regressor = AbundanceRegressor(emulator, max_iterations=1)
    table = regressor.measure(stars)
    unfinished = np.flatnonzero(table["flags"] & FLAGS["NOT_CONVERGED"][0])
    assert len(unfinished)
    assert not table["converged"][unfinished].any()
    told = f"{len(unfinished)} of 5 stars did not converge: rows {unfinished[0]}"
    with pytest.warns(ConvergenceWarning, match=told):
        regressor.predict(stars)
    # a step to learn the error of the emulator, one from each of at most four starts
    assert (table["n_iterations"] <= 5).all()


def test_star_that_misses_the_emulator_is_flagged_among_others(
    emulator, stars, expected, wavelength
):
    elsewhere = spectrum(np.ones(257), wavelength + 1000)
    table = AbundanceRegressor(emulator).measure([stars[0], elsewhere, stars[1]])
    assert table["flags"][1] & FLAGS["NO_DATA"][0]
    assert_same(table[[0, 2]], expected[[0, 1]])


# Medium and velocity -------------------------------------------------------------


@pytest.mark.parametrize("how", ["meta", "argument"])
def test_vacuum_wavelengths_are_converted(emulator, observe, labels, how):
    star = observe(labels[0], noise=0.0)
    vacuum = convert_medium(star.spectral_axis.to_value(u.AA), "air", "vacuum")
    meta = {"resolving_power": emulator.resolving_power_}
    changes = {"meta": meta | {"medium": "vacuum"} if how == "meta" else meta}
    regressor = AbundanceRegressor(emulator)
    if how == "argument":
        regressor.set_params(medium="vacuum")
    table = regressor.measure(spectrum(star.flux.value, vacuum, **changes))
    # noiseless: what is left is the tolerance of the fit, 1e-3 sigma
    assert abs(table["radial_velocity"].value[0]) < 1e-3
    np.testing.assert_allclose(
        labels_of(table)[0], labels[0], atol=2e-3 * errors_of(table).max()
    )


def test_wrong_medium_is_a_velocity_of_80_km_s(emulator, observe, labels):
    star = observe(labels[0], noise=0.0)
    vacuum = convert_medium(star.spectral_axis.to_value(u.AA), "air", "vacuum")
    table = AbundanceRegressor(emulator).measure(spectrum(star.flux.value, vacuum))
    assert table["radial_velocity"].value[0] == pytest.approx(83.5, abs=1.0)


@pytest.mark.parametrize("velocity", [-307.0, -41.0, 0.0, 3.7, 199.0])
@pytest.mark.parametrize("arch", ["payne", "convolutional", "transformer"])
def test_velocity_and_labels_are_recovered_by_every_architecture(
    emulators, draw_labels, arch, velocity
):
    emulator = emulators[arch]
    truth = draw_labels(3, seed=5)
    shifted = emulator.wavelength_ * doppler_factor(velocity)
    stars = [spectrum(row, shifted) for row in emulator.predict(truth)]
    table = AbundanceRegressor(emulator, Observation(emulator_error=False)).measure(
        stars
    )
    assert table["converged"].all()
    # noiseless, and interpolated at its own nodes: 1e-3 sigma
    np.testing.assert_allclose(
        (table["radial_velocity"].value - velocity)
        / table["radial_velocity_error"].value,
        0,
        atol=2e-3,
    )
    assert np.abs((labels_of(table) - truth) / errors_of(table)).max() < 2e-3


@pytest.mark.parametrize("arch", ["payne", "convolutional", "transformer"])
@pytest.mark.parametrize("kind", ["array", "spectra"])
def test_stars_at_rest_are_measured_without_velocity(
    emulators, draw_labels, arch, kind
):
    emulator = emulators[arch]
    truth = draw_labels(3, seed=6)
    flux = emulator.predict(truth)
    stars = flux if kind == "array" else as_list(flux, emulator.wavelength_)
    regressor = AbundanceRegressor(
        emulator, Observation(velocity_range=None, emulator_error=False), snr=100
    )
    table = regressor.measure(stars)
    assert "radial_velocity" not in table.colnames
    assert table["converged"].all()
    assert np.abs((labels_of(table) - truth) / errors_of(table)).max() < 2e-3


@pytest.mark.parametrize("edge", [1.0, 5.0])
def test_velocity_at_the_edge_of_its_range_is_flagged(emulator, observe, labels, edge):
    star = observe(labels[0], velocity=8.0)
    table = AbundanceRegressor(
        emulator, Observation(velocity_range=(-edge, edge))
    ).measure(star)
    assert table["flags"][0] & FLAGS["VELOCITY_AT_EDGE"][0]
    assert table["radial_velocity"].value[0] == edge
    table = AbundanceRegressor(
        emulator, Observation(velocity_range=(-20.0, 20.0))
    ).measure(star)
    assert not table["flags"][0] & FLAGS["VELOCITY_AT_EDGE"][0]
    assert table["radial_velocity"].value[0] == pytest.approx(8.0, abs=1.0)


def test_pixels_that_leave_the_emulator_are_not_used(emulator, observe, labels):
    star = observe(labels[0], velocity=200.0)
    wide = spectrum(
        np.concatenate([np.full(7, 1e6), star.flux.value, np.full(5, -1e6)]),
        np.concatenate(
            [
                np.linspace(4400.0, 4490.0, 7),
                star.spectral_axis.to_value(u.AA),
                np.linspace(4560.0, 4600.0, 5),
            ]
        ),
    )
    regressor = AbundanceRegressor(emulator)
    assert_same(regressor.measure(wide), regressor.measure(star), tolerance=2e-3)


# Against theory and others -------------------------------------------------------


@pytest.fixture(scope="module")
def many(emulator, draw_labels):
    """199 stars of the emulator itself at S/N 100 and 41.3 km/s, and their truth."""
    truth = draw_labels(199, seed=7)
    flux = emulator.predict(truth)
    flux += np.random.default_rng(8).normal(scale=0.01, size=flux.shape)
    stars = SpectrumSet(
        flux,
        np.full_like(flux, 1e4),
        wavelength=emulator.wavelength_ * doppler_factor(41.3),
        medium="air",
    )
    regressor = AbundanceRegressor(
        emulator, Observation(emulator_error=False, resolving_power="emulator")
    )
    return regressor.measure(stars), truth


def pulls_of(many):
    table, truth = many
    pulls = (labels_of(table) - truth) / errors_of(table)
    velocity = (table["radial_velocity"].value - 41.3) / (
        table["radial_velocity_error"].value
    )
    return np.column_stack([pulls, velocity])


def test_no_star_of_the_emulator_itself_is_flagged(many):
    assert (many[0]["flags"] == 0).all()


def test_errors_are_neither_biased_nor_too_small_or_large(many):
    # For Gaussian pulls, the mean of n has the standard deviation n**-1/2 and the
    # variance follows chi2 / n: its root spreads by (2 n)**-1/2 = 0.05. With four
    # columns, 4 sigma and 3 sigma leave chances of 3e-4 and 1e-2 - for one seed only,
    # since the seed is fixed.
    pulls = pulls_of(many)
    n = len(pulls)
    assert np.abs(pulls.mean(axis=0)).max() < 4 / np.sqrt(n)
    assert 0.85 < pulls.std(axis=0).min()
    assert pulls.std(axis=0).max() < 1.15
    # the largest of 796 Gaussian numbers is beyond 4.5 once in 200 tries
    assert np.abs(pulls).max() < 4.5


def test_chi2_is_distributed_as_it_should_be(many):
    table, _ = many
    # the sum of independent chi2 is a chi2: mean dof, standard deviation (2 dof)**0.5
    dof = table["dof"].sum()
    assert abs(table["chi2"].sum() - dof) < 4 * np.sqrt(2 * dof)
    assert (table["dof"] == table["n_pixels"] - 4).all()


def test_covariance_describes_the_scatter(emulator, draw_labels):
    truth = np.tile(draw_labels(1, seed=9), (401, 1))
    flux = emulator.predict(truth)
    flux += np.random.default_rng(10).normal(scale=0.01, size=flux.shape)
    regressor = AbundanceRegressor(emulator, Observation(emulator_error=False), snr=100)
    found, covariance = regressor.predict(flux, return_cov=True)
    expected = covariance.mean(axis=0)
    scale = np.sqrt(np.diagonal(expected))
    scatter = np.cov(found.T) / (scale[:, None] * scale)
    # elements of a Wishart matrix, in units of the errors, spread by at most
    # (2 / n)**0.5 = 0.07: 3 sigma
    np.testing.assert_allclose(scatter, expected / (scale[:, None] * scale), atol=0.2)


def test_result_is_that_of_curve_fit(emulator, observe, labels):
    low, high = emulator.label_low_, emulator.label_high_
    # pixels that stay inside the emulator at any velocity of the fit
    stars = [
        observe(row, velocity=17.0, pixels=slice(23, 233), seed=i)
        for i, row in enumerate(labels)
    ]
    table = AbundanceRegressor(emulator, Observation(emulator_error=False)).measure(
        stars
    )
    assert (table["n_pixels"] == 210).all()

    def model(wavelength, *p):
        physical = (low + high) / 2 + np.array(p[:3]) * (high - low) / 2
        rest = wavelength / doppler_factor(p[3])
        return emulator.predict(physical[None], wavelength=rest)[0]

    for i, star in enumerate(stars):
        unit = (2 * labels[i] - low - high) / (high - low)
        best, covariance = scipy.optimize.curve_fit(
            model,
            star.spectral_axis.to_value(u.AA),
            star.flux.value,
            [*unit, 17.0],
            np.full(210, 0.01),
            absolute_sigma=True,
            epsfcn=1e-10,
            ftol=1e-14,
            xtol=1e-14,
        )
        errors = np.sqrt(np.diagonal(covariance))
        ours = (2 * labels_of(table)[i] - low - high) / (high - low)
        ours = np.append(ours, table["radial_velocity"].value[i])
        # ours stops where chi2 can fall by 1e-6 only
        assert np.abs((ours - best) / errors).max() < 1e-3
        scale = np.append((high - low) / 2, 1.0)
        our_errors = np.append(
            errors_of(table)[i], table["radial_velocity_error"].value[i]
        )
        np.testing.assert_allclose(our_errors, errors * scale, rtol=1e-3)


def test_star_is_the_same_in_any_batch(emulator, stars, expected):
    regressor = AbundanceRegressor(emulator)
    assert_same(regressor.measure(stars[::-1]), expected[::-1])
    assert_same(regressor.measure(stars[1:3]), expected[1:3])


def test_small_blocks_of_stars_give_the_same(emulator, stars, expected, monkeypatch):
    monkeypatch.setattr("sk_payne.abundances._measure._MEMORY", 2 * 257 * 4)
    assert_same(AbundanceRegressor(emulator).measure(stars), expected)


def test_emulator_error_widens_errors(emulator, stars, expected):
    without = AbundanceRegressor(emulator, Observation(emulator_error=False)).measure(
        stars
    )
    assert (errors_of(expected) > errors_of(without)).all()
    assert (expected["chi2"] < without["chi2"]).all()


def test_error_of_the_emulator_for_the_star_adds_to_errors_of_pixels(emulator, labels):
    flux = emulator.predict(labels)
    _, std = emulator.predict(labels, return_std=True)
    arguments = {"velocity_range": None}
    inside = make_regressor(emulator, **arguments)
    outside = make_regressor(emulator, Observation(emulator_error=False), **arguments)
    one = inside.measure(flux, uncertainty=0.01)
    other = outside.measure(flux, uncertainty=np.hypot(0.01, std))
    np.testing.assert_allclose(labels_of(one), labels_of(other), rtol=1e-4)
    # errors of the emulator that go together make errors of labels larger still
    assert (errors_of(one) > errors_of(other)).all()


def test_emulator_without_held_out_spectra_is_taken_as_exact(grid, make_emulator):
    emulator = make_emulator(validation_fraction=0.0, max_steps=53).fit(
        grid.data, grid.target
    )
    flux = emulator.predict(grid.data[:3])
    tables = [
        AbundanceRegressor(
            emulator, Observation(emulator_error=error), snr=100
        ).measure(flux)
        for error in (False, True)
    ]
    assert_same(*tables, tolerance=1e-12)


def test_bounds_hold_and_are_flagged(emulator, stars, labels):
    bounds = np.stack([emulator.label_low_, emulator.label_high_], axis=1)
    bounds[1] = [labels[0, 1] + 0.3, labels[0, 1] + 1.3]
    regressor = AbundanceRegressor(emulator, bounds=bounds)
    table = regressor.measure(stars[0])
    assert table["Fe_H"].value[0] == pytest.approx(bounds[1, 0], abs=1e-9)
    assert table["flags"][0] & FLAGS["LABEL_AT_EDGE"][0]
    assert table["converged"][0]


# What is returned ----------------------------------------------------------------


def test_returned_values_agree_with_each_other_and_the_table(emulator, stars, expected):
    regressor = AbundanceRegressor(emulator)
    plain = regressor.predict(stars)
    with_std, std = regressor.predict(stars, return_std=True)
    with_cov, covariance = regressor.predict(stars, return_cov=True)
    assert plain.shape == std.shape == (N_STARS, 3)
    assert plain.dtype == std.dtype == covariance.dtype == np.float64
    np.testing.assert_array_equal(plain, with_std)
    np.testing.assert_array_equal(plain, with_cov)
    np.testing.assert_array_equal(plain, labels_of(expected))
    np.testing.assert_array_equal(std, errors_of(expected))
    np.testing.assert_allclose(
        std, np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)), rtol=1e-14
    )
    np.testing.assert_allclose(covariance, covariance.transpose(0, 2, 1), rtol=1e-9)
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_std_and_cov_together_are_an_error(emulator, stars):
    with pytest.raises(ValueError, match="`return_std` and `return_cov` must not both"):
        AbundanceRegressor(emulator).predict(stars, return_std=True, return_cov=True)


def test_table_knows_names_and_units_of_the_emulator(expected):
    assert expected.colnames[:4] == ["teff", "teff_error", "Fe_H", "Fe_H_error"]
    assert expected["teff"].unit == u.K
    assert expected["Mg_H_error"].unit == u.dex


def test_nothing_of_the_caller_s_is_modified(emulator, labels):
    flux = emulator.predict(labels)
    flux[0, 3] = np.nan
    mask = np.zeros(flux.shape, dtype=bool)
    mask[1, 5] = True
    sigma = np.full_like(flux, 0.01)
    bounds = np.stack([emulator.label_low_, emulator.label_high_], axis=1)
    star = spectrum(flux[1].copy(), emulator.wavelength_.copy(), mask=mask[1].copy())
    given = [flux, mask, sigma, bounds, star.flux.value, star.uncertainty.array]
    before = [array.copy() for array in given]
    regressor = AbundanceRegressor(emulator, bounds=bounds)
    regressor.measure(flux, uncertainty=sigma, mask=mask)
    regressor.measure(star)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_read_only_arrays_are_taken(emulator, labels):
    flux = emulator.predict(labels)
    flux.flags.writeable = False
    assert AbundanceRegressor(emulator, snr=100).predict(flux).shape == (N_STARS, 3)


def test_progress_is_shown_only_when_asked_for(emulator, stars, capsys):
    AbundanceRegressor(emulator).predict(stars)
    assert capsys.readouterr() == ("", "")
    AbundanceRegressor(emulator, verbose=1).predict(stars)
    assert "5/5" in capsys.readouterr().err


# Training ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(make_emulator):
    """An emulator that trains in a moment, and knows no wavelengths yet."""
    return make_emulator(
        arch_params={"n_hidden": 23}, max_steps=211, wavelength=None, medium=None
    )


@pytest.fixture(scope="module")
def training_stars(grid):
    return SpectrumList(
        [spectrum(row, grid.wavelength, uncertainty=None) for row in grid.target[:101]]
    )


def test_fit_trains_a_clone_that_knows_the_wavelengths(quick, grid, training_stars):
    regressor = AbundanceRegressor(quick, snr=100)
    assert regressor.fit(training_stars, grid.data[:101]) is regressor
    assert not quick.__sklearn_is_fitted__()
    assert quick.wavelength is None
    assert regressor.label_names_ == ["teff", "Fe_H", "Mg_H"]
    np.testing.assert_allclose(
        regressor.emulator_.wavelength_, grid.wavelength, rtol=1e-14
    )
    assert regressor.emulator_.medium_ == "air"
    np.testing.assert_array_equal(
        regressor.emulator_.label_low_, grid.data[:101].min(axis=0)
    )


@pytest.mark.parametrize("kind", ["2-D", "set", "collection"])
def test_every_container_trains_the_same(quick, grid, training_stars, kind):
    flux, labels = grid.target[:101], grid.data[:101]
    X = {
        "2-D": as_two_dimensional,
        "set": as_spectrum_set,
        "collection": as_collection,
    }[kind](flux, grid.wavelength)
    ours = AbundanceRegressor(quick, snr=100).fit(X, labels)
    reference = AbundanceRegressor(quick, snr=100).fit(training_stars, labels)
    np.testing.assert_allclose(
        ours.emulator_.predict(labels), reference.emulator_.predict(labels), rtol=1e-7
    )


def test_fitting_again_gives_the_same(quick, grid, training_stars):
    first = AbundanceRegressor(quick, snr=100).fit(training_stars, grid.data[:101])
    second = clone(first).fit(training_stars, grid.data[:101])
    some = training_stars[:3]
    np.testing.assert_array_equal(first.predict(some), second.predict(some))


def test_measured_training_stars_are_near_their_labels(quick, grid, training_stars):
    regressor = AbundanceRegressor(quick, snr=100).fit(training_stars, grid.data[:101])
    # labels spread evenly over the box: an R² of 0.9 is a third of that spread
    assert regressor.score(training_stars[:31], grid.data[:31]) > 0.9


def test_own_emulator_keeps_the_wavelengths_it_was_told(make_emulator, grid):
    told = grid.wavelength * 1.0001
    emulator = make_emulator(wavelength=told, max_steps=2)
    regressor = AbundanceRegressor(emulator).fit(
        as_spectrum_set(grid.target[:31], grid.wavelength), grid.data[:31]
    )
    np.testing.assert_array_equal(regressor.emulator_.wavelength_, told)


def test_single_label_without_second_axis_comes_back_so():
    grid = make_spectra(101, label_names=("Fe_H",), n_wavelengths=61, random_state=0)
    regressor = AbundanceRegressor(
        make_pipeline(PolynomialFeatures(5), StandardScaler(), Ridge(1e-6)), snr=100
    )
    flat = regressor.fit(grid.target, grid.data[:, 0])
    found, std = flat.predict(grid.target[:7], return_std=True)
    assert found.shape == std.shape == (7,)
    square = clone(regressor).fit(grid.target, grid.data)
    assert square.predict(grid.target[:7]).shape == (7, 1)
    np.testing.assert_array_equal(square.predict(grid.target[:7])[:, 0], found)


@pytest.mark.parametrize("how", ["NaN", "masked array", "mask"])
def test_bad_training_pixels_are_filled_with_a_warning(how):
    # flux that is linear in the labels: filling restores it
    rng = np.random.default_rng(11)
    labels = rng.uniform(-1, 1, (61, 2))
    flux = 1 + 0.1 * labels @ rng.normal(size=(2, 37))
    bad = rng.uniform(size=flux.shape) < 0.05
    bad[:, 0] = False
    X = np.where(bad, np.nan, flux)
    if how == "masked array":
        X = np.ma.array(np.where(bad, 7.0, flux), mask=bad)
    elif how == "mask":
        wavelength = np.linspace(5000.0, 5003.6, 37)
        X = [
            spectrum(np.where(m, 7.0, row), wavelength, mask=m)
            for row, m in zip(flux, bad, strict=True)
        ]
    regressor = AbundanceRegressor(Ridge(1e-9), snr=100)
    with pytest.warns(
        UserWarning, match=r"of 61 training spectra have bad pixels, .*%"
    ):
        regressor.fit(X, labels)
    np.testing.assert_allclose(regressor.emulator_.predict(labels), flux, atol=1e-6)


# Inside scikit-learn -------------------------------------------------------------


def test_fitted_emulator_needs_no_fit(emulator, stars):
    regressor = AbundanceRegressor(emulator)
    assert regressor.predict(stars).shape == (N_STARS, 3)
    assert not hasattr(regressor, "emulator_")


def test_frozen_emulator_gives_the_same_and_survives_clone(emulator, stars, expected):
    frozen = AbundanceRegressor(FrozenEstimator(emulator))
    assert_same(frozen.measure(stars), expected)
    assert_same(clone(frozen).measure(stars), expected)
    assert_same(
        clone(frozen).fit(stars, np.zeros((N_STARS, 3))).measure(stars), expected
    )


def test_clone_of_a_fitted_emulator_is_unfitted(emulator, stars):
    with pytest.raises(NotFittedError):
        clone(AbundanceRegressor(emulator)).predict(stars)


def test_frozen_emulator_in_cross_validation_keeps_its_own_box(
    emulator, stars, labels, expected
):
    # the labels of a few stars must not become the bounds of the others
    found = cross_val_predict(
        AbundanceRegressor(FrozenEstimator(emulator)), stars, labels, cv=KFold(5)
    )
    np.testing.assert_allclose(
        found / errors_of(expected),
        labels_of(expected) / errors_of(expected),
        atol=1e-6,
    )


def test_whole_chain_in_cross_validation(quick, grid, training_stars):
    found = cross_val_predict(
        AbundanceRegressor(quick, snr=100), training_stars, grid.data[:101], cv=KFold(3)
    )
    assert found.shape == (101, 3)
    # what two thirds of 101 spectra teach; 0 would be no knowledge at all
    residual = ((found - grid.data[:101]) ** 2).sum(axis=0)
    total = ((grid.data[:101] - grid.data[:101].mean(axis=0)) ** 2).sum(axis=0)
    assert (1 - residual / total).mean() > 0.7


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("emulator__max_steps", [2, 211], 211),
        (
            "emulator__arch_params",
            [{"n_hidden": 1}, {"n_hidden": 23}],
            {"n_hidden": 23},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_grid_search_over_the_emulator(quick, grid, training_stars, name, values, best):
    regressor = AbundanceRegressor(quick, Observation(velocity_range=None), snr=100)
    search = GridSearchCV(regressor, {name: values}, cv=KFold(2), refit=False)
    search.fit(training_stars[:51], grid.data[:51])
    assert search.best_params_ == {name: best}


def test_parameters_of_the_emulator_are_reached(quick):
    regressor = AbundanceRegressor(clone(quick), snr=100)
    regressor.set_params(emulator__max_steps=7, observation__velocity_range=None)
    assert regressor.emulator.max_steps == 7
    assert regressor.get_params()["emulator__arch"] == "payne"


def test_pickle_measures_the_same(emulator, stars, expected):
    regressor = pickle.loads(pickle.dumps(AbundanceRegressor(emulator)))
    assert_same(regressor.measure(stars), expected, tolerance=1e-12)


def test_pickle_of_a_trained_one_measures_the_same(quick, grid, training_stars):
    regressor = AbundanceRegressor(quick, snr=100).fit(training_stars, grid.data[:101])
    again = pickle.loads(pickle.dumps(regressor))
    np.testing.assert_array_equal(
        again.predict(training_stars[:3]), regressor.predict(training_stars[:3])
    )


def test_representations_name_the_emulator(emulator):
    regressor = AbundanceRegressor(emulator, bounds=np.zeros((3, 2)))
    assert "SpectrumEmulator(" in repr(regressor)
    assert "SpectrumEmulator" in regressor._repr_html_()


# Foreign regressors --------------------------------------------------------------

FOREIGN = {
    "ridge": make_pipeline(PolynomialFeatures(4), StandardScaler(), Ridge(1e-6)),
    "network": make_pipeline(
        StandardScaler(),
        MLPRegressor(
            hidden_layer_sizes=(31,),
            activation="tanh",
            solver="lbfgs",
            tol=1e-8,
            max_iter=809,
            random_state=0,
        ),
    ),
}


@pytest.fixture(scope="module")
def small_grid():
    return make_spectra(
        101, n_wavelengths=61, label_names=("teff", "Fe_H"), random_state=0
    )


@pytest.fixture(scope="module", params=FOREIGN)
def foreign(request, small_grid):
    return clone(FOREIGN[request.param])


@pytest.mark.filterwarnings(
    "ignore:.*lbfgs failed:sklearn.exceptions.ConvergenceWarning"
)
def test_fitted_foreign_regressor_is_inverted_within_bounds(foreign, small_grid):
    foreign.fit(small_grid.data, small_grid.target)
    bounds = np.stack(
        [small_grid.data.min(axis=0), small_grid.data.max(axis=0)], axis=1
    )
    regressor = AbundanceRegressor(foreign, snr=100, bounds=bounds)
    low, high = bounds.T
    truth = np.random.default_rng(12).uniform(-0.5, 0.5, (7, 2))
    truth = (low + high) / 2 + truth * (high - low) / 2
    table = regressor.measure(foreign.predict(truth))
    assert table.colnames[:3] == ["label_0", "label_0_error", "label_1"]
    assert table["converged"].all()
    for i, name in enumerate(["label_0", "label_1"]):
        # chi2 within 1e-6 of its minimum, and numerical derivatives
        distance = (table[name].value - truth[:, i]) / table[f"{name}_error"].value
        assert np.abs(distance).max() < 2e-3


@pytest.mark.filterwarnings(
    "ignore:.*lbfgs failed:sklearn.exceptions.ConvergenceWarning"
)
def test_foreign_regressor_is_trained_by_fit(foreign, small_grid):
    regressor = AbundanceRegressor(foreign, snr=100).fit(
        small_grid.target, small_grid.data
    )
    found = regressor.predict(small_grid.target[:31])
    low, high = small_grid.data.min(axis=0), small_grid.data.max(axis=0)
    slack = 1e-9 * (high - low)
    assert ((found >= low - slack) & (found <= high + slack)).all()
    # Fe_H, which makes the lines; at -2 there are too few to tell Teff with an
    # emulator that errs by several per cent
    assert r2_score(small_grid.data[:31, 1], found[:, 1]) > 0.9


def test_label_that_does_not_vary_in_training_stays_as_it_is(small_grid):
    labels = small_grid.data.copy()
    labels[:, 0] = 5000.0
    regressor = AbundanceRegressor(
        make_pipeline(PolynomialFeatures(3), StandardScaler(), Ridge(1e-3)), snr=100
    ).fit(small_grid.target, labels)
    found = regressor.predict(small_grid.target[:7])
    assert (found[:, 0] == 5000.0).all()
    assert np.isfinite(found).all()


class Weighted(RegressorMixin, BaseEstimator):
    """A linear emulator that remembers the metadata of its fit."""

    def fit(self, X, y, sample_weight=None):
        self.sample_weight_ = sample_weight
        self.inner_ = Ridge(1e-6).fit(X, y, sample_weight=sample_weight)
        return self

    def predict(self, X):
        return self.inner_.predict(X)


def test_metadata_of_fit_is_routed_to_the_emulator(small_grid):
    weight = np.linspace(1, 2, 101)
    with sklearn.config_context(enable_metadata_routing=True):
        emulator = Weighted().set_fit_request(sample_weight=True)
        regressor = AbundanceRegressor(emulator, snr=100)
        regressor.fit(small_grid.target, small_grid.data, sample_weight=weight)
        np.testing.assert_array_equal(regressor.emulator_.sample_weight_, weight)


def test_metadata_that_nobody_asked_for_is_an_error(small_grid):
    with sklearn.config_context(enable_metadata_routing=True):
        regressor = AbundanceRegressor(Weighted(), snr=100)
        with pytest.raises(ValueError, match="sample_weight"):
            regressor.fit(
                small_grid.target, small_grid.data, sample_weight=np.ones(101)
            )
