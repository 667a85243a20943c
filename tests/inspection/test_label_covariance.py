"""Tests of the ellipses and matrices of the labels of one star."""

import numpy as np
import pytest
import scipy.stats

from sk_payne import AbundanceRegressor, Observation
from sk_payne.inspection import LabelCovarianceDisplay
from sk_payne.spectra import SpectrumSet

NAMES, UNITS = ["teff", "logg", "Fe_H"], ["K", "dex", "dex"]
VALUES = np.array([5000.0, 4.5, -0.3])
ERRORS = np.array([50.0, 0.1, 0.05])
CORRELATION = np.array([[1.0, 0.8, -0.5], [0.8, 1.0, 0.1], [-0.5, 0.1, 1.0]])
COVARIANCE = CORRELATION * np.outer(ERRORS, ERRORS)


def display(**changes):
    arguments = {"label_names": NAMES, "label_units": UNITS}
    return LabelCovarianceDisplay(VALUES, COVARIANCE, **(arguments | changes))


def draw(n):
    return np.random.default_rng(0).multivariate_normal(VALUES, COVARIANCE, n)


def mahalanobis(x, y, pair):
    rest = np.stack([x, y]) - VALUES[pair, None]
    inverse = np.linalg.inv(COVARIANCE[np.ix_(pair, pair)])
    return np.sqrt(np.einsum("ip,ij,jp->p", rest, inverse, rest))


# Ellipses ------------------------------------------------------------------------


@pytest.mark.parametrize("n_sigma", [1, 2, 2.5])
def test_ellipse_is_where_chi2_is_the_square_of_n_sigma(n_sigma):
    x, y = display().ellipse("teff", "Fe_H", n_sigma)
    np.testing.assert_allclose(mahalanobis(x, y, [0, 2]), n_sigma)
    assert (x[0], y[0]) == pytest.approx((x[-1], y[-1]))


@pytest.mark.parametrize(("n_sigma", "told"), [(1, 0.393), (2, 0.865)])
def test_ellipse_holds_the_part_of_a_gaussian_that_is_told(n_sigma, told):
    expected = scipy.stats.chi2(2).cdf(n_sigma**2)
    assert expected == pytest.approx(told, abs=5e-4)
    from matplotlib.path import Path

    curve = np.stack(display().ellipse("teff", "logg", n_sigma), axis=1)
    inside = Path(curve).contains_points(draw(20011)[:, :2])
    # five standard errors
    assert inside.mean() == pytest.approx(expected, abs=0.018)


def test_ellipse_is_as_wide_and_high_as_the_errors():
    x, y = display().ellipse("teff", "logg")
    # 181 points miss the end by up to 1.5e-4
    assert np.ptp(x) == pytest.approx(2 * ERRORS[0], rel=2e-4)
    assert np.ptp(y) == pytest.approx(2 * ERRORS[1], rel=2e-4)


def test_ellipse_leans_as_the_labels_go_together():
    for x, y, sign in (("teff", "logg", 1), ("teff", "Fe_H", -1)):
        right, up = display().ellipse(x, y)
        assert np.sign(np.corrcoef(right[:-1], up[:-1])[0, 1]) == sign


def test_ellipse_of_a_fixed_label_is_a_line():
    covariance = COVARIANCE.copy()
    covariance[1], covariance[:, 1] = 0, 0
    fixed = LabelCovarianceDisplay(VALUES, covariance, NAMES)
    x, y = fixed.ellipse("teff", "logg")
    assert np.ptp(y) == pytest.approx(0, abs=1e-9)
    assert np.ptp(x) == pytest.approx(2 * ERRORS[0], rel=2e-4)


def test_fixed_label_is_drawn_without_complaint(pyplot):
    covariance = COVARIANCE.copy()
    covariance[1], covariance[:, 1] = 0, 0
    fixed = LabelCovarianceDisplay(VALUES, covariance, NAMES).plot()
    fixed.figure_.canvas.draw()
    assert np.isnan(fixed.correlation[1]).all()


