"""Tests of what is known beforehand: priors, fixed parameters and bounds."""

import numpy as np
import pytest
from regressors import make_regressor

from sk_payne import Observation
from sk_payne.abundances import FLAGS

N = 5
NAMES = ("teff", "Fe_H", "Mg_H")


@pytest.fixture(scope="module")
def stars(draw_labels, observe):
    """Five spectra with velocities."""
    labels = draw_labels(N, seed=7)
    return [observe(row, velocity=10.0 * i, seed=i) for i, row in enumerate(labels)]


@pytest.fixture(scope="module")
def regressor(emulator):
    """Give a function that makes regressors without the error of the emulator."""

    def make(**options):
        return make_regressor(emulator, Observation(emulator_error=False), **options)

    return make


@pytest.fixture(scope="module")
def free(regressor, stars):
    """Labels and covariances without any constraint."""
    return regressor().predict(stars, return_cov=True)


def test_prior_is_combined_with_the_data_by_their_covariances(regressor, stars, free):
    labels, covariance = free
    error = np.sqrt(covariance[:, 1, 1])
    mean = labels[:, 1] + 0.3 * error
    found, found_covariance = regressor(priors={"Fe_H": (mean, error)}).predict(
        stars, return_cov=True
    )
    for i in range(N):
        information = np.linalg.inv(covariance[i])
        information[1, 1] += error[i] ** -2
        expected = np.linalg.inv(information)
        # both are Gaussian: the mean moves along the covariance with Fe_H
        moved = expected[:, 1] * error[i] ** -2 * (mean[i] - labels[i, 1])
        scale = np.sqrt(np.diag(expected))
        np.testing.assert_allclose(found[i] - labels[i], moved, atol=0.02 * scale.max())
        np.testing.assert_allclose(
            found_covariance[i] / np.outer(scale, scale),
            expected / np.outer(scale, scale),
            atol=0.03,
        )


def test_prior_of_infinite_error_is_none(regressor, stars, free):
    found = regressor(priors={"Fe_H": (np.nan, np.inf)}).predict(stars)
    np.testing.assert_allclose(found, free[0], rtol=1e-9)


def test_prior_counts_in_the_fit_and_not_in_chi2(regressor, stars, free):
    labels, covariance = free
    error = np.sqrt(covariance[:, 1, 1])
    without = regressor().measure(stars)
    table = regressor(priors={"Fe_H": (labels[:, 1] + 3 * error, error)}).measure(stars)
    # halfway to the prior, at 1.5 sigma
    rise = table["chi2"] - without["chi2"]
    np.testing.assert_allclose(rise, 1.5**2, rtol=0.1)
    assert (table["dof"] == without["dof"]).all()


def test_fixed_label_has_its_value_and_no_error(regressor, stars, free, emulator):
    labels, covariance = free
    value = labels[0, 0] + 50.0
    regression = regressor(fixed={"teff": value})
    found, found_covariance = regression.predict(stars, return_cov=True)
    assert (found[:, 0] == value).all()
    assert not found_covariance[:, 0].any()
    assert not found_covariance[:, :, 0].any()
    # those of the others are conditional
    found, found_covariance = regressor(fixed={"teff": labels[:, 0]}).predict(
        stars, return_cov=True
    )
    for i in range(N):
        conditional = np.linalg.inv(np.linalg.inv(covariance[i])[1:, 1:])
        scale = np.sqrt(np.diag(conditional))
        # up to the velocity, which the covariance of labels has marginalised
        np.testing.assert_allclose(
            found_covariance[i, 1:, 1:] / np.outer(scale, scale),
            conditional / np.outer(scale, scale),
            atol=0.03,
        )
        np.testing.assert_allclose(found[i], labels[i], atol=1e-3 * scale.min())


def test_fixed_parameters_leave_more_degrees_of_freedom(regressor, stars):
    table = regressor(fixed={"teff": 5000.0, "radial_velocity": 3.0}).measure(stars)
    without = regressor().measure(stars)
    # a known velocity also leaves more pixels than one that is sought
    fitted = without["n_pixels"] - without["dof"]
    assert (table["n_pixels"] - table["dof"] == fitted - 2).all()


def test_star_without_free_parameters_has_as_many_degrees_of_freedom_as_pixels(
    regressor, stars
):
    known = {"teff": 5000.0, "Fe_H": 0.0, "Mg_H": 0.0, "radial_velocity": 3.0}
    table = regressor(fixed=known).measure(stars)
    np.testing.assert_array_equal(table["dof"], table["n_pixels"])
    for name, value in known.items():
        np.testing.assert_array_equal(table[name].value, value)
        assert not table[f"{name}_error"].value.any()


