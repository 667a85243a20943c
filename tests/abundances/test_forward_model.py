"""ForwardModel makes the spectra that the public functions make one after the other."""

import numpy as np
import pytest

from sk_payne import Observation
from sk_payne.abundances import ForwardModel, SecondStar, continuum_polynomials
from sk_payne.spectra import GridInterpolator, SpectrumSet, broaden, doppler_factor


def test_flux_is_that_of_the_emulator_broadened_and_shifted(emulator, draw_labels):
    model = ForwardModel(emulator, Observation(vsini=(0.0, 30.0)))
    labels = draw_labels(3)
    vsini, velocity = np.array([2.0, 10.0, 25.0]), np.array([-40.0, 0.0, 60.0])
    values = np.column_stack([labels, vsini, velocity])
    assert model.parameters.names[-2:] == ["vsini", "radial_velocity"]
    grid = emulator.wavelength_
    flux = broaden(emulator.predict(labels), grid, vsini=vsini)
    rest = grid / doppler_factor(velocity)[:, None]
    inside = ((rest > grid[40]) & (rest < grid[-40])).all(axis=0)
    expected = GridInterpolator(grid)(flux, rest.clip(grid[0], grid[-1]))
    found = model.star(0).flux(values).numpy()
    np.testing.assert_allclose(found[:, inside], expected[:, inside], atol=2e-5)


def test_stars_have_their_own_pixels_and_those_without_data_have_no_model(emulator):
    grid = emulator.wavelength_
    wavelength = np.stack([grid[:100], grid[100:200]])
    ivar = np.ones((2, 100))
    ivar[1] = 0
    spectra = SpectrumSet(ivar, ivar, wavelength=wavelength, medium=emulator.medium_)
    observation = Observation(velocity_range=(-10, 10), resolving_power="emulator")
    model = ForwardModel(emulator, observation, spectra)
    np.testing.assert_array_equal(model.star(0).wavelength, wavelength[0])
    assert model.star(1) is None


def test_emulator_error_grows_as_the_emulator_says(emulator, draw_labels):
    model = ForwardModel(emulator, Observation(velocity_range=None))
    labels = draw_labels(2)
    found = model.star(0).emulator_error(labels)
    _, expected = emulator.predict(labels, return_std=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    silent = ForwardModel(emulator, Observation(emulator_error=False))
    assert silent.star(0).emulator_error(np.zeros((1, 4))) is None


def test_second_star_is_refused(emulator):
    with pytest.raises(ValueError, match="`second_star` of the observation must be"):
        ForwardModel(emulator, Observation(second_star=SecondStar()))


def test_polynomials_are_those_of_each_segment_and_arm():
    wavelength = np.r_[5000:5020, 5200:5230, 5220:5260].astype(float)
    arm = np.repeat([0, 1], [50, 40])
    rows = continuum_polynomials(wavelength, 1, arm)
    assert rows.shape == (6, 90)
    inside = rows != 0
    assert (inside.sum(axis=0) <= 2).all()
    np.testing.assert_allclose(rows[1, :20], np.linspace(-1, 1, 20), atol=1e-12)
