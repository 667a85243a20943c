"""Tests of mock stars and of the statistics of their recovery."""

import numpy as np
import pandas as pd
import pytest
import scipy.interpolate
import scipy.stats
from astropy import units as u
from regressors import make_regressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.utils import Bunch

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS
from sk_payne.recovery import mock_recovery, recovery_statistics, recovery_table
from sk_payne.spectra import SpectrumSet, broaden

N_STARS = 199
# Of 5 standard errors, of which statistics may be off: one in two million.
FAR = 5
MIDDLE = [[5000.0, 0.0, 0.0]]
ARRAYS = ("snr", "true", "measured", "error", "chi2", "dof", "flags")


class Boastful(AbundanceRegressor):
    """Believes that noise is half of what it is."""

    def measure(self, X, **options):
        return super().measure(
            SpectrumSet(X.flux, 4 * X.ivar, wavelength=X.wavelength, medium=X.medium),
            **options,
        )


class Watched(AbundanceRegressor):
    """Keeps what it is asked to measure."""

    seen = None

    def measure(self, X, **options):
        Watched.seen = X
        return super().measure(X, **options)


@pytest.fixture(scope="module")
def regressor(emulator):
    return AbundanceRegressor(emulator, Observation(velocity_range=(-100, 100)))


@pytest.fixture(scope="module")
def recovery(regressor):
    """Stars at two S/N; don't change them."""
    return mock_recovery(regressor, snr=(50, 200), n_stars=N_STARS, random_state=0)


def assert_same(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(one[name], other[name])


def far_off(table, name, expected):
    """By how many standard errors a statistic is off, at most."""
    return np.max(np.abs(table[name] - expected) / table[f"{name}_error"])


# Recovery ------------------------------------------------------------------------


def test_names_units_and_shapes(recovery):
    assert recovery.label_names == ["teff", "Fe_H", "Mg_H", "radial_velocity"]
    assert recovery.label_units == ["K", "dex", "dex", "km / s"]
    assert recovery.true.shape == (N_STARS, 4)
    assert recovery.measured.shape == recovery.error.shape == (2, N_STARS, 4)
    for name in ("chi2", "dof", "flags"):
        assert recovery[name].shape == (2, N_STARS)


def test_errors_of_the_fit_hold(recovery):
    table = recovery_table(recovery)
    assert far_off(table, "pull_mean", 0) < FAR
    assert far_off(table, "pull_std", 1) < FAR
    assert far_off(table, "coverage_68", 0.6827) < FAR
    assert far_off(table, "coverage_95", 0.9545) < FAR


def test_chi2_is_that_of_the_noise(recovery):
    chi2, dof = recovery.chi2.sum(axis=1), recovery.dof.sum(axis=1)
    assert np.abs((chi2 - dof) / np.sqrt(2 * dof)).max() < FAR


def test_errors_hold_with_rotation_and_a_continuum_free(emulator):
    regressor = AbundanceRegressor(
        emulator,
        Observation(velocity_range=(-30, 30), vsini=(0, 20), continuum_degree=1),
    )
    recovery = mock_recovery(
        regressor, snr=300, n_stars=97, vsini=(5, 15), random_state=0
    )
    assert recovery.label_names[-2:] == ["vsini", "radial_velocity"]
    vsini = recovery.true[:, -2]
    assert 5 <= vsini.min() < 6
    assert 14 < vsini.max() <= 15
    table = recovery_table(recovery)
    assert far_off(table, "pull_spread", 1) < FAR
    assert far_off(table, "coverage_68", 0.6827) < FAR


def test_errors_that_are_too_small_are_found_out(emulator):
    regressor = Boastful(emulator, Observation(velocity_range=None))
    recovery = mock_recovery(regressor, snr=100, n_stars=N_STARS, random_state=0)
    table = recovery_table(recovery)
    # a Gaussian is within half of its standard deviation in 38 % of all cases
    assert far_off(table, "coverage_68", 0.383) < FAR
    assert (0.6827 - table["coverage_68"] > FAR * table["coverage_68_error"]).all()
    assert (table["pull_std"] - 1 > FAR * table["pull_std_error"]).all()


def test_emulator_that_is_wrong_is_found_out(regressor, grid):
    labels, flux = grid.data[:47], grid.target[:47]
    real = mock_recovery(regressor, labels, flux=flux, snr=1000, random_state=0)
    own = mock_recovery(regressor, labels, snr=1000, random_state=0)
    assert np.median(real.chi2 / real.dof) > 2 * np.median(own.chi2 / own.dof)
    spread = [recovery_table(r)["pull_spread"][0] for r in (real, own)]
    assert spread[0] > 2 * spread[1]


def test_given_labels_and_flux_are_used(regressor, emulator, draw_labels):
    labels = draw_labels(7)
    made = mock_recovery(regressor, labels, random_state=0)
    np.testing.assert_array_equal(made.true[:, :3], labels)
    given = mock_recovery(
        regressor, labels, flux=emulator.predict(labels), random_state=0
    )
    assert_same(given, made)


def test_same_seed_gives_the_same_and_another_does_not(regressor):
    one, same, other = (
        mock_recovery(regressor, n_stars=3, random_state=seed) for seed in (0, 0, 1)
    )
    assert_same(one, same)
    assert (one.true != other.true).all()


def test_noise_of_a_star_is_the_same_at_every_snr_but_for_its_size(regressor):
    recovery = mock_recovery(regressor, snr=(1e3, 4e3), n_stars=31, random_state=0)
    far, near = recovery.measured - recovery.true
    error = recovery.error[0]
    # beyond that, only the curvature of the model
    np.testing.assert_allclose(far / error, 4 * near / error, atol=0.1)


def test_labels_are_drawn_from_the_inner_part_of_the_box(recovery, emulator):
    low, high = emulator.label_low_, emulator.label_high_
    place = (recovery.true[:, :3] - low) / (high - low)
    assert 0.1 <= place.min() < 0.13
    assert 0.87 < place.max() <= 0.9


def test_bounds_of_the_regressor_are_the_box(emulator):
    bounds = [(4900, 5100), (-0.5, 0.0), (-0.5, 0.0)]
    regressor = AbundanceRegressor(emulator, bounds=bounds)
    recovery = mock_recovery(regressor, snr=100, n_stars=7, random_state=0)
    assert (recovery.true[:, 0] > 4900).all()
    assert (recovery.true[:, 0] < 5100).all()


def test_velocities_are_moderate_unless_said_otherwise(emulator):
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=(-50, 900)))
    velocity = mock_recovery(regressor, snr=50, n_stars=41, random_state=0).true[:, -1]
    assert -50 <= velocity.min() < 0
    assert 150 < velocity.max() <= 200
    fast = mock_recovery(regressor, snr=50, n_stars=2, velocity=231, random_state=0)
    np.testing.assert_array_equal(fast.true[:, -1], 231)


