"""Tests of broadening, against profiles integrated over a disk by other means."""

import numpy as np
import pytest

from sk_payne.spectra import (
    C_KMS,
    GridInterpolator,
    VelocityConvolver,
    broaden,
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
    ("close", "atol"),
    [
        ([5000.0 + 1e-4], 1e-9),
        ([4999.97, 5000.0 + 1e-7], 3e-3),
        (5010.01 + 1e-5 * np.arange(300), 1e-5),
        # in the middle of the line
        (5000.01 + 1e-5 * np.arange(300), 3e-3),
    ],
    ids=["pair", "two", "group", "group in a line"],
)
def test_wavelengths_close_to_each_other_cost_nothing(close, atol):
    wavelength = np.unique(np.r_[WAVELENGTH, close])
    convolver = VelocityConvolver(wavelength, 60.0)
    assert len(convolver.wavelength) < 3 * len(WAVELENGTH)
    found = broaden(line(C_KMS * np.log(wavelength / 5000)), wavelength, vsini=20)
    fine = broaden(line(VELOCITY), WAVELENGTH, vsini=20)
    expected = GridInterpolator(WAVELENGTH)(fine, wavelength)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("at", ["first", "last"])
def test_ends_stay_with_wavelengths_close_to_them(at):
    ends = WAVELENGTH[[0, -1]]
    extra = ends[0] + 1e-5 if at == "first" else ends[1] - 1e-5
    wavelength = np.unique(np.r_[WAVELENGTH, extra])
    convolver = VelocityConvolver(wavelength, 60.0)
    np.testing.assert_array_equal(convolver.wavelength[[0, -1]], ends)
    assert len(convolver.wavelength) < 3 * len(WAVELENGTH)
    assert VelocityConvolver([5000.0, 5000.1], 9.0).wavelength[-1] == 5000.1


def test_steps_that_differ_sevenfold_are_broadened_alike():
    velocity = np.cumsum(3.0 * np.exp(np.sin(np.arange(900) / 150)))
    velocity = velocity - velocity[450]
    velocity = velocity[np.abs(velocity) < 1200]
    wavelength = 5000 * np.exp(velocity / C_KMS)
    found = broaden(line(velocity), wavelength, vsini=20, vmac=4, resolving_power=3e4)
    fine = broaden(line(VELOCITY), WAVELENGTH, vsini=20, vmac=4, resolving_power=3e4)
    expected = GridInterpolator(WAVELENGTH)(fine, wavelength)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_steps_that_jump_in_a_line_are_broadened_to_a_thousandth():
    steps = np.r_[np.full(400, 3.0), np.full(800, 1.5)]
    velocity = np.cumsum(steps) - 1200.3
    wavelength = 5000 * np.exp(velocity / C_KMS)
    found = broaden(line(velocity), wavelength, vsini=20)
    fine = broaden(line(VELOCITY), WAVELENGTH, vsini=20)
    expected = GridInterpolator(WAVELENGTH)(fine, wavelength)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


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
