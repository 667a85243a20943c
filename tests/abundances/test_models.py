"""Tests of the flux that the fit compares with data, and of its derivatives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from regressors import model_of
from sklearn.base import BaseEstimator, RegressorMixin

from sk_payne.abundances._fitted_emulator import TrainingRecord, as_fitted_emulator
from sk_payne.abundances._predict_model import PredictModel
from sk_payne.spectra import doppler_factor

ARCHS = ["payne", "convolutional", "transformer"]
N_STARS = 3


@pytest.fixture(scope="module")
def parameters():
    """Labels of three stars in units of the box."""
    unit = np.random.default_rng(0).uniform(-0.7, 0.7, (N_STARS, 3))
    return torch.from_numpy(unit)


@pytest.fixture(scope="module")
def wavelength():
    """Wavelengths between those of the grid, of each star its own."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(np.sort(rng.uniform(4501.0, 4519.0, (N_STARS, 61))))


def in_double(emulator):
    """View whose derivatives are of double precision, too."""
    inverted = as_fitted_emulator(emulator)
    return replace(inverted, single=inverted.source)


def by_differences(model, parameters, steps):
    """Central differences of shape (B, K, P)."""
    rows = torch.arange(len(parameters))
    columns = []
    for k, step in enumerate(steps):
        change = torch.zeros_like(parameters)
        change[:, k] = step
        up = model.flux(rows, parameters + change)
        down = model.flux(rows, parameters - change)
        columns.append((up - down) / (2 * step))
    return torch.stack(columns, dim=1)


def assert_close_to_scale(actual, expected, tolerance):
    """Compare with each parameter's largest derivative."""
    scale = expected.abs().amax(dim=(0, 2), keepdim=True)
    assert (scale > 0).all()
    assert ((actual - expected).abs() / scale).max() < tolerance


@pytest.mark.parametrize("arch", ARCHS)
def test_flux_on_the_own_grid_is_that_of_predict(emulators, parameters, arch):
    emulator = emulators[arch]
    inverted = as_fitted_emulator(emulator)
    flux = model_of(inverted).flux(None, parameters)
    labels = inverted.center + inverted.half_width * parameters.numpy()
    np.testing.assert_allclose(flux.numpy(), emulator.predict(labels), rtol=1e-12)


@pytest.mark.parametrize("with_velocity", [False, True])
@pytest.mark.parametrize("arch", ARCHS)
def test_flux_at_wavelengths_is_that_of_predict(
    emulators, parameters, wavelength, arch, with_velocity
):
    emulator = emulators[arch]
    inverted = as_fitted_emulator(emulator)
    velocity = np.array([-17.0, 0.0, 31.0]) if with_velocity else np.zeros(N_STARS)
    given = parameters
    if with_velocity:
        given = torch.hstack([parameters, torch.from_numpy(velocity)[:, None]])
    model = model_of(inverted, wavelength, with_velocity=with_velocity)
    flux = model.flux(torch.arange(N_STARS), given).numpy()
    labels = inverted.center + inverted.half_width * parameters.numpy()
    for i in range(N_STARS):
        rest = wavelength[i].numpy() / doppler_factor(velocity[i])
        expected = emulator.predict(labels[i : i + 1], wavelength=rest)[0]
        np.testing.assert_allclose(flux[i], expected, rtol=1e-11)


@pytest.mark.parametrize("arch", ARCHS)
def test_derivatives_on_the_own_grid_equal_differences(emulators, parameters, arch):
    model = model_of(in_double(emulators[arch]))
    flux, jacobian = model.linearize(torch.arange(N_STARS), parameters)
    torch.testing.assert_close(flux, model.flux(None, parameters))
    # truncation (1e-4)**2 times third derivatives of order ten
    assert_close_to_scale(jacobian, by_differences(model, parameters, [1e-4] * 3), 1e-6)


@pytest.mark.parametrize("arch", ARCHS)
def test_derivatives_at_wavelengths_equal_differences(
    emulators, parameters, wavelength, arch
):
    model = model_of(in_double(emulators[arch]), wavelength)
    flux, jacobian = model.linearize(torch.arange(N_STARS), parameters)
    torch.testing.assert_close(flux, model.flux(torch.arange(N_STARS), parameters))
    assert_close_to_scale(jacobian, by_differences(model, parameters, [1e-4] * 3), 1e-6)