def test_regressor_is_as_before(emulator):
    regressor = AbundanceRegressor(emulator, snr=77, medium="vacuum", verbose=0)
    before = dict(vars(regressor))
    mock_recovery(regressor, n_stars=2, random_state=0)
    assert vars(regressor) == before
    assert regressor.emulator is emulator


def test_caller_s_arrays_are_not_modified(regressor, grid):
    labels, flux = grid.data[:3], grid.target[:3]  # read-only
    mock_recovery(regressor, labels, flux=flux, random_state=0)


def test_emulator_error_does_not_count(emulator):
    one, other = (
        mock_recovery(
            AbundanceRegressor(emulator, Observation(emulator_error=counts)),
            n_stars=3,
            random_state=0,
        )
        for counts in (True, False)
    )
    assert_same(one, other)


def test_frozen_emulator_gives_the_same(emulator):
    one, other = (
        mock_recovery(AbundanceRegressor(e), n_stars=3, random_state=0)
        for e in (emulator, FrozenEstimator(emulator))
    )
    assert_same(one, other)


def test_trained_regressor_uses_what_it_learned(grid, make_emulator):
    regressor = AbundanceRegressor(
        make_emulator(max_steps=53), Observation(velocity_range=None)
    )
    with pytest.raises(NotFittedError):
        mock_recovery(regressor, n_stars=2)
    regressor.fit(grid.target, grid.data)
    recovery = mock_recovery(regressor, snr=100, n_stars=3, random_state=0)
    assert recovery.label_names == ["teff", "Fe_H", "Mg_H"]
    assert not recovery.flags.any()


def test_foreign_regressor_without_wavelengths(grid):
    linear = LinearRegression().fit(grid.data, grid.target)
    box = np.stack([grid.data.min(axis=0), grid.data.max(axis=0)], axis=1)
    regressor = AbundanceRegressor(linear, bounds=box)
    recovery = mock_recovery(regressor, snr=300, n_stars=47, random_state=0)
    assert recovery.label_names == ["label_0", "label_1", "label_2"]
    assert far_off(recovery_table(recovery), "pull_std", 1) < FAR
    with pytest.raises(ValueError, match="`wavelength`, `vsini` and `vmac` must be"):
        mock_recovery(regressor, n_stars=2, wavelength=grid.wavelength)


