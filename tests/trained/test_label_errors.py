"""Tests of what errors of an emulator make of fitted labels."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator, load
from sk_payne.datasets import make_spectra
from sk_payne.trained import LabelDisplacements, LabelErrors
from sk_payne.trained._label_displacements import LabelSample

N, K, STRETCHES = 400, 3, 10
# of displacements that no spectrum reduces, in half widths of the training box
SCATTER = np.array([0.05, 0.02, 0.1])


def simulate(seed, inflation, scatter, growth=0.0, common=0.0):
    """Displacements with a known covariance, and stars that pin labels differently."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(-1, 1, (N, K))
    size = np.exp(rng.normal(0, 0.7, (N, K)))
    root = rng.normal(size=(N, STRETCHES, K, 8))
    if common:
        # lines of all labels at the same wavelengths
        root = root + common * rng.normal(size=(N, STRETCHES, 1, 8))
    root = root * size[:, None, :, None] * 3
    information = root @ root.transpose(0, 1, 3, 2)
    total = information.sum(axis=1)
    independent = np.linalg.inv(total + np.eye(K))
    covariance = inflation**2 * independent + np.diag(np.square(scatter))
    covariance = covariance * np.exp(growth * labels[:, :1, None])
    draw = rng.normal(size=(N, K, 1))
    off = (np.linalg.cholesky(covariance) @ draw)[..., 0]
    normal = information
    slope = np.einsum("nkl,nl->nk", normal.sum(axis=1) + np.eye(K), off)
    zero = np.zeros_like(independent)
    displacements = LabelDisplacements(
        labels=labels,
        normal=normal,
        spread=np.zeros_like(normal),
        information=information,
        slope=np.repeat(slope[:, None] / STRETCHES, STRETCHES, axis=1),
        fitted=LabelSample(labels, off, zero, total, np.ones(N)),
    )
    return displacements, covariance, off


def claimed(errors, displacements):
    """Covariances that are claimed over all wavelengths."""
    sample = displacements.fitted
    return errors.covariance(sample.labels, sample.information, sample.part)


@pytest.mark.parametrize(
    ("inflation", "scatter"), [(3.0, 0 * SCATTER), (0.5, SCATTER), (3.0, SCATTER)]
)
def test_covariance_of_displacements_is_found(inflation, scatter):
    displacements, covariance, _ = simulate(1, inflation, scatter)
    found = claimed(LabelErrors.from_displacements(displacements), displacements)
    ratio = np.diagonal(found, axis1=1, axis2=2) / np.diagonal(
        covariance, axis1=1, axis2=2
    )
    assert np.abs(np.log(np.median(ratio, axis=0))).max() < 0.3


def test_claims_hold_for_stars_that_were_not_seen():
    errors = LabelErrors.from_displacements(simulate(2, 2.0, SCATTER, growth=0.8)[0])
    displacements, _, off = simulate(3, 2.0, SCATTER, growth=0.8)
    covariance = claimed(errors, displacements)
    pulls = off / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    assert (np.abs(pulls) < 1).mean(axis=0) == pytest.approx(0.68, abs=0.08)
    distance = np.einsum("ni,nij,nj->n", off, np.linalg.inv(covariance), off)
    assert (distance < chi2.ppf(0.68, K)).mean() == pytest.approx(0.68, abs=0.08)


@pytest.mark.parametrize(("correlated", "low", "high"), [(1, 0, 0.2), (0, 0.6, 1)])
def test_correlations_are_claimed_as_far_as_displacements_show_them(
    correlated, low, high
):
    displacements, covariance, _ = simulate(7, 3.0, 0 * SCATTER, common=2.0)
    variance = np.diagonal(covariance, axis1=1, axis2=2)[:, :, None] * np.eye(K)
    covariance = correlated * covariance + (1 - correlated) * variance
    draw = np.random.default_rng(8).normal(size=(N, K, 1))
    off = (np.linalg.cholesky(covariance) @ draw)[..., 0]
    fitted = displacements.fitted._replace(displacement=off)
    displacements = replace(displacements, fitted=fitted)
    errors = LabelErrors.from_displacements(displacements)
    assert low <= errors.independence[0] <= high
    found = claimed(errors, displacements)
    distance = np.einsum("ni,nij,nj->n", off, np.linalg.inv(found), off)
    assert (distance < chi2.ppf(0.68, K)).mean() == pytest.approx(0.68, abs=0.08)


def test_independence_of_labels_leaves_their_variances():
    errors = LabelErrors.from_displacements(simulate(9, 2.0, SCATTER)[0])
    information = np.full((1, K, K), 20.0) + 5 * np.eye(K)
    one, other = (
        replace(errors, independence=np.array([part])).covariance(
            np.zeros((1, K)), information, np.ones(1)
        )[0]
        for part in (0.0, 0.5)
    )
    np.testing.assert_allclose(np.diag(one), np.diag(other), rtol=1e-12)
    np.testing.assert_allclose(other[0, 1], one[0, 1] / 2, rtol=1e-12)


