"""Coordinates without bounds are there and back, and their density is that of scipy."""

import numpy as np
import pytest
from scipy import stats

from sk_payne.neural_posterior._coordinates import Coordinates

LOW, HIGH = np.array([4000.0, -2.0, -100.0]), np.array([6000.0, 1.0, 100.0])
NONE = np.zeros(3), np.full(3, np.inf)


@pytest.fixture
def coordinates():
    return Coordinates(LOW, HIGH, *NONE, velocity=2, scale=1.0)


@pytest.fixture
def with_prior():
    mean, error = np.array([5500.0, 0.0, 0.0]), np.array([200.0, np.inf, np.inf])
    return Coordinates(LOW, HIGH, mean, error, velocity=None)


def test_values_come_back_from_their_coordinates(coordinates):
    rng = np.random.default_rng(0)
    values, start = coordinates.draw(rng, 50), rng.uniform(-90, 90, 50)
    again = coordinates.to_values(coordinates.to_unbounded(values, start), start)
    np.testing.assert_allclose(again, values, rtol=1e-7, atol=1e-6)


def test_coordinates_however_far_out_are_values_within_the_bounds(coordinates):
    far = np.array([[-40.0, 40.0, 30.0], [40.0, -40.0, -30.0]])
    values = coordinates.to_values(far, np.array([50.0, 99.0]))
    assert coordinates.contains(values).all()


def test_values_at_their_bounds_have_finite_coordinates(coordinates):
    ends = np.stack([LOW, HIGH])
    assert np.isfinite(coordinates.to_unbounded(ends, np.zeros(2))).all()


def test_uniform_prior_is_normal_in_the_coordinates(coordinates):
    draws = coordinates.draw(np.random.default_rng(1), 2000)
    z = coordinates.to_unbounded(draws, np.zeros(2000))[:, :2]
    for column in z.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3


def test_gaussian_prior_is_drawn_as_scipy_draws_it(with_prior):
    draws = with_prior.draw(np.random.default_rng(2), 2000)[:, 0]
    truncated = stats.truncnorm(-7.5, 2.5, loc=5500.0, scale=200.0)
    assert stats.kstest(draws, truncated.cdf).pvalue > 1e-3


def test_density_of_the_coordinates_integrates_to_that_of_scipy(with_prior):
    # a standard normal density in the coordinates is the prior in the values
    values = np.array([[5300.0, -1.0, 30.0], [5900.0, 0.9, -70.0]])
    z = with_prior.to_unbounded(values)
    found = stats.norm.logpdf(z) + with_prior.log_slope(values)
    expected = stats.truncnorm.logpdf(values[:, 0], -7.5, 2.5, loc=5500.0, scale=200.0)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], np.log(1 / 3), rtol=1e-9)


def test_slope_of_the_velocity_is_the_numerical_one(coordinates):
    values = np.array([[5000.0, 0.0, 12.0]])
    start, step = np.array([10.0]), np.array([[0.0, 0.0, 1e-4]])
    ends = [coordinates.to_unbounded(values + s * step, start)[0, 2] for s in (-1, 1)]
    slope = coordinates.log_slope(values, start)[0, 2]
    assert np.exp(slope) == pytest.approx((ends[1] - ends[0]) / 2e-4, rel=1e-6)