def test_emulator_of_a_data_frame_says_nothing_of_names(grid, make_emulator):
    frame = pd.DataFrame(grid.data, columns=grid.label_names)
    emulator = make_emulator(label_names=None, max_steps=3)
    emulator.fit(frame, grid.target)
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None))
    found = mock_recovery(regressor, snr=100, n_stars=3, random_state=0)
    assert found.label_names == grid.label_names


def test_one_label_without_second_axis(grid, make_emulator):
    regressor = AbundanceRegressor(
        make_emulator(max_steps=53, label_names=["teff"], label_units=["K"]),
        Observation(velocity_range=None),
    ).fit(grid.target, grid.data[:, 0])
    recovery = mock_recovery(regressor, snr=100, n_stars=5, random_state=0)
    assert recovery.measured.shape == (1, 5, 1)


# Spectra -------------------------------------------------------------------------


def seen(emulator, labels, *, snr=1e9, parameters=None, **options):
    """Give the spectra that are measured, nearly without noise."""
    regressor = make_regressor(emulator, cls=Watched, **(parameters or {}))
    mock_recovery(regressor, labels, snr=snr, random_state=0, **options)
    return Watched.seen


def test_spectra_are_shifted_and_broadened_ones_of_the_emulator(emulator, draw_labels):
    labels, velocity = draw_labels(3), 83.0
    wavelength = np.linspace(4504, 4516, 201)
    spectra = seen(emulator, labels, velocity=velocity, vsini=11, wavelength=wavelength)
    factor = (velocity * u.km / u.s).to_value(u.AA, u.doppler_relativistic(1 * u.AA))
    smeared = broaden(emulator.predict(labels), emulator.wavelength_, vsini=11)
    spline = scipy.interpolate.make_interp_spline(
        np.log(emulator.wavelength_), smeared, k=5, axis=1
    )
    assert (spectra.ivar > 0).all()
    np.testing.assert_allclose(
        spectra.flux, spline(np.log(wavelength / factor)), atol=2e-6
    )
    assert spectra.medium == "air"


def test_spectra_of_an_emulator_that_takes_wavelengths_are_what_it_says(
    emulators, draw_labels
):
    emulator, labels = emulators["transformer"], draw_labels(3)
    spectra = seen(FrozenEstimator(emulator), labels, velocity=83.0)
    factor = (83 * u.km / u.s).to_value(u.AA, u.doppler_relativistic(1 * u.AA))
    good = spectra.ivar[0] > 0
    assert 220 < good.sum() < 257
    told = emulator.predict(labels, wavelength=emulator.wavelength_[good] / factor)
    np.testing.assert_allclose(spectra.flux[:, good], told, atol=1e-6)
    # where the fit broadens, it interpolates
    regressor = {"parameters": {"vsini": (0, 9)}}
    spectra = seen(emulator, labels, velocity=83.0, vsini=0, **regressor)
    assert np.abs(spectra.flux[:, good] - told).max() > 1e-4


@pytest.mark.parametrize("arch", ["convolutional", "transformer"])
def test_nothing_but_noise_is_left_of_other_architectures(emulators, arch):
    regressor = AbundanceRegressor(
        emulators[arch], Observation(velocity_range=(-30, 30))
    )
    recovery = mock_recovery(regressor, snr=1000, n_stars=23, random_state=0)
    chi2, dof = recovery.chi2.sum(), recovery.dof.sum()
    assert abs(chi2 - dof) < FAR * np.sqrt(2 * dof)


def test_noise_is_that_of_the_continuum(emulator, draw_labels):
    labels = draw_labels(31)
    options = {"parameters": {"continuum_degree": 2}, "velocity": 0.0}
    clean = seen(emulator, labels, **options)
    continuum = clean.flux / emulator.predict(labels)
    assert 0.7 < continuum.min() < 0.9
    assert 1.1 < continuum.max() < 1.3
    x = emulator.wavelength_ - 4510
    left = [np.polynomial.Chebyshev.fit(x, row, 2)(x) - row for row in continuum]
    assert np.abs(left).max() < 1e-6  # the noise at S/N 1e9, and float32
    noisy = seen(emulator, labels, snr=50, **options)
    np.testing.assert_allclose(noisy.ivar * continuum**2, 50**2, rtol=1e-6)
    noise = (noisy.flux - clean.flux) * np.sqrt(noisy.ivar)
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > 1e-6


