"""The deepest valley of chi2 is found where there are several."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from sk_payne import AbundanceRegressor, Observation

PIXELS = np.arange(400)
BOX = np.array([[-1.0, 1.0]] * 3)
SNR = 10.0


class TwoValleys(RegressorMixin, BaseEstimator):
    """Two labels with lines of their own, and one that acts nearly by its square."""

    asymmetry = 0.5

    def fit(self, X=None, y=None):
        self.is_fitted_ = True
        return self

    def predict(self, X):
        a, b, c = np.transpose(X)
        lines = [np.exp(-(((PIXELS - at) / 6) ** 2)) for at in (80, 160, 240, 300)]
        depth = (
            np.outer(0.3 + 0.2 * a, lines[0])
            + np.outer(0.3 + 0.2 * b, lines[1])
            + np.outer(0.25 * c**2, lines[2])
            + np.outer(self.asymmetry * c * (c**2 - 0.6), lines[3])
        )
        return 1 - depth


class BentValley(RegressorMixin, BaseEstimator):
    """Saturated lines of two labels and their ratio, which a third label changes."""

    def fit(self, X=None, y=None):
        self.is_fitted_ = True
        return self

    def predict(self, X):
        a, b, c = np.transpose(X)
        lines = [np.exp(-(((PIXELS - at) / 6) ** 2)) for at in (80, 160, 240, 300)]
        depths = (
            10 ** (a + 3 * c),
            10 ** (b - a - 3 * c**2),
            0.5 * 10 ** (2 * a + 3 * c),
            0.1 * c * (c**2 - 0.6) + 0.15,
        )
        strong = [
            np.outer(1 - np.exp(-depth), line)
            for depth, line in zip(depths, lines, strict=True)
        ]
        return 1 - 0.8 * sum(strong)


@pytest.fixture(scope="module")
def emulator():
    return TwoValleys().fit()


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(0)
    labels = rng.uniform(-0.8, 0.8, (24, 3))
    labels[:, 2] = np.linspace(0.3, 0.9, 24) * rng.choice([-1, 1], 24)
    return labels


def noisy(emulator, labels):
    flux = emulator.predict(labels)
    return flux + np.random.default_rng(1).normal(scale=1 / SNR, size=flux.shape)


def observation(**options):
    return Observation(velocity_range=None, emulator_error=False, **options)


def test_every_star_ends_in_the_deeper_of_two_valleys(emulator, labels):
    flux = noisy(emulator, labels)
    regressor = AbundanceRegressor(emulator, observation(), snr=SNR, bounds=BOX)
    table = regressor.measure(flux)
    at_truth = ((flux - emulator.predict(labels)) ** 2).sum(axis=1) * SNR**2
    assert (table["chi2"] < at_truth + 1e-3).all()


def test_label_that_hardly_shows_ends_in_the_deeper_valley(emulator, monkeypatch):
    # without the restarts from other templates
    monkeypatch.setattr("sk_payne.abundances._search._STRANGE", np.inf)
    rng = np.random.default_rng(3)
    labels = rng.uniform(-0.8, 0.8, (150, 3))
    flux = noisy(emulator, labels)
    regressor = AbundanceRegressor(emulator, observation(), snr=SNR, bounds=BOX)
    chi2 = regressor.measure(flux)["chi2"]
    other = labels * [1, 1, -1]
    for start in (labels, other):
        known = AbundanceRegressor(
            emulator,
            observation(),
            snr=SNR,
            bounds=BOX,
            fixed={"label_2": start[:, 2]},
        )
        assert (known.measure(flux)["chi2"] > chi2 - 0.2).all()


def test_nothing_lower_lies_along_any_label(emulator, labels):
    flux = noisy(emulator, labels)
    regressor = AbundanceRegressor(emulator, observation(), snr=SNR, bounds=BOX)
    best = regressor.measure(flux)["chi2"]
    for i in range(3):
        for value in (-0.95, -0.6, -0.3, 0.3, 0.6, 0.95):
            there = AbundanceRegressor(
                emulator,
                observation(),
                snr=SNR,
                bounds=BOX,
                fixed={f"label_{i}": value},
            ).measure(flux)["chi2"]
            assert (there > best - 4).all()


@pytest.mark.parametrize("floor", [0.0, "fit"])
def test_outliers_do_not_hide_the_deeper_valley(emulator, labels, floor):
    flux = noisy(emulator, labels)
    rng = np.random.default_rng(2)
    where = rng.integers(0, 60, (len(flux), 6))
    for row, pixels in zip(flux, where, strict=True):
        row[pixels] += 1.5
    regressor = AbundanceRegressor(
        emulator, observation(error_floor=floor, clip=4.0), snr=SNR, bounds=BOX
    )
    table = regressor.measure(flux)
    assert (table["n_clipped"] >= 4).all()
    # the outliers are in pixels without a line
    clean = regressor.measure(noisy(emulator, labels))
    off = table["label_2"] - clean["label_2"]
    assert (np.abs(off) < 0.5 * table["label_2_error"]).mean() > 0.9


def test_thorough_search_finds_valleys_that_linear_steps_miss():
    emulator, snr = BentValley().fit(), 50.0
    labels = np.random.default_rng(0).uniform(-0.9, 0.9, (150, 3))
    flux = emulator.predict(labels)
    flux = flux + np.random.default_rng(1).normal(scale=1 / snr, size=flux.shape)
    labels, flux = labels[60:140], flux[60:140]
    at_truth = ((flux - emulator.predict(labels)) ** 2).sum(axis=1) * snr**2
    above = {
        search: AbundanceRegressor(
            emulator, observation(), snr=snr, bounds=BOX, search=search
        ).measure(flux)["chi2"]
        - at_truth
        for search in ("quick", "thorough")
    }
    assert above["quick"].max() > 4
    assert above["thorough"].max() < 1e-3
    assert (above["thorough"] < above["quick"] + 1e-3).all()


@pytest.mark.parametrize("options", [{"error_floor": "fit"}, {"clip": 4.0}, {}])
def test_thorough_search_never_ends_higher(emulator, labels, options):
    flux = noisy(emulator, labels)
    quick, thorough = (
        AbundanceRegressor(
            emulator, observation(**options), snr=SNR, bounds=BOX, search=search
        ).measure(flux)
        for search in ("quick", "thorough")
    )
    if options:
        np.testing.assert_allclose(thorough["label_2"], quick["label_2"], atol=0.1)
    else:
        assert (thorough["chi2"] <= quick["chi2"] + 1e-3).all()


def test_thorough_search_keeps_fixed_labels(emulator, labels):
    flux = noisy(emulator, labels)
    table = AbundanceRegressor(
        emulator,
        observation(),
        snr=SNR,
        bounds=BOX,
        fixed={"label_0": labels[:, 0]},
        search="thorough",
    ).measure(flux)
    np.testing.assert_allclose(table["label_0"], labels[:, 0], rtol=0, atol=1e-12)


def test_unknown_search_is_refused(emulator, labels):
    regressor = AbundanceRegressor(
        emulator, observation(), snr=SNR, bounds=BOX, search="slow"
    )
    with pytest.raises(ValueError, match="`search` must be 'quick' or 'thorough'"):
        regressor.measure(noisy(emulator, labels))
