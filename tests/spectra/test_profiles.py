"""Tests of transforms of profiles, against quadrature and functions of scipy."""

import numpy as np
import pytest
import torch
from scipy import integrate, special

from sk_payne.spectra import (
    gaussian_transfer,
    instrument_transfer,
    macroturbulence_transfer,
    rotation_transfer,
    velocity_sigma,
)


def tensor(value):
    return torch.as_tensor(value, dtype=torch.float64)


def test_macroturbulence_is_the_profile_of_the_textbook():
    # the radial half of Gray's formula, by quadrature, and its tangential twin
    zeta = 7.0

    def profile(v):
        inner, _ = integrate.quad(lambda u: np.exp(-1 / u**2), 0, zeta / abs(v))
        return 2 * abs(v) / (np.sqrt(np.pi) * zeta**2) * inner

    for k in (0.05, 0.2, 0.6):
        transform, _ = integrate.quad(
            lambda v, k=k: 2 * np.cos(k * v) * profile(v), 0, 60, limit=400
        )
        found, _ = macroturbulence_transfer(tensor([k]), tensor(zeta))
        assert float(found[0]) == pytest.approx(transform, abs=1e-6)


@pytest.mark.parametrize(
    ("transfer", "width"), [(macroturbulence_transfer, 5.0), (gaussian_transfer, 4.0)]
)
def test_slope_is_the_derivative_by_the_width(transfer, width):
    k = torch.linspace(0, 1.0, 2001, dtype=torch.float64)  # both sides of the series
    step = 1e-4
    up, down = (transfer(k, tensor(width + s))[0] for s in (step, -step))
    slope = transfer(k, tensor(width))[1]
    torch.testing.assert_close(slope, (up - down) / (2 * step), rtol=0, atol=1e-8)


@pytest.mark.parametrize("limb_darkening", [0.0, 0.6, 1.0])
def test_transform_of_rotation_and_its_slope_are_bessel_functions(limb_darkening):
    k = np.linspace(0.01, 1.0, 1001)
    s = 20 * k
    values, slopes = rotation_transfer(tensor(k), tensor(20.0), limb_darkening)
    disk, limb = 2 * special.j1(s) / s, 3 * special.spherical_jn(1, s) / s
    share = 2 / 3 * limb_darkening / (1 - limb_darkening / 3)
    # torch's Bessel functions are good to 5e-7
    expected = (1 - share) * disk + share * limb
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
    disk, limb = -2 * special.jn(2, s) / s, -3 * special.spherical_jn(2, s) / s
    expected = k * ((1 - share) * disk + share * limb)
    np.testing.assert_allclose(slopes, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("limb_darkening", [0.0, 1.0])
def test_transform_of_a_slow_rotation_and_its_slope_are_as_exact_as_bessel_functions(
    limb_darkening,
):
    k = np.geomspace(1e-4, 4.9e-3, 31)  # where torch's functions would not do
    s = 10 * k
    values, slopes = rotation_transfer(tensor(k), tensor(10.0), limb_darkening)
    # without limb darkening of the disk alone, with 1 of the darkened part alone
    factor, (first, second) = (
        (3, (special.spherical_jn(n, s) for n in (1, 2)))
        if limb_darkening
        else (2, (special.jv(n, s) for n in (1, 2)))
    )
    np.testing.assert_allclose(values, factor * first / s, rtol=0, atol=1e-13)
    np.testing.assert_allclose(slopes, -factor * k * second / s, rtol=1e-9)


@pytest.mark.parametrize(
    "transfer", [rotation_transfer, macroturbulence_transfer, gaussian_transfer]
)
def test_no_broadening_is_none_and_stationary(transfer):
    k = torch.linspace(0, 1.0, 11, dtype=torch.float64)
    value, slope = transfer(k, tensor(0.0))
    assert (value == 1).all()
    assert (slope == 0).all()


def test_instrument_transfer_is_that_of_the_gaussian_between_two_resolving_powers():
    k = torch.linspace(0, 0.3, 31, dtype=torch.float64)
    power = torch.tensor([9e3, 2e4, 5e4], dtype=torch.float64)
    transfer, slope = instrument_transfer(k, power, already=5e4)
    sigma = torch.from_numpy(velocity_sigma(power.numpy(), 5e4))
    torch.testing.assert_close(transfer, gaussian_transfer(k, sigma)[0])
    up, down = (instrument_transfer(k, power[:2] + s, 5e4)[0] for s in (1, -1))
    torch.testing.assert_close(slope[:2], (up - down) / 2, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("arguments", [(0.0,), (-1.0, 5e4), (2e4, 0.0), ([2e4, 0.0],)])
def test_resolving_power_that_is_not_positive_is_refused(arguments):
    with pytest.raises(ValueError, match="`resolving_power` must be positive; got"):
        velocity_sigma(*arguments)


def test_width_of_an_instrument_is_that_of_gaussians_folded_with_each_other():
    for wanted, has in ((0.5, 0.8), (2e4, 5e4)):
        of_both = velocity_sigma(np.array([wanted, has]))
        expected = np.sqrt(of_both[0] ** 2 - of_both[1] ** 2)
        assert velocity_sigma(wanted, has) == pytest.approx(expected, rel=1e-12)
        assert of_both[1] * has == pytest.approx(299792.458 / np.sqrt(8 * np.log(2)))