# Panels --------------------------------------------------------------------------


def test_panels_below_the_diagonal_have_the_ellipses(pyplot):
    drawn = display().plot()
    assert drawn.ax_.shape == (3, 3)
    assert drawn.ax_[0, 1] is None
    one, two = drawn.ax_[2, 0].lines
    for line, n_sigma in ((one, 1), (two, 2)):
        expected = drawn.ellipse("teff", "Fe_H", n_sigma)
        np.testing.assert_array_equal(line.get_data(), expected)
    assert drawn.ax_[2, 0].get_xlabel() == "teff [K]"
    assert drawn.ax_[2, 0].get_ylabel() == "Fe_H [dex]"


def test_panels_of_the_diagonal_have_the_gaussian_and_its_numbers(pyplot):
    panel = display().plot().ax_[2, 2]
    (curve,) = panel.lines
    x, y = curve.get_data()
    np.testing.assert_allclose(y, scipy.stats.norm(VALUES[2], ERRORS[2]).pdf(x))
    assert panel.get_title() == "Fe_H [dex]\n-0.300 ± 0.050"


def test_panels_of_a_column_share_their_limits(pyplot):
    drawn = display(true=VALUES + 5 * ERRORS).plot()
    limits = {panel.get_xlim() for panel in drawn.ax_[:, 0]}
    assert len(limits) == 1
    assert drawn.ax_[1, 0].get_ylim() == drawn.ax_[1, 1].get_xlim()
    low, high = limits.pop()
    assert low < VALUES[0] - 3 * ERRORS[0]
    assert high > VALUES[0] + 5 * ERRORS[0]


def test_truth_is_marked(pyplot):
    true = VALUES + ERRORS
    drawn = display(true=true).plot()
    assert drawn.ax_[1, 1].lines[-1].get_xdata() == [true[1]] * 2
    across, up = drawn.ax_[2, 1].lines[-2:]
    assert across.get_xdata() == [true[1]] * 2
    assert up.get_ydata() == [true[2]] * 2


def test_many_samples_are_histograms(pyplot):
    samples = draw(2003)
    drawn = display(samples=samples).plot()
    (mesh,) = drawn.ax_[1, 0].collections
    assert mesh.get_array().sum() == 2003
    (outline,) = drawn.ax_[0, 0].patches
    height, edges = np.histogram(samples[:, 0], 30, density=True)
    assert outline.get_xy()[:, 1].max() == pytest.approx(height.max())
    assert outline.get_xy()[:, 0].min() == edges[0]


def test_few_samples_are_points(pyplot):
    samples = draw(41)
    drawn = display(samples=samples).plot()
    points = drawn.ax_[2, 0].lines[0]
    np.testing.assert_array_equal(points.get_data(), samples[:, [0, 2]].T)


def test_chosen_labels_are_drawn_in_that_order(pyplot):
    drawn = display().plot(labels=["Fe_H", "teff"])
    assert drawn.ax_.shape == (2, 2)
    expected = drawn.ellipse("Fe_H", "teff")
    np.testing.assert_array_equal(drawn.ax_[1, 0].lines[0].get_data(), expected)


def test_one_label_is_one_panel(pyplot):
    drawn = display().plot(labels=["logg"])
    assert drawn.ax_.shape == (1, 1)
    assert drawn.ax_[0, 0].get_xlabel() == "logg [dex]"


def test_axes_of_the_caller_are_used(pyplot):
    figure, ax = pyplot.subplots(3, 3)
    drawn = display().plot(ax)
    assert drawn.figure_ is figure
    assert len(ax[2, 1].lines) == 2
    assert not ax[0, 2].lines


# Matrix --------------------------------------------------------------------------


def test_matrix_is_the_correlation(pyplot):
    drawn = display().plot_correlation()
    np.testing.assert_allclose(drawn.correlation, CORRELATION)
    (image,) = drawn.ax_.images
    np.testing.assert_allclose(image.get_array(), CORRELATION)
    assert image.get_clim() == (-1, 1)
    told = [text.get_text() for text in drawn.ax_.texts]
    assert told == ["1.00", "0.80", "-0.50", "0.80", "1.00", "0.10", *told[6:]]
    assert [t.get_text() for t in drawn.ax_.get_yticklabels()] == NAMES


