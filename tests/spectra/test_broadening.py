"""Tests of broadening, against profiles integrated over a disk by other means."""

import numpy as np
import pytest
import torch
from scipy import integrate, special

from sk_payne.spectra import (
    C_KMS,
    GridInterpolator,
    VelocityConvolver,
    broaden,
    gaussian_transfer,
    instrument_transfer,
    macroturbulence_transfer,
    rotation_transfer,
    velocity_sigma,
)

STEP = 3.0  # km/s
WAVELENGTH = 5000 * np.exp(np.arange(-400, 401) * STEP / C_KMS)
VELOCITY = np.arange(-400, 401) * STEP


def line(velocity, *, depth=0.9, width=5.0):
    """A Gaussian absorption line around zero, width in km/s."""
    return 1 - depth * np.exp(-0.5 * (velocity / width) ** 2)


def rotating(velocity, vsini, limb_darkening, n=2000):
    """A line of a star, summed over points of its disk, which differ in velocity."""
    # uniform in the angle along the equator and in mu: no singular limb
    x, weight = np.polynomial.legendre.leggauss(n)
    # strips of the disk: all mu of a strip, integrated analytically from its chord
    strip, share = np.sin(np.pi / 2 * x), weight * np.pi / 2 * np.cos(np.pi / 2 * x)
    chord = np.sqrt(1 - strip**2)
    # integral of 1 - e + e sqrt(c^2 - y^2) over -c < y < c
    light = 2 * (1 - limb_darkening) * chord + limb_darkening * np.pi / 2 * chord**2
    light *= share / np.sum(light * share)
    return np.sum(light * line(velocity[:, None] - vsini * strip), axis=1)


def turbulent(velocity, vmac):
    """A line with radial-tangential motions, by quadrature over a disk."""
    # of mu^2, which is uniform over the disk
    x, weight = np.polynomial.legendre.leggauss(200)
    squares, share = (1 + x) / 2, weight / 2
    total = np.zeros_like(velocity)
    for part in (squares, 1 - squares):
        for square, w in zip(part, share, strict=True):
            # e^-(v/zeta)^2 has the variance zeta^2 / 2
            variance = vmac**2 * square / 2 + 5.0**2
            narrow = 0.9 * 5.0 / np.sqrt(variance)
            total += w / 2 * narrow * np.exp(-0.5 * velocity**2 / variance)
    return 1 - total


@pytest.mark.parametrize("limb_darkening", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("vsini", [0.0, 0.5, 3.0, 20.0, 150.0])
def test_rotation_is_that_of_a_disk_summed_up(vsini, limb_darkening):
    found = broaden(
        line(VELOCITY), WAVELENGTH, vsini=vsini, limb_darkening=limb_darkening
    )
    expected = rotating(VELOCITY, vsini, limb_darkening)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("vmac", [0.0, 0.5, 3.0, 20.0])
def test_macroturbulence_is_that_of_a_disk_summed_up(vmac):
    found = broaden(line(VELOCITY), WAVELENGTH, vmac=vmac)
    np.testing.assert_allclose(found, turbulent(VELOCITY, vmac), rtol=0, atol=1e-5)


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


def test_instrument_brings_a_line_to_the_width_of_the_resolving_power():
    # a Gaussian line as wide as an instrument of R = 50000 becomes one of R = 20000
    width = float(velocity_sigma(50_000))
    found = broaden(
        line(VELOCITY, width=width, depth=0.5),
        WAVELENGTH,
        resolving_power=20_000,
        already=50_000,
    )
    wide = C_KMS / 20_000 / 2.3548200450309493
    expected = line(VELOCITY, width=wide, depth=0.5 * width / wide)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("grid", ["linear", "uneven"])
def test_other_grids_are_broadened_alike(grid):
    if grid == "linear":
        wavelength = np.linspace(WAVELENGTH[0], WAVELENGTH[-1], 801)
    else:
        wavelength = WAVELENGTH + 0.2 * np.sin(np.arange(801) / 60)
    velocity = C_KMS * np.log(wavelength / 5000)
    found = broaden(line(velocity), wavelength, vsini=20, vmac=4, resolving_power=3e4)
    fine = broaden(line(VELOCITY), WAVELENGTH, vsini=20, vmac=4, resolving_power=3e4)
    expected = GridInterpolator(WAVELENGTH)(fine, wavelength)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5)


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


