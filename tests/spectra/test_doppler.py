"""Tests of the Doppler factor, against astropy's relativistic equivalency."""

import numpy as np
import pytest
import torch
from astropy import constants, units

from sk_payne.spectra import C_KMS, doppler_factor, rest_wavelength_slope


def test_c_kms_is_the_speed_of_light_of_astropy():
    assert constants.c.to_value(units.km / units.s) == C_KMS


@pytest.mark.parametrize("velocity", [-150000.0, -301.0, -0.01, 0.0, 30.0, 90001.0])
def test_doppler_factor_agrees_with_astropy(velocity):
    rest = 15000.0 * units.AA
    observed = (velocity * units.km / units.s).to_value(
        units.AA, equivalencies=units.doppler_relativistic(rest)
    )
    # Frequencies and back in astropy lose a few float64 roundings.
    assert 15000.0 * doppler_factor(velocity) == pytest.approx(observed, rel=1e-13)


def test_doppler_factor_of_opposite_velocities_multiply_to_one():
    velocity = np.linspace(-1000.0, 1000.0, 13)
    product = doppler_factor(velocity) * doppler_factor(-velocity)
    np.testing.assert_allclose(product, 1.0, rtol=1e-15)


def test_doppler_factor_of_a_tensor_carries_the_gradient():
    velocity = torch.tensor([-31.0, 0.0, 301.0], dtype=torch.float64)
    velocity.requires_grad_()
    assert torch.autograd.gradcheck(doppler_factor, velocity)
    np.testing.assert_allclose(
        doppler_factor(velocity).detach(), doppler_factor(velocity.detach().numpy())
    )


def test_doppler_factor_takes_lists_and_keeps_shapes():
    assert doppler_factor([[1, 2, 3], [4, 5, 6]]).shape == (2, 3)


@pytest.mark.parametrize("velocity", [C_KMS, -3e5, np.nan, [0.0, np.inf]])
def test_doppler_factor_refuses_velocities_that_light_does_not_reach(velocity):
    with pytest.raises(ValueError, match=r"`radial_velocity` .* got .* km/s"):
        doppler_factor(velocity)


def test_rest_wavelength_slope_is_the_gradient_of_torch():
    velocity = torch.tensor([-2e5, -30.0, 0.0, 400.0], dtype=torch.float64)
    velocity.requires_grad_()
    (5000.0 / doppler_factor(velocity)).log().sum().backward()
    torch.testing.assert_close(
        rest_wavelength_slope(velocity.detach()), velocity.grad, rtol=1e-12, atol=0
    )


def test_doppler_factor_names_the_first_velocity_that_it_refuses():
    with pytest.raises(ValueError, match=r"got 300000\.0\. Pass"):
        doppler_factor([10.0, 3e5, 4e5])
