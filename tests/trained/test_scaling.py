"""Tests of scaling, against numpy's own means and deviations."""

import numpy as np
import pytest

from sk_payne.emulators._flux import TrainingFlux
from sk_payne.trained import Scaling


def scaling_of(labels, flux, *, per_wavelength, **weights):
    """Scaling of arrays."""
    flux = TrainingFlux(flux, **weights)
    return Scaling.from_training(labels, flux, per_wavelength=per_wavelength)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = rng.uniform([4000, 4.0, -2.0], [6000, 5.0, 1.0], (101, 3))
    flux = 0.9 + 0.05 * rng.normal(size=(101, 13)) + np.linspace(0, 0.1, 13)
    return labels, flux


def test_scale_labels_maps_the_box_to_minus_one_and_one(data):
    labels, flux = data
    scaled = scaling_of(labels, flux, per_wavelength=True).scale_labels(labels)
    np.testing.assert_allclose(scaled.min(axis=0), -1, rtol=1e-14)
    np.testing.assert_allclose(scaled.max(axis=0), 1, rtol=1e-14)
    np.testing.assert_allclose(
        np.corrcoef(scaled[:, 0], labels[:, 0])[0, 1], 1, rtol=1e-14
    )


def test_scale_flux_per_wavelength_has_no_mean_anywhere_and_unit_scatter(data):
    scaling = scaling_of(*data, per_wavelength=True)
    scaled = scaling.scale_flux(data[1])
    assert scaling.flux_offset.shape == (13,)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, rtol=0, atol=1e-13)
    assert np.mean(scaled**2) == pytest.approx(1, rel=1e-12)


def test_scale_flux_over_all_has_no_mean_and_unit_scatter(data):
    scaling = scaling_of(*data, per_wavelength=False)
    scaled = scaling.scale_flux(data[1])
    assert scaling.flux_offset.shape == (1,)
    assert scaling.flux_offset[0] == pytest.approx(data[1].mean(), rel=1e-14)
    assert scaling.flux_scale == pytest.approx(data[1].std(), rel=1e-12)
    assert scaled.mean() == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("per_wavelength", [True, False])
def test_scale_of_many_spectra_in_blocks_is_that_of_all_at_once(per_wavelength):
    flux = np.random.default_rng(1).normal(size=(1009, 7)) + np.arange(7)
    scaling = scaling_of(np.eye(1009, 2), flux, per_wavelength=per_wavelength)
    expected = (flux - flux.mean(axis=0)).std() if per_wavelength else flux.std()
    # blocks of 336 and 337 spectra count alike
    assert scaling.flux_scale == pytest.approx(expected, rel=1e-3)


def test_mean_of_many_float32_spectra_is_taken_in_float64():
    # float32 sums of 1e5 values near one are off by 1e-4 or more
    flux = np.full((100_003, 2), 0.1, np.float32)
    scaling = scaling_of(np.zeros((2, 1)), flux, per_wavelength=True)
    np.testing.assert_allclose(scaling.flux_offset, np.float32(0.1), rtol=1e-12)


def test_label_that_does_not_vary_is_zero_and_keeps_its_unit(data):
    labels, flux = data
    labels[:, 1] = 4.4
    scaling = scaling_of(labels, flux, per_wavelength=True)
    assert (scaling.scale_labels(labels)[:, 1] == 0).all()
    assert scaling.scale_labels(labels + 1)[0, 1] == pytest.approx(1)


def test_flux_that_does_not_vary_keeps_its_unit(data):
    scaling = scaling_of(data[0], np.full((101, 3), 0.5), per_wavelength=True)
    assert scaling.flux_scale == 1
    assert (scaling.scale_flux(np.full(3, 0.5)) == 0).all()


def test_box_is_float64_also_for_float32_labels(data):
    labels = data[0].astype(np.float32)
    scaling = scaling_of(labels, data[1], per_wavelength=True)
    assert scaling.label_center.dtype == scaling.label_half_width.dtype == np.float64
    np.testing.assert_array_equal(
        scaling.label_center - scaling.label_half_width, labels.min(axis=0)
    )


def test_from_training_leaves_the_arrays_of_the_caller_alone(data):
    kept = [array.copy() for array in data]
    scaling_of(*data, per_wavelength=True).scale_flux(data[1])
    for now, before in zip(data, kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_masked_pixels_have_no_part_in_mean_and_scatter(data):
    labels, flux = data
    mask = np.random.default_rng(2).random(flux.shape) < 0.3
    expected = np.ma.array(flux, mask=mask)
    spoiled = np.where(mask, 1e9, flux)
    scaling = scaling_of(labels, spoiled, per_wavelength=True, mask=mask)
    np.testing.assert_allclose(scaling.flux_offset, expected.mean(axis=0), rtol=1e-12)
    scatter = np.sqrt(np.mean((expected - expected.mean(axis=0)) ** 2))
    assert scaling.flux_scale == pytest.approx(scatter, rel=1e-12)