def test_nan_leaves_the_label_of_a_star_free(regressor, stars, free):
    value = np.full(N, np.nan)
    value[2] = 5321.0
    found, error = regressor(fixed={"teff": value}).predict(stars, return_std=True)
    assert found[2, 0] == 5321.0
    assert error[2, 0] == 0
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(found[others], free[0][others], rtol=1e-9)
    assert (error[others] > 0).all()


def test_fixed_velocity_is_not_looked_for(regressor, stars, free):
    velocity = 10.0 * np.arange(N)
    velocity[3] += 200.0  # wrong, and nobody may mend it
    table = regressor(fixed={"radial_velocity": velocity}).measure(stars)
    np.testing.assert_array_equal(table["radial_velocity"].value, velocity)
    assert not table["radial_velocity_error"].value.any()
    bad = table["flags"] & FLAGS["BAD_FIT"][0] > 0
    assert bad.tolist() == [False, False, False, True, False]
    assert not (table["flags"] & FLAGS["VELOCITY_AT_EDGE"][0]).any()


def test_label_fixed_at_the_edge_of_the_box_is_not_flagged(
    regressor, emulator, draw_labels, observe
):
    labels = draw_labels(1)
    labels[0, 2] = emulator.label_low_[2]
    table = regressor(fixed={"Mg_H": labels[0, 2]}).measure([observe(labels[0])])
    assert table["flags"][0] == 0


def test_width_takes_a_prior(regressor, stars):
    loose = regressor(vsini=(0.0, 50.0)).measure(stars)
    tight = regressor(vsini=(0.0, 50.0), priors={"vsini": (9.0, 0.01)}).measure(stars)
    assert (loose["vsini"].value < 6).all()
    np.testing.assert_allclose(tight["vsini"].value, 9.0, atol=0.1)
    assert (tight["vsini_error"].value <= 0.01).all()


def test_bounds_by_name_hold_for_that_label(regressor, stars, emulator):
    bounds = {"Fe_H": (-0.05, 0.05)}
    found = regressor(bounds=bounds).predict(stars)
    assert (np.abs(found[:, 1]) <= 0.05 + 1e-9).all()
    low, high = emulator.label_low_, emulator.label_high_
    every = np.stack([low, high], axis=1)
    every[1] = -0.05, 0.05
    np.testing.assert_array_equal(found, regressor(bounds=every).predict(stars))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixed": {"Teff": 5000.0}}, r"`fixed` must name .*'Teff'.*did you mean"),
        ({"fixed": {"teff": 1.0}}, r"`fixed\['teff'\]` must be between .*got 1\."),
        ({"fixed": {"teff": [5000.0, 5000.0]}}, r"each of the 5 stars.*\(2,\)"),
        (
            {"priors": {"Fe_H": 0.0}},
            r"`priors\['Fe_H'\]` must be a mean and a standard",
        ),
        ({"priors": {"Fe_H": (0.0, 0.0)}}, r"positive standard.*got 0 and 0"),
        ({"priors": {"Fe_H": (np.nan, 0.1)}}, r"finite means.*got nan and 0\.1"),
        ({"priors": {"vsini": (3.0, 1.0)}}, r"`priors` must name .*'vsini'"),
        ({"bounds": {"FeH": (0.0, 1.0)}}, r"`bounds` must name .*'FeH'.*'Fe_H'"),
        ({"bounds": {"Fe_H": 0.0}}, r"`bounds\['Fe_H'\]` must be a smallest"),
        ({"bounds": {"Fe_H": (0.2, 0.1)}}, r"`bounds` must have the shape"),
    ],
)
def test_wrong_constraint_is_named(regressor, stars, options, message):
    with pytest.raises(ValueError, match=f"(?is){message}"):
        regressor(**options).predict(stars)


def test_constraints_that_are_no_mapping_are_a_type_error(regressor, stars):
    with pytest.raises(TypeError, match="`fixed` must map names"):
        regressor(fixed=[5000.0]).predict(stars)


def test_arrays_of_the_caller_are_left_alone(regressor, stars):
    value, error = np.full(N, 5000.0), np.full(N, 100.0)
    regressor(fixed={"teff": value}, priors={"Fe_H": (0.0 * value, error)}).predict(
        stars
    )
    assert (value == 5000.0).all()
    assert (error == 100.0).all()