def test_matrix_of_chosen_labels(pyplot):
    drawn = display().plot_correlation(labels=["Fe_H", "teff"])
    np.testing.assert_allclose(drawn.ax_.images[0].get_array(), [[1, -0.5], [-0.5, 1]])


# Star ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def regressor(fitted):
    return AbundanceRegressor(
        fitted["payne"], Observation(velocity_range=(-50, 50)), snr=50
    )


def test_of_a_regressor_is_the_covariance_of_predict(regressor, tiny_grid):
    flux = tiny_grid.target[:5]
    found = LabelCovarianceDisplay.from_regressor(regressor, flux, row=3)
    labels, covariance = regressor.predict(flux, return_cov=True)
    # one star alone and among others: derivatives are of single precision
    scale = np.sqrt(np.diag(covariance[3]))
    assert (np.abs(found.values - labels[3]) < 1e-5 * scale).all()
    np.testing.assert_allclose(
        found.covariance / np.outer(scale, scale),
        covariance[3] / np.outer(scale, scale),
        atol=1e-4,
    )
    assert found.label_names == list(tiny_grid.label_names)
    assert found.label_units == tiny_grid.label_units


def test_of_means_has_names_and_units_of_labels(fitted, tiny_grid):
    regressor = AbundanceRegressor(
        fitted["payne"], Observation(velocity_range=(-50, 50)), snr=50, estimate="mean"
    )
    found = LabelCovarianceDisplay.from_regressor(regressor, tiny_grid.target[:1])
    assert found.label_names == list(tiny_grid.label_names)
    assert found.label_units == tiny_grid.label_units


def test_of_a_regressor_with_snr_of_every_star(fitted, tiny_grid):
    snr = np.array([20.0, 40.0, 60.0])
    regressor = AbundanceRegressor(
        fitted["payne"], Observation(velocity_range=None), snr=snr
    )
    found = LabelCovarianceDisplay.from_regressor(regressor, tiny_grid.target[:3], -1)
    _, covariance = regressor.predict(tiny_grid.target[:3], return_cov=True)
    scale = np.sqrt(np.diag(covariance[2]))
    np.testing.assert_allclose(
        found.covariance / np.outer(scale, scale),
        covariance[2] / np.outer(scale, scale),
        atol=1e-4,
    )
    assert regressor.snr is snr


def test_of_a_regressor_takes_spectra_with_wavelengths(fitted, regressor, tiny_grid):
    star = SpectrumSet(
        tiny_grid.target[:1],
        np.full((1, 61), 2500.0),
        wavelength=tiny_grid.wavelength,
        medium="air",
    )
    one, other = (
        LabelCovarianceDisplay.from_regressor(regressor, spectra)
        for spectra in (star, tiny_grid.target[:1])
    )
    np.testing.assert_allclose(one.covariance, other.covariance)


def test_row_that_is_not_there_is_an_error(regressor, tiny_grid):
    with pytest.raises(IndexError, match="`row` must be one of the 2 stars; got 2"):
        LabelCovarianceDisplay.from_regressor(regressor, tiny_grid.target[:2], row=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_names": NAMES[:2], "label_units": UNITS[:2]}, r"`values` must have"),
        ({"label_units": UNITS[:2]}, r"`label_units` must have the shape \(3,\)"),
        ({"samples": np.ones((7, 2))}, r"`samples` must have the shape \(7, 3\)"),
        ({"true": [1.0]}, r"`true` must have the shape \(3,\), .*; got \(1,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        display(**changes)


def test_unknown_label_is_an_error(pyplot):
    with pytest.raises(ValueError, match=r"got 'Fe_h'\. Did you mean 'Fe_H'"):
        display().plot(labels=["Fe_h"])