@pytest.mark.parametrize("velocity", [0.0, -211.0, 307.0])
@pytest.mark.parametrize("arch", ARCHS)
def test_derivatives_by_labels_and_velocity_equal_differences(
    emulators, parameters, wavelength, arch, velocity
):
    observed = wavelength * doppler_factor(velocity)
    model = model_of(in_double(emulators[arch]), observed, with_velocity=True)
    given = torch.hstack([parameters, torch.full((N_STARS, 1), velocity).double()])
    flux, jacobian = model.linearize(torch.arange(N_STARS), given)
    assert jacobian.shape == (N_STARS, 4, 61)
    torch.testing.assert_close(flux, model.flux(torch.arange(N_STARS), given))
    # 0.002 km/s is 4e-4 pixels, and the spline has third derivatives per pixel of
    # order one
    expected = by_differences(model, given, [1e-4] * 3 + [2e-3])
    assert_close_to_scale(jacobian, expected, 1e-5)


@pytest.mark.parametrize("arch", ARCHS)
def test_derivatives_of_single_precision_are_nearly_those_of_double(
    emulators, parameters, wavelength, arch
):
    given = torch.hstack([parameters, torch.full((N_STARS, 1), 11.0).double()])
    rows = torch.arange(N_STARS)
    _, single = model_of(
        as_fitted_emulator(emulators[arch]), wavelength, with_velocity=True
    ).linearize(rows, given)
    _, double = model_of(
        in_double(emulators[arch]), wavelength, with_velocity=True
    ).linearize(rows, given)
    assert single.dtype == torch.float32
    assert_close_to_scale(single.double(), double, 2e-5)


@pytest.mark.parametrize("arch", ARCHS)
def test_rows_choose_the_wavelengths_of_the_stars(
    emulators, parameters, wavelength, arch
):
    model = model_of(as_fitted_emulator(emulators[arch]), wavelength)
    every = model.linearize(torch.arange(N_STARS), parameters)
    some = model.linearize(torch.tensor([2, 0]), parameters[[2, 0]])
    for all_stars, two_stars in zip(every, some, strict=True):
        torch.testing.assert_close(two_stars, all_stars[[2, 0]])


@pytest.mark.parametrize("arch", ARCHS)
def test_pixels_beyond_the_emulator_are_finite(emulators, parameters, arch):
    outside = torch.linspace(4400, 4620, 61).double().expand(N_STARS, -1)
    model = model_of(as_fitted_emulator(emulators[arch]), outside, with_velocity=True)
    given = torch.hstack([parameters, torch.zeros(N_STARS, 1).double()])
    for part in model.linearize(torch.arange(N_STARS), given):
        assert torch.isfinite(part).all()


class Foreign(RegressorMixin, BaseEstimator):
    """An emulator of ours that says no more than `predict`."""

    def __init__(self, emulator):
        self.emulator = emulator

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.emulator.predict(X)


def test_numerical_derivatives_agree_with_exact_ones(emulator, parameters):
    bounds = np.stack([emulator.label_low_, emulator.label_high_], axis=1)
    exact = model_of(in_double(emulator))
    numerical = model_of(as_fitted_emulator(Foreign(emulator), bounds))
    assert isinstance(numerical, PredictModel)
    rows = torch.arange(N_STARS)
    for ours, theirs in zip(
        exact.linearize(rows, parameters),
        numerical.linearize(rows, parameters),
        strict=True,
    ):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6)


def test_numerical_derivatives_never_look_outside_the_box(emulator):
    seen = []

    class Watched(Foreign):
        def predict(self, X):
            seen.append(X)
            return super().predict(X)

    low, high = emulator.label_low_, emulator.label_high_
    model = model_of(
        as_fitted_emulator(Watched(emulator), np.stack([low, high], axis=1))
    )
    corners = torch.tensor([[-1.0, 1.0, -1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    flux, _ = model.linearize(None, corners)
    assert flux.shape == (2, 257)
    seen = np.concatenate(seen)
    slack = 1e-12 * np.abs(high)
    assert (seen >= low - slack).all()
    assert (seen <= high + slack).all()


def test_foreign_regressor_is_asked_for_its_number_of_pixels(emulator):
    bounds = np.stack([emulator.label_low_, emulator.label_high_], axis=1)
    assert as_fitted_emulator(Foreign(emulator), bounds).n_pixels == 257


def test_own_bounds_replace_those_of_the_emulator_or_the_training_set(emulator):
    bounds = np.array([[4500.0, 5000.0], [-1.0, 0.0], [-0.5, 0.5]])
    for source in (emulator, Foreign(emulator)):
        inverted = as_fitted_emulator(
            source, bounds, trained=TrainingRecord(bounds + 1)
        )
        np.testing.assert_array_equal(inverted.low, bounds[:, 0])
        np.testing.assert_array_equal(inverted.high, bounds[:, 1])
    inverted = as_fitted_emulator(emulator, trained=TrainingRecord(bounds))
    np.testing.assert_array_equal(inverted.low, emulator.label_low_)
    inverted = as_fitted_emulator(Foreign(emulator), trained=TrainingRecord(bounds))
    np.testing.assert_array_equal(inverted.low, bounds[:, 0])