def test_pixels_that_the_emulator_does_not_know_are_masked(emulator, draw_labels):
    labels, grid = draw_labels(2), emulator.wavelength_
    wavelength = np.linspace(grid[0] - 3, grid[-1] + 3, 301)
    spectra = seen(emulator, labels, velocity=150, vsini=20, wavelength=wavelength)
    good = wavelength[spectra.ivar[0] > 0]
    # 150 km/s are 2.25 Å, and 20 km/s 0.30 Å; a pixel is 0.09 Å
    assert 0 <= good[0] - (grid[0] + 2.25 + 0.30) < 0.1
    assert -0.1 < good[-1] - (grid[-1] + 2.26 - 0.30) <= 0.01
    assert (spectra.flux[spectra.ivar == 0] == 0).all()


def test_regressor_uses_no_masked_pixel(regressor, emulator):
    grid = emulator.wavelength_
    wide = np.r_[grid[0] - 1.07, grid[0] - 0.53, grid, grid[-1] + 0.53]
    one, other = (
        mock_recovery(
            regressor, n_stars=3, snr=1e6, velocity=0, wavelength=w, random_state=0
        )
        for w in (grid, wide)
    )
    np.testing.assert_array_equal(one.dof, other.dof)
    np.testing.assert_allclose(one.error, other.error, rtol=1e-3)


def test_instrument_of_the_regressor_broadens(emulator, draw_labels):
    labels = draw_labels(2)
    spectra = seen(emulator, labels, parameters={"resolving_power": 9000}, velocity=0.0)
    smeared = broaden(
        emulator.predict(labels),
        emulator.wavelength_,
        resolving_power=9000,
        already=emulator.resolving_power_,
    )
    good = spectra.ivar > 0
    assert 100 < good[0].sum() < 257
    np.testing.assert_allclose(spectra.flux[good], smeared[good], atol=1e-6)


def test_stars_without_data_are_left_out_and_counted(regressor, emulator):
    # eleven pixels are 57 km/s: faster stars have none that the emulator knows
    recovery = mock_recovery(
        regressor,
        n_stars=23,
        snr=100,
        wavelength=emulator.wavelength_[:11],
        velocity=(0, 100),
        random_state=0,
    )
    lost = (recovery.flags[0] & FLAGS["NO_DATA"][0]) > 0
    assert 3 < lost.sum() < 20
    np.testing.assert_array_equal(lost, np.isnan(recovery.measured[0]).any(axis=1))
    table = recovery_table(recovery)
    assert (table["n_no_data"] == lost.sum()).all()
    assert (table["n"] == 23 - lost.sum()).all()
    assert np.isfinite(table["coverage_68"]).all()


# Bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [[5000.0, 0.0]]}, "`labels` must have one row for each star"),
        ({"labels": [[9000.0, 0.0, 0.0]]}, r"got teff = 9000.0 of star 0, not in"),
        ({"labels": [[np.nan, 0.0, 0.0]]}, "got teff = nan of star 0"),
        ({"flux": np.ones((3, 257))}, "`labels` of the spectra must be given"),
        (
            {"labels": MIDDLE, "flux": np.ones((2, 5))},
            r"`flux` must be finite and of the shape \(1, 257.*got \(2, 5\)",
        ),
        (
            {"labels": MIDDLE, "flux": np.full((1, 257), np.nan)},
            "with NaN or infinity",
        ),
        ({"snr": (50, 0)}, r"`snr` must be one or several positive.*got \(50, 0\)"),
        ({"n_stars": 0}, "`n_stars` must be at least 1; got 0"),
        ({"velocity": (3, 2)}, r"`velocity` must be a velocity.*got \(3, 2\)"),
        ({"vsini": (1, 2, 3)}, r"`vsini` must be a velocity.*got \(1, 2, 3\)"),
        ({"vmac": -1}, "`vmac` must be finite and not negative"),
    ],
)
def test_bad_arguments_are_named(regressor, options, message):
    with pytest.raises(ValueError, match=message):
        mock_recovery(regressor, **({"n_stars": 3} | options))


# Statistics ----------------------------------------------------------------------


