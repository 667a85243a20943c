"""Tests of derivatives and of the errors that follow, against differences and fits."""

import copy

import numpy as np
import pytest

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.inspection import (
    BestWindowsDisplay,
    CramerRaoDisplay,
    SensitivityDisplay,
    best_windows,
    cramer_rao,
    sensitivity,
)

ARCHS = ["payne", "bigpayne", "convolutional", "opacity", "transformer"]
SNR = 150.0


@pytest.fixture
def middle(tiny_grid):
    """Stars well within the box."""
    low, high = tiny_grid.data.min(axis=0), tiny_grid.data.max(axis=0)
    rng = np.random.default_rng(0)
    return (low + high) / 2 + rng.uniform(-0.25, 0.25, (5, 5)) * (high - low)


@pytest.fixture(scope="module")
def constant_logg(make_tiny, tiny_grid):
    P = tiny_grid.data.copy()
    P[:, 1] = 4.5
    return make_tiny().fit(P, tiny_grid.target)


# Derivatives ---------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHS)
def test_derivatives_are_finite_differences_of_predict(arch, fitted, middle):
    emulator = fitted[arch]
    found = sensitivity(emulator, middle)
    np.testing.assert_allclose(found.flux, emulator.predict(middle), atol=1e-6)
    size = (emulator.label_high_ - emulator.label_low_) / 2
    for i in range(5):
        step = np.where(np.arange(5) == i, 1e-4 * size, 0.0)
        up, down = emulator.predict(middle + step), emulator.predict(middle - step)
        expected = (up - down) / (2 * step[i])
        # differences of that step are off by their third order, 1e-8 of the box
        np.testing.assert_allclose(
            found.derivative[:, i] * size[i], expected * size[i], rtol=1e-5, atol=1e-6
        )


def test_derivatives_by_labels_that_never_varied_are_not_known(constant_logg, middle):
    middle[:, 1] = 4.5
    found = sensitivity(constant_logg, middle)
    assert np.isnan(found.derivative[:, 1]).all()
    assert np.isfinite(np.delete(found.derivative, 1, axis=1)).all()


def test_mean_derivatives_and_lines_of_elements_are_drawn(fitted, middle, pyplot):
    display = SensitivityDisplay.from_estimator(fitted["payne"], middle)
    display.plot(labels=["Fe_H", "teff"], lines={"Fe": [4503.0, 4600.0], "Mg": [4505]})
    mean = display.sensitivity.derivative.mean(axis=0)
    np.testing.assert_array_equal(display.ax_[0].lines[-1].get_ydata(), mean[2])
    np.testing.assert_array_equal(display.ax_[1].lines[-1].get_ydata(), mean[0])
    assert list(display.lines_) == ["Fe_H"]
    (mark,) = display.lines_["Fe_H"].get_segments()
    assert mark[0, 0] == 4503.0
    assert display.ax_[1].get_ylabel() == "teff\n[1/K]"


def test_labels_that_never_varied_get_no_panel(constant_logg, middle, pyplot):
    middle[:, 1] = 4.5
    display = SensitivityDisplay.from_estimator(constant_logg, middle).plot()
    assert len(display.ax_) == 4
    with pytest.raises(ValueError, match=r"got 'Fe_h'\. Did you mean 'Fe_H'"):
        display.plot(labels=["Fe_h"])


# Cramér-Rao ----------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["payne", "opacity", "transformer"])
def test_bounds_are_the_errors_of_fits_of_own_spectra(arch, fitted, middle):
    emulator = fitted[arch]
    regressor = AbundanceRegressor(
        emulator, Observation(velocity_range=None, emulator_error=False), snr=SNR
    )
    labels, std = regressor.predict(emulator.predict(middle), return_std=True)
    size = emulator.label_high_ - emulator.label_low_
    bound = cramer_rao(emulator, middle, SNR)
    # a fit of noise-free flux may end in another valley, of which this says nothing
    found = (np.abs(labels - middle) < 0.01 * size).all(axis=1)
    assert found.sum() >= 3
    np.testing.assert_allclose(bound.error[found], std[found], rtol=0.05)


def test_covariance_is_the_inverse_of_the_information(fitted, middle):
    s = sensitivity(fitted["payne"], middle[:1])
    bound = cramer_rao(fitted["payne"], middle[:1], 50.0)
    information = 50.0**2 * s.derivative[0] @ s.derivative[0].T
    expected = np.linalg.inv(information)
    np.testing.assert_allclose(bound.covariance[0], expected, rtol=1e-6)
    np.testing.assert_allclose(bound.error[0], np.sqrt(np.diagonal(expected)))


def test_errors_go_with_the_inverse_of_snr_and_shrink_with_what_is_known(
    fitted, middle
):
    emulator = fitted["payne"]
    free = cramer_rao(emulator, middle, 50.0)
    twice = cramer_rao(emulator, middle, 100.0)
    np.testing.assert_allclose(twice.error, free.error / 2)
    known = cramer_rao(emulator, middle, 50.0, fixed=["teff", "logg"])
    assert not known.error[:, :2].any()
    assert not known.covariance[:, 0].any()
    assert (known.error[:, 2:] <= free.error[:, 2:]).all()


def test_windows_choose_pixels_and_add_information(fitted, middle):
    emulator = fitted["payne"]
    whole = cramer_rao(emulator, middle, SNR)
    assert whole.n_pixels == 61
    halves = [(4500.0, 4510.0), (4510.0, 4520.0)]
    parts = [cramer_rao(emulator, middle, SNR, window) for window in halves]
    assert sum(part.n_pixels for part in parts) == 61
    both = cramer_rao(emulator, middle, SNR, halves)
    np.testing.assert_allclose(both.error, whole.error)
    total = sum(np.linalg.inv(part.covariance) for part in parts)
    np.testing.assert_allclose(np.linalg.inv(whole.covariance), total, rtol=1e-5)


