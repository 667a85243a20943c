"""Tests of what lies between star and data: broadening and continuum."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from regressors import make_regressor, model_of
from scipy.optimize import least_squares
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS
from sk_payne.abundances._broadening import Broadening
from sk_payne.abundances._continuum import ContinuumModel, continuum_basis
from sk_payne.abundances._fitted_emulator import as_fitted_emulator
from sk_payne.datasets import make_spectra
from sk_payne.spectra import broaden, doppler_factor

LABELS = [5230.0, -0.4, 0.1]


def spectrum(wavelength, flux, *, snr=200.0, noise=0.0, seed=0, medium="air"):
    # noise as of photons of a level that hardly changes within some pixels
    level = np.convolve(
        np.pad(np.abs(flux), 10, mode="edge"), np.ones(21) / 21, "valid"
    )
    error = level / snr
    flux = flux + noise * error * np.random.default_rng(seed).normal(size=len(flux))
    return Spectrum(
        flux=flux * u.dimensionless_unscaled,
        spectral_axis=wavelength * u.AA,
        uncertainty=StdDevUncertainty(error),
        meta={"medium": medium, "resolving_power": 20_000.0},
    )


@pytest.fixture(scope="module")
def wide(make_emulator):
    """A fitted emulator of 60 Å, in which lines broadened by rotation stay apart."""
    grid = make_spectra(
        401,
        label_names=("teff", "Fe_H", "Mg_H"),
        n_wavelengths=769,
        wavelength_range=(4500, 4560),
        random_state=0,
    )
    emulator = make_emulator(wavelength=grid.wavelength)
    return emulator.fit(grid.data, grid.target)


@pytest.fixture(scope="module")
def observed(emulator):
    """Give a function that makes a spectrum as observed, broadened and scaled."""

    def make(
        labels=LABELS,
        *,
        emulator=emulator,
        velocity=0.0,
        scale=1.0,
        pixels=slice(20, -20),
        **how,
    ):
        noise = {
            name: how.pop(name) for name in ("snr", "noise", "seed") if name in how
        }
        flux = broaden(emulator.predict([labels])[0], emulator.wavelength_, **how)
        wavelength = emulator.wavelength_ * doppler_factor(velocity)
        return spectrum(
            wavelength[pixels],
            (scale * flux)[pixels],
            medium=emulator.medium_,
            **noise,
        )

    return make


def sloping(wavelength):
    """Counts of an instrument, far from one."""
    x = (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0])
    return 3000 * (1 + 0.8 * x - 1.1 * x**2)


# the model


@pytest.mark.parametrize("arch", ["payne", "convolutional", "transformer"])
def test_derivatives_are_those_of_differences(emulators, arch):
    inverted = as_fitted_emulator(emulators[arch])
    inverted = replace(inverted, single=inverted.source)  # double precision
    limits = {"vsini": (0.0, 60.0), "vmac": (0.0, 20.0)}
    broadening = Broadening.from_limits(inverted.wavelength, limits, 0.6)
    wavelength = torch.from_numpy(inverted.wavelength[30:-30]).expand(2, -1)
    model = model_of(inverted, wavelength, with_velocity=True, broadening=broadening)
    flux = torch.full(wavelength.shape, 1.7, dtype=torch.float64)
    basis = continuum_basis(wavelength.numpy(), np.ones(wavelength.shape), 2)
    parameters = torch.tensor(
        [[0.2, -0.3, 0.1, 25.0, 4.0, 11.0], [-0.5, 0.4, 0.2, 2.0, 9.0, -30.0]],
        dtype=torch.float64,
    )
    rows = torch.arange(2)
    found, jacobian = model.linearize(rows, parameters)
    torch.testing.assert_close(found, model.flux(rows, parameters))
    for i in range(6):
        step = 1e-4 * torch.eye(6, dtype=torch.float64)[i]
        ends = [model.flux(rows, parameters + s * step) for s in (1, -1)]
        expected = (ends[0] - ends[1]) / 2e-4
        torch.testing.assert_close(jacobian[:, i], expected, rtol=1e-4, atol=1e-7)
    # with a continuum, derivatives are orthogonal to those by its coefficients
    with_continuum = ContinuumModel(model, flux, torch.ones_like(flux), basis)
    scaled, jacobian = with_continuum.linearize(rows, parameters)
    torch.testing.assert_close(scaled, with_continuum.flux(rows, parameters))
    by_coefficient = basis.polynomials * found[:, None]
    assert (jacobian @ by_coefficient.mT).abs().max() < 1e-8


# broadening


@pytest.mark.parametrize("vsini", [4.0, 25.0, 90.0])
def test_fast_rotators_are_measured(emulator, observed, vsini):
    star = observed(velocity=37.0, vsini=vsini)
    regressor = AbundanceRegressor(
        emulator, Observation(vsini=(0, 120), emulator_error=False)
    )
    row = regressor.measure(star)[0]
    assert row["converged"]
    assert row["vsini"].value == pytest.approx(vsini, abs=0.02)
    assert row["radial_velocity"].value == pytest.approx(37, abs=0.02)
    assert row["teff"].value == pytest.approx(LABELS[0], abs=1)
    assert row["chi2"] < 0.05


def test_known_broadening_is_not_fitted(emulator, observed):
    star = observed(vsini=20.0, vmac=6.0)
    regressor = AbundanceRegressor(emulator, Observation(vsini=20.0, vmac=6.0))
    table = regressor.measure(star)
    assert "vsini" not in table.colnames
    assert table["chi2"][0] < 1e-3
    np.testing.assert_allclose(regressor.predict(star), [LABELS], atol=0.1)


def test_ignored_rotation_is_a_bad_fit(emulator, observed):
    row = AbundanceRegressor(emulator).measure(observed(vsini=60.0))[0]
    assert row["flags"] & FLAGS["BAD_FIT"][0]


@pytest.mark.parametrize("vsini", [0.0, (0.0, 50.0)])
def test_lower_resolving_power_is_allowed_for(emulator, observed, vsini):
    own = emulator.resolving_power_
    star = observed(resolving_power=0.6 * own, already=own, vsini=np.max(vsini) / 2)
    regressor = AbundanceRegressor(
        emulator,
        Observation(resolving_power=0.6 * own, vsini=vsini, emulator_error=False),
    )
    row = regressor.measure(star)[0]
    assert row["chi2"] < 0.05
    assert row["teff"].value == pytest.approx(LABELS[0], abs=1)
    blind = AbundanceRegressor(emulator, Observation(vsini=vsini, emulator_error=False))
    assert blind.measure(star)["chi2"][0] > 5


def test_own_resolving_power_changes_nothing(emulator, observed):
    star = observed(noise=1.0)
    regressor = AbundanceRegressor(emulator)
    expected = regressor.predict(star)
    regressor.set_params(observation__resolving_power=emulator.resolving_power_)
    np.testing.assert_array_equal(regressor.predict(star), expected)


def test_resolving_power_of_the_emulator_must_be_known(make_emulator, grid, observed):
    emulator = make_emulator(resolving_power=None, max_steps=3)
    emulator.fit(grid.data, grid.target)
    regressor = AbundanceRegressor(emulator, Observation(resolving_power=1e4))
    with pytest.raises(ValueError, match="emulator that does not know its own; got"):
        regressor.predict(observed())


def test_macroturbulence_is_found(emulator, observed):
    star = observed(vmac=15.0)
    regressor = AbundanceRegressor(
        emulator, Observation(vmac=(0, 50), emulator_error=False)
    )
    row = regressor.measure(star)[0]
    assert row["vmac"].value == pytest.approx(15, abs=0.05)
    assert row["vmac_error"].value > 0


def test_star_that_does_not_rotate_is_at_the_edge(emulator, observed):
    row = AbundanceRegressor(emulator, Observation(vsini=(0, 100))).measure(observed())[
        0
    ]
    assert row["converged"]
    assert row["vsini"].value < 3
    star = observed(vsini=30.0)
    row = AbundanceRegressor(emulator, Observation(vsini=(0, 10))).measure(star)[0]
    assert row["flags"] & FLAGS["WIDTH_AT_EDGE"][0]
    assert row["vsini"].value == 10


def test_pixels_that_rotation_brings_in_from_outside_are_not_used(emulator, observed):
    star = observed(pixels=slice(None))
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None))
    n_all = regressor.measure(star)["n_pixels"][0]
    regressor.set_params(observation__vsini=50.0)
    wavelength = emulator.wavelength_
    lost = (wavelength < wavelength[0] * doppler_factor(50.0)) | (
        wavelength > wavelength[-1] / doppler_factor(50.0)
    )
    assert regressor.measure(star)["n_pixels"][0] == n_all - lost.sum()


def test_arrays_are_broadened_too(emulator):
    flux = broaden(emulator.predict([LABELS]), emulator.wavelength_, vsini=30.0)
    regressor = AbundanceRegressor(
        emulator,
        Observation(velocity_range=None, vsini=(0, 100), emulator_error=False),
        snr=200,
    )
    row = regressor.measure(flux)[0]
    assert row["vsini"].value == pytest.approx(30, abs=0.05)


# continuum


@pytest.mark.parametrize("velocity", [0.0, 230.0])
def test_unnormalised_flux_is_measured(emulator, observed, velocity):
    star = observed(velocity=velocity, scale=sloping(emulator.wavelength_), vsini=12.0)
    regressor = AbundanceRegressor(
        emulator, Observation(continuum_degree=2, vsini=(0, 60), emulator_error=False)
    )
    row = regressor.measure(star)[0]
    assert row["chi2"] < 0.01
    assert row["teff"].value == pytest.approx(LABELS[0], abs=0.5)
    assert row["radial_velocity"].value == pytest.approx(velocity, abs=0.01)
    assert row["dof"] == row["n_pixels"] - 5 - 3


def test_negative_continuum_is_flagged(emulator, observed):
    star = observed()
    regressor = AbundanceRegressor(emulator, Observation(continuum_degree=1))
    turned = star.multiply(-1 * u.dimensionless_unscaled)
    turned.meta.update(star.meta)
    table = regressor.measure([star, turned])
    flagged = table["flags"] & FLAGS["BAD_CONTINUUM"][0] > 0
    np.testing.assert_array_equal(flagged, [False, True])


def test_segments_have_continua_of_their_own(emulator, observed):
    wavelength = emulator.wavelength_
    middle = len(wavelength) // 2
    scale = np.where(np.arange(len(wavelength)) < middle, 5.0, 0.02)
    pixels = np.r_[20 : middle - 20, middle + 20 : len(wavelength) - 20]
    star = observed(scale=scale, pixels=pixels)
    regressor = AbundanceRegressor(
        emulator, Observation(continuum_degree=0, emulator_error=False)
    )
    row = regressor.measure(star)[0]
    assert row["teff"].value == pytest.approx(LABELS[0], abs=0.5)
    assert row["dof"] == row["n_pixels"] - 4 - 2


def test_model_is_the_flux_of_the_fit(emulator, observed):
    star = observed(scale=sloping(emulator.wavelength_), vsini=12.0)
    mask = np.zeros(len(star.flux), dtype=bool)
    mask[40:50] = True
    star.mask = mask
    regressor = AbundanceRegressor(
        emulator, Observation(continuum_degree=2, vsini=(0, 60))
    )
    table, model = regressor.measure(star, return_model=True)
    used = np.isfinite(model[0])
    assert used.sum() == table["n_pixels"][0]
    assert not used[mask].any()
    np.testing.assert_allclose(model[0][used], star.flux.value[used], rtol=1e-3)


def test_covariance_is_that_of_a_fit_of_everything_at_once(emulator, observed):
    star = observed(scale=sloping(emulator.wavelength_), noise=1.0, seed=3)
    regressor = AbundanceRegressor(
        emulator,
        Observation(continuum_degree=2, velocity_range=None, emulator_error=False),
    )
    labels, covariance = regressor.predict(star, return_cov=True)
    module = emulator.to_torch(dtype=torch.float64)
    wavelength = star.spectral_axis.value
    x = (wavelength - wavelength.mean()) / np.ptp(wavelength)
    scale = np.array([100.0, 0.1, 0.1])

    def residual(parameters):
        at = torch.from_numpy(parameters[:3] * scale)[None]
        flux = module(at, torch.from_numpy(wavelength))[0].numpy()
        continuum = 1000 * np.polynomial.polynomial.polyval(x, parameters[3:])
        error = star.uncertainty.array
        return (star.flux.value - flux * continuum) / error

    with torch.no_grad():
        fit = least_squares(
            residual, [*(np.array(LABELS) / scale), 3, 0, 0], xtol=1e-14, ftol=1e-14
        )
    expected = np.linalg.inv(fit.jac.T @ fit.jac)[:3, :3] * scale[:, None] * scale
    off = (labels[0] - fit.x[:3] * scale) / np.sqrt(np.diag(expected))
    assert np.abs(off).max() < 1e-2  # of the error
    np.testing.assert_allclose(covariance[0], expected, rtol=1e-3)


def test_emulator_error_is_in_units_of_the_continuum(emulator, observed):
    plain = observed()
    bright = observed(scale=1000.0)
    for star in (plain, bright):
        star.uncertainty = StdDevUncertainty(star.uncertainty.array * 1e-3)
    regressor = AbundanceRegressor(emulator, Observation(continuum_degree=1))
    errors = [regressor.predict(star, return_std=True)[1] for star in (plain, bright)]
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-3)


def test_pulls_are_unbiased_and_as_wide_as_they_should_be(wide, observed):
    emulator = wide
    rng = np.random.default_rng(5)
    low, high = emulator.label_low_, emulator.label_high_
    truth = (low + high) / 2 + rng.uniform(-0.25, 0.25, (200, 3)) * (high - low)
    vsini, velocity = rng.uniform(10, 50, 200), rng.uniform(-200, 200, 200)
    scale = sloping(emulator.wavelength_)
    stars = [
        observed(
            t,
            emulator=emulator,
            velocity=v,
            vsini=w,
            scale=scale,
            snr=100,
            noise=1.0,
            seed=i,
        )
        for i, (t, v, w) in enumerate(zip(truth, velocity, vsini, strict=True))
    ]
    regressor = AbundanceRegressor(
        emulator, Observation(continuum_degree=2, vsini=(0, 80), emulator_error=False)
    )
    table = regressor.measure(stars)
    expected = dict(zip(emulator.label_names_, truth.T, strict=True))
    expected |= {"vsini": vsini, "radial_velocity": velocity}
    for name, true in expected.items():
        pull = (table[name].value - true) / table[f"{name}_error"].value
        # of 200 stars: three standard errors of mean and deviation
        assert abs(pull.mean()) < 3 / np.sqrt(200), name
        assert pull.std() == pytest.approx(1, abs=3 / np.sqrt(400)), name
    ratio = table["chi2"] / table["dof"]
    assert np.mean(ratio) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("degree", [None, 1])
def test_star_is_the_same_in_any_batch(emulator, observed, degree):
    stars = [
        observed(vsini=v, velocity=2 * v, noise=1.0, seed=i, pixels=slice(20, -20 - i))
        for i, v in enumerate([5.0, 20.0, 40.0])
    ]
    regressor = AbundanceRegressor(
        emulator, Observation(vsini=(0, 80), continuum_degree=degree)
    )
    together = regressor.predict(stars)
    for star, expected in zip(stars, together, strict=True):
        np.testing.assert_allclose(regressor.predict(star)[0], expected, rtol=1e-7)


# what is not allowed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vsini": -1}, "`vsini` must be a velocity in km/s, not negative"),
        ({"vsini": (5, 1)}, "`vsini` must be a velocity in km/s, not negative"),
        ({"vmac": (0, 1, 2)}, "`vmac` must be a velocity in km/s, not negative"),
        ({"vmac": np.nan}, "`vmac` must be a velocity in km/s, not negative"),
        ({"vsini": "fast"}, "`vsini` must be a velocity .* got 'fast'"),
        ({"vsini": ("slow", "fast")}, r"`vsini` must be .* got \('slow', 'fast'\)"),
        ({"vmac": [3.0, [1.0, 2.0]]}, r"`vmac` must be .* got \[3.0, \[1.0, 2.0\]\]"),
        ({"vmac": None}, "`vmac` must be a velocity .* got None"),
        ({"vsini": (0 * u.K, 9 * u.K)}, "`vsini` must be in km / s or a unit that"),
        ({"limb_darkening": "strong"}, "`limb_darkening` must be .* got 'strong'"),
        ({"limb_darkening": [0.6, 0.6]}, "`limb_darkening` must be .* got"),
        ({"resolving_power": "high"}, "`resolving_power` must be .* got 'high'"),
        ({"resolving_power": ("low", "high")}, "`resolving_power` must be .* got"),
        ({"velocity_range": ("slow", "fast")}, "`velocity_range` must be .* got"),
        (
            {"limb_darkening": -0.1},
            "`limb_darkening` must be between 0 and 1; got -0.1",
        ),
        ({"resolving_power": [1e4, 9e3]}, "`resolving_power` must be one number, or"),
        ({"resolving_power": 0.0}, "`resolving_power` must be positive; got 0.0"),
        ({"resolving_power": 1e6}, "must not be above that of the spectrum"),
        ({"continuum_degree": -1}, "`continuum_degree` must be None or an integer"),
        ({"continuum_degree": 1.5}, "`continuum_degree` must be None or an integer"),
    ],
)
def test_bad_arguments_are_named(emulator, observed, changes, message):
    with pytest.raises(ValueError, match=message):
        make_regressor(emulator, **changes).predict(observed())


@pytest.mark.parametrize("changes", [{"vsini": 3.0}, {"continuum_degree": 1}])
def test_emulator_without_wavelengths_cannot_be_broadened(make_emulator, grid, changes):
    emulator = make_emulator(wavelength=None, medium=None, max_steps=3)
    emulator.fit(grid.data, grid.target)
    with pytest.raises(ValueError, match="for an emulator without wavelengths"):
        make_regressor(emulator, snr=100, **changes).predict(grid.target[:2])