def test_errors_grow_with_the_label_that_they_grow_with():
    errors = LabelErrors.from_displacements(simulate(4, 2.0, SCATTER, growth=1.0)[0])
    labels = np.array([[-0.8, 0.0, 0.0], [0.8, 0.0, 0.0]])
    both = errors.covariance(labels, np.tile(np.eye(K), (2, 1, 1)), np.ones(2))
    assert both[1, 1, 1] / both[0, 1, 1] == pytest.approx(np.exp(1.6), rel=0.5)


def test_labels_that_are_not_fitted_make_errors_of_others_smaller():
    errors = LabelErrors.from_displacements(simulate(5, 3.0, SCATTER)[0])
    information = np.full((1, K, K), 20.0) + 5 * np.eye(K)
    known = information.copy()
    known[:, 0] = known[:, :, 0] = 0.0
    free, less = (
        errors.covariance(np.zeros((1, K)), i, np.ones(1))[0, 1, 1]
        for i in (information, known)
    )
    assert less < free


def test_covariance_is_positive_though_rounding_spoils_the_information():
    errors = LabelErrors.from_displacements(simulate(6, 3.0, SCATTER)[0])
    information = 1e9 * np.ones((1, K, K)) - 50 * np.eye(K)
    covariance = errors.covariance(np.zeros((1, K)), information, np.ones(1))
    assert np.linalg.eigvalsh(covariance).min() > 0


@pytest.fixture(scope="module")
def grid():
    return make_spectra(500, random_state=3)


@pytest.fixture(scope="module")
def coarse(grid):
    """An emulator whose error exceeds noise; 300 spectra are left."""
    emulator = SpectrumEmulator(
        arch="payne",
        wavelength=grid.wavelength,
        medium=grid.medium,
        label_names=grid.label_names,
        max_steps=150,
        validation_fraction=0.5,
        random_state=0,
    )
    return emulator.fit(grid.data[:200], grid.target[:200])


def measure(emulator, flux, **options):
    regressor = AbundanceRegressor(
        emulator, Observation(velocity_range=None, **options), snr=300
    )
    return regressor.predict(flux, return_cov=True)


def test_errors_hold_on_spectra_that_the_emulator_did_not_make(coarse, grid):
    inside = coarse.domain(grid.data[200:]) == "inside"
    labels, covariance = measure(coarse, grid.target[200:])
    off = (labels - grid.data[200:])[inside]
    pulls = off / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))[inside]
    one, two = (np.abs(pulls) < 1).mean(axis=0), (np.abs(pulls) < 2).mean(axis=0)
    assert 0.55 < one.min()
    assert one.max() < 0.85
    assert 0.85 < two.min()


def test_errors_are_too_small_without_those_of_the_emulator(coarse, grid):
    labels, covariance = measure(coarse, grid.target[400:], emulator_error=False)
    pulls = labels - grid.data[400:]
    pulls = pulls / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    assert (np.abs(pulls) < 1).mean() < 0.35


def test_saved_emulator_has_the_same_errors(coarse, grid, tmp_path):
    coarse.save(tmp_path / "emulator.safetensors")
    again = load(tmp_path / "emulator.safetensors")
    flux = grid.target[480:]
    for one, other in zip(measure(coarse, flux), measure(again, flux), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_emulator_that_held_nothing_out_learns_its_errors_later(grid):
    emulator = SpectrumEmulator(
        arch="payne", validation_fraction=0, max_steps=50, random_state=0
    ).fit(grid.data[:100], grid.target[:100])
    flux = emulator.predict(grid.data[:5])
    with pytest.raises(ValueError, match="does not know its error"):
        emulator.predict(grid.data[:5], return_std=True)
    emulator.calibrate(grid.data[100:200], grid.target[100:200])
    assert emulator.n_held_out_ == 100
    again, std = emulator.predict(grid.data[:5], return_std=True)
    np.testing.assert_array_equal(again, flux)
    assert (std > 0).all()


@pytest.mark.parametrize(
    ("rows", "columns", "told"),
    [(9, 257, "at least 10 spectra"), (50, 200, "257 wavelengths.*got 5 and 200")],
)
def test_spectra_that_cannot_calibrate_are_refused(coarse, grid, rows, columns, told):
    emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    emulator.fit(grid.data[:50], grid.target[:50])
    before = emulator.trained_
    with pytest.raises(ValueError, match=told):
        emulator.calibrate(grid.data[:rows], grid.target[:rows, :columns])
    assert emulator.trained_ is before


def test_few_held_out_spectra_tell_nothing_of_labels(grid):
    emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    emulator.fit(grid.data[:60], grid.target[:60])
    assert emulator.trained_.held_out.label_errors is None