def gaussian(n_stars=101, n_snr=2, seed=0):
    """Give a recovery of two parameters with right errors."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(-1, 1, (n_stars, 2))
    error = rng.uniform(0.1, 0.2, (n_snr, n_stars, 2))
    return Bunch(
        snr=np.array([50.0, 100.0])[:n_snr],
        label_names=["Fe_H", "Mg_H"],
        label_units=["dex", "dex"],
        true=true,
        measured=true + error * rng.standard_normal(error.shape),
        error=error,
        flags=np.zeros((n_snr, n_stars), dtype=int),
    )


def test_statistics_are_those_of_scipy():
    recovery = gaussian()
    row = recovery_table(recovery)[1]
    assert (row["label"], row["unit"], row["snr"]) == ("Fe_H", "dex", 100)
    difference = recovery.measured[1, :, 0] - recovery.true[:, 0]
    pull = difference / recovery.error[1, :, 0]
    mad = scipy.stats.median_abs_deviation
    assert row["n"] == 101
    assert row["bias"] == pytest.approx(np.median(difference))
    assert row["scatter"] == pytest.approx(mad(difference, scale="normal"), rel=1e-4)
    assert row["error"] == pytest.approx(np.median(recovery.error[1, :, 0]))
    assert row["pull_mean"] == pytest.approx(pull.mean())
    assert row["pull_std"] == pytest.approx(pull.std())
    assert row["pull_spread"] == pytest.approx(mad(pull, scale="normal"), rel=1e-4)
    assert row["coverage_68"] == pytest.approx(np.mean(np.abs(pull) < 1))
    assert row["coverage_95"] == pytest.approx(np.mean(np.abs(pull) < 2))


def test_standard_errors_are_the_scatter_of_the_statistics():
    rng = np.random.default_rng(0)
    measured = rng.standard_normal((4001, 101, 1))
    found = recovery_statistics(0.0, measured, np.ones_like(measured))
    for name in found:
        if f"{name}_error" in found:
            claimed = np.median(found[f"{name}_error"])
            # 4001 sets tell a standard deviation to 1 %, 101 stars are not infinite
            assert found[name].std() == pytest.approx(claimed, rel=0.05), name


def test_statistics_of_no_star_are_not_a_number():
    found = recovery_statistics(
        np.zeros((3, 1)), np.full((3, 1), np.nan), np.ones((3, 1))
    )
    assert found.pop("n") == 0
    found.pop("error")
    assert not any(np.isfinite(value).any() for key, value in found.items())


def test_bins_share_the_stars_out_in_the_order_of_a_parameter():
    recovery = gaussian()
    table = recovery_table(recovery, by="Mg_H", n_bins=4)
    assert len(table) == 2 * 2 * 4
    rows = table[(table["label"] == "Fe_H") & (table["snr"] == 50)]
    assert set(rows["by"]) == {"Mg_H"}
    assert rows["n"].tolist() == [26, 25, 25, 25]
    assert (rows["by_high"][:-1] < rows["by_low"][1:]).all()
    low, high = rows["by_low"][2], rows["by_high"][2]
    inside = (recovery.true[:, 1] >= low) & (recovery.true[:, 1] <= high)
    assert rows["by_median"][2] == np.median(recovery.true[inside, 1])
    difference = (recovery.measured[0] - recovery.true)[inside, 0]
    assert rows["bias"][2] == pytest.approx(np.median(difference))


def test_bins_by_self_are_those_of_each_parameter():
    recovery = gaussian()
    table = recovery_table(recovery, by="self", n_bins=3)
    assert (table["by"] == table["label"]).all()
    for name in recovery.label_names:
        by_name = recovery_table(recovery, by=name, n_bins=3)
        rows = table["label"] == name
        assert list(table[rows]["bias"]) == list(by_name[rows]["bias"])


def test_bias_in_one_half_is_seen_by_bins_only():
    recovery = gaussian(n_stars=1001)
    recovery.measured += 0.1 * np.sign(recovery.true)
    assert abs(recovery_table(recovery)["bias"]).max() < 0.03
    halves = recovery_table(recovery, by="self", n_bins=2)
    np.testing.assert_allclose(halves["bias"], [-0.1, 0.1] * 4, atol=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "Fe_h"}, "got 'Fe_h'. Did you mean 'Fe_H'?"),
        ({"by": "Fe_H", "n_bins": 0}, "`n_bins` must be between 1 and the 101 stars"),
        ({"by": "Fe_H", "n_bins": 102}, "got 102"),
    ],
)
def test_bad_bins_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        recovery_table(gaussian(), **options)