def test_labels_that_pixels_do_not_tell_have_infinite_errors(fitted, middle):
    # three pixels cannot tell five labels
    bound = cramer_rao(fitted["payne"], middle, SNR, (4505.0, 4506.0))
    assert bound.n_pixels == 3
    assert np.isinf(bound.error).any(axis=1).all()


def test_labels_that_never_varied_are_known(constant_logg, middle):
    middle[:, 1] = 4.5
    bound = cramer_rao(constant_logg, middle, SNR)
    assert not bound.error[:, 1].any()
    assert np.isfinite(bound.error).all()


def test_bad_arguments_are_errors(fitted, middle):
    emulator = fitted["payne"]
    with pytest.raises(ValueError, match=r"`snr` must be one positive, .* got 0"):
        cramer_rao(emulator, middle, 0)
    with pytest.raises(ValueError, match=r"`fixed` .* got 'Teff'\. Did you mean 'teff"):
        cramer_rao(emulator, middle, SNR, fixed=["Teff"])
    with pytest.raises(ValueError, match="`window` must be a first and a last"):
        cramer_rao(emulator, middle, SNR, (4510.0, 4505.0))
    with pytest.raises(
        ValueError, match=r"`window` must hold a pixel of 4500\.00-4520"
    ):
        cramer_rao(emulator, middle, SNR, (5000.0, 5005.0))
    with pytest.raises(ValueError, match=r"`label` must be one of the free labels \["):
        best_windows(emulator, middle, "logg", fixed="logg")
    with pytest.raises(ValueError, match="`width` must be positive and at most 20 Å"):
        best_windows(emulator, middle, "logg", width=50)


def test_bounds_are_drawn_with_90_percent_of_the_stars(fitted, middle, pyplot):
    display = CramerRaoDisplay.from_estimator(
        fitted["payne"], middle, SNR, fixed=["teff"]
    ).plot()
    (container,) = display.ax_.containers
    error = display.bound.error[:, 1:]
    np.testing.assert_allclose(container[0].get_ydata(), np.median(error, axis=0))
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert ticks == ["logg [dex]", "Fe_H [dex]", "Mg_H [dex]", "Ca_H [dex]"]


# Windows -------------------------------------------------------------------------


def test_errors_of_windows_are_bounds_within_them(fitted, middle):
    emulator = fitted["payne"]
    found = best_windows(emulator, middle, "Mg_H", snr=SNR, width=6.0, n_best=2)
    for i in (0, found.best[0]):
        bound = cramer_rao(emulator, middle, SNR, tuple(found.windows[i]))
        assert found.error[i] == pytest.approx(np.median(bound.error[:, 3]))
        others = ["teff", "logg", "Fe_H", "Ca_H"]
        alone = cramer_rao(emulator, middle, SNR, tuple(found.windows[i]), fixed=others)
        assert found.error_known[i] == pytest.approx(np.median(alone.error[:, 3]))
    assert found.error[found.best[0]] == found.error.min()
    whole = cramer_rao(emulator, middle, SNR).error[:, 3]
    assert found.whole_error == pytest.approx(np.median(whole))


def test_best_windows_do_not_overlap(fitted, middle):
    found = best_windows(fitted["payne"], middle, "Mg_H", width=4.0, n_best=9)
    chosen = found.windows[np.sort(found.best)]
    assert len(chosen) > 1
    assert (chosen[1:, 0] >= chosen[:-1, 1] - 1e-9).all()
    assert (np.diff(found.error[found.best]) >= 0).all()


def test_windows_are_drawn(fitted, middle, pyplot):
    display = BestWindowsDisplay.from_estimator(
        fitted["payne"], middle, "Mg_H", width=6.0, n_best=2
    ).plot()
    found = display.found
    np.testing.assert_array_equal(display.ax_.lines[0].get_ydata(), found.error)
    np.testing.assert_array_equal(display.ax_.lines[0].get_xdata(), display.center)
    assert len(display.spans_) == len(found.best) == 2
    assert display.ax_.get_ylabel() == "error of Mg_H [dex]"


def test_bound_with_the_error_of_the_emulator_is_larger_but_for_known_labels(
    fitted, middle
):
    emulator = copy.deepcopy(fitted["payne"])
    rng = np.random.default_rng(0)
    low, high = emulator.label_low_, emulator.label_high_
    labels = rng.uniform(low, high, (60, len(low)))
    flux = emulator.predict(labels)
    emulator.calibrate(labels, flux + 0.01 * rng.standard_normal((60, 1)) * (1 - flux))
    plain, full = (
        cramer_rao(emulator, middle, SNR, fixed=["teff"], emulator_error=error)
        for error in (False, True)
    )
    assert (full.error[:, 0] == 0).all()
    assert (full.error[:, 1:] > plain.error[:, 1:]).all()
    assert (np.linalg.eigvalsh(full.covariance) > -1e-9).all()


def test_bound_with_an_error_that_is_not_known_is_refused(tiny_grid, middle):
    emulator = SpectrumEmulator(
        arch="payne", validation_fraction=0, max_steps=2, random_state=0
    ).fit(tiny_grid.data, tiny_grid.target)
    with pytest.raises(ValueError, match="method `calibrate`"):
        cramer_rao(emulator, middle, SNR, emulator_error=True)