@pytest.mark.parametrize(
    "transfer", [rotation_transfer, macroturbulence_transfer, gaussian_transfer]
)
def test_no_broadening_is_none_and_stationary(transfer):
    k = torch.linspace(0, 1.0, 11, dtype=torch.float64)
    value, slope = transfer(k, tensor(0.0))
    assert (value == 1).all()
    assert (slope == 0).all()


def test_many_spectra_have_widths_of_their_own():
    flux = np.stack([line(VELOCITY), line(VELOCITY, depth=0.3)])
    together = broaden(flux, WAVELENGTH, vsini=[5.0, 40.0], vmac=[3.0, 0.0])
    for row, vsini, vmac, one in zip(
        flux, [5.0, 40.0], [3.0, 0.0], together, strict=True
    ):
        alone = broaden(row, WAVELENGTH, vsini=vsini, vmac=vmac)
        np.testing.assert_allclose(one, alone, rtol=0, atol=1e-12)


def test_continuum_stays_and_equivalent_widths_are_kept():
    flux = line(VELOCITY)
    before = flux.copy()
    found = broaden(flux, WAVELENGTH, vsini=30, vmac=3, resolving_power=20_000)
    assert found[:100] == pytest.approx(1, abs=1e-7)
    assert (1 - found).sum() == pytest.approx((1 - flux).sum(), rel=1e-7)
    np.testing.assert_array_equal(flux, before)


def test_ends_are_continued_as_they_are():
    flux = np.full(801, 0.7)
    flux[-1] = 0.9
    found = broaden(flux, WAVELENGTH, vsini=50)
    # what is beyond one end does not come in at the other; a jump rings a little
    assert found[:700] == pytest.approx(0.7, abs=1e-5)


def test_no_broadening_gives_a_copy():
    flux = line(VELOCITY)
    found = broaden(flux, WAVELENGTH)
    assert found is not flux
    np.testing.assert_array_equal(found, flux)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vsini": -1.0}, "`vsini` must be finite and not negative, in km/s; got -1.0"),
        ({"vmac": np.nan}, "`vmac` must be finite and not negative, in km/s; got nan"),
        ({"limb_darkening": 1.5}, "`limb_darkening` must be between 0 and 1; got 1.5"),
        ({"resolving_power": 0}, "`resolving_power` must be positive; got 0"),
        (
            {"resolving_power": 5e4, "already": 2e4},
            "must not be above that of the spectrum",
        ),
        ({"already": 2e4}, "`resolving_power` must be given if `already` is"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        broaden(line(VELOCITY), WAVELENGTH, **arguments)


def test_flux_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="`flux` must have 801 entries"):
        broaden(np.ones(800), WAVELENGTH)


def test_convolver_needs_two_wavelengths():
    with pytest.raises(ValueError, match="at least two entries; got 1"):
        VelocityConvolver([5000.0], 10.0)


def tensor(value):
    return torch.as_tensor(value, dtype=torch.float64)


def test_instrument_transfer_is_that_of_the_gaussian_between_two_resolving_powers():
    k = torch.linspace(0, 0.3, 31, dtype=torch.float64)
    power = torch.tensor([9e3, 2e4, 5e4], dtype=torch.float64)
    transfer, slope = instrument_transfer(k, power, already=5e4)
    sigma = torch.from_numpy(velocity_sigma(power.numpy(), 5e4))
    torch.testing.assert_close(transfer, gaussian_transfer(k, sigma)[0])
    up, down = (instrument_transfer(k, power[:2] + s, 5e4)[0] for s in (1, -1))
    torch.testing.assert_close(slope[:2], (up - down) / 2, rtol=1e-5, atol=1e-12)
