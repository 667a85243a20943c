"""Tests of interpolation and broadening on grids of several segments."""

import pickle

import numpy as np
import pytest
import torch

from sk_payne.spectra import (
    C_KMS,
    GridInterpolator,
    VelocityConvolver,
    broaden,
    grid_segments,
)

RNG = np.random.default_rng(5)
PARTS = {
    "log": [
        np.geomspace(4500, 4510, 200),
        np.array([4600.0]),
        np.array([4700.0, 4700.05]),
        np.geomspace(5000, 5010, 150),
    ],
    "linear": [np.linspace(4500, 4510, 200), np.linspace(5000, 5020, 300)],
    "mixed": [
        np.linspace(4500, 4510, 20),
        np.array([4700.0, 4701.0, 4702.0]),
        5000.0 + np.linspace(2, 7, 150) ** 2,
    ],
    "an angstrom and a half apart": [
        5000 + 0.02 * np.arange(300),
        5007.58 + 0.02 * np.arange(200),
    ],
    "ends alone": [
        np.array([4600.0]),
        np.geomspace(4700, 4710, 99),
        np.array([4800.0]),
    ],
}


@pytest.fixture(params=list(PARTS))
def parts(request):
    return PARTS[request.param]


def pixels_of(parts):
    return grid_segments(np.concatenate(parts))


def test_each_segment_is_interpolated_as_if_it_were_alone(parts):
    grid = np.concatenate(parts)
    flux = torch.from_numpy(RNG.normal(size=(2, len(grid))))
    interpolate = GridInterpolator(grid)
    coefficients = interpolate.coefficients(flux)

    assert len(interpolate.segments) == len(parts)
    for part, pixels in zip(parts, interpolate.segments, strict=True):
        alone = GridInterpolator(part)
        wavelength = np.r_[part, RNG.uniform(part[0], part[-1], 50)]
        own = alone.coefficients(flux[:, pixels])
        for method in ("evaluate", "derivative"):
            found = getattr(interpolate, method)(
                coefficients, torch.from_numpy(interpolate.index(wavelength))
            )
            expected = getattr(alone, method)(
                own, torch.from_numpy(alone.index(wavelength))
            )
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_flux_of_one_segment_does_not_enter_another(parts):
    grid, pixels = np.concatenate(parts), pixels_of(parts)
    flux = RNG.normal(size=len(grid))
    other = flux.copy()
    other[pixels[0]] = 1e3 * RNG.normal(size=len(parts[0]))
    wavelength = RNG.uniform(parts[-1][0], parts[-1][-1], 50)
    interpolate = GridInterpolator(grid)

    np.testing.assert_array_equal(
        interpolate(other, wavelength), interpolate(flux, wavelength)
    )


def test_whole_indices_are_the_pixels_and_gaps_are_one_pixel_wide(parts):
    grid = np.concatenate(parts)
    interpolate = GridInterpolator(grid)

    np.testing.assert_allclose(
        interpolate.index(grid), np.arange(len(grid)), rtol=0, atol=1e-6
    )
    before, behind = parts[0][-1], parts[1][0]
    inside = interpolate.index(np.linspace(before, behind, 12)[1:-1])
    n = len(parts[0])
    assert (np.diff(inside) > 0).all()
    assert (inside > n - 1).all()
    assert (inside < n).all()


def test_in_a_gap_the_nearer_end_counts_and_the_slope_is_zero(parts):
    grid = np.concatenate(parts)
    flux = torch.from_numpy(RNG.normal(size=len(grid)))
    interpolate = GridInterpolator(grid)
    n, gap = len(parts[0]), parts[1][0] - parts[0][-1]
    wavelength = np.array([parts[0][-1] + 0.1 * gap, parts[1][0] - 0.1 * gap])
    u = torch.from_numpy(interpolate.index(wavelength))
    coefficients = interpolate.coefficients(flux)

    found = interpolate.evaluate(coefficients, u)

    torch.testing.assert_close(found, flux[n - 1 : n + 1])
    assert interpolate.derivative(coefficients, u).tolist() == [0, 0]
    assert interpolate.covers(wavelength).tolist() == [False, False]


def test_covers_is_true_at_the_ends_of_all_segments(parts):
    interpolate = GridInterpolator(np.concatenate(parts))
    ends = np.array([part[[0, -1]] for part in parts]).ravel()

    assert interpolate.covers(ends).all()
    assert interpolate.covers(torch.from_numpy(ends)).all()


@pytest.mark.parametrize("kind", list(PARTS))
def test_gradients_of_segments_are_those_of_finite_differences(kind):
    parts = PARTS[kind]
    interpolate = GridInterpolator(np.concatenate(parts))
    flux = torch.from_numpy(RNG.normal(size=len(interpolate)))
    part = parts[1] if len(parts[1]) > 1 else parts[0]
    part = part if len(part) > 1 else parts[1]
    wavelength = torch.tensor(RNG.uniform(part[0], part[-1], 5), requires_grad=True)

    assert torch.autograd.gradcheck(
        lambda w: interpolate(flux, w), wavelength, atol=1e-4, rtol=1e-3
    )


def test_pickled_interpolator_of_segments_is_the_same(parts):
    interpolate = GridInterpolator(np.concatenate(parts))
    flux = RNG.normal(size=len(interpolate))
    before = interpolate(flux, parts[-1])

    again = pickle.loads(pickle.dumps(interpolate))

    np.testing.assert_array_equal(again(flux, parts[-1]), before)


def test_segments_may_be_chosen():
    grid = np.geomspace(5000, 5010, 100)
    flux = RNG.normal(size=100)

    halves = GridInterpolator(grid, [slice(0, 50), slice(50, 100)])

    assert not halves.covers((grid[49] + grid[50]) / 2)
    found = halves(flux, grid[10:20] + 0.03)
    np.testing.assert_allclose(
        found, GridInterpolator(grid[:50])(flux[:50], grid[10:20] + 0.03)
    )


@pytest.mark.parametrize(
    "segments",
    [
        [slice(0, 50)],
        [slice(0, 50), slice(60, 100)],
        [slice(50, 100), slice(0, 50)],
        [slice(0, 0), slice(0, 100)],
        [slice(0, 100, 2)],
    ],
)
def test_segments_that_do_not_cut_the_grid_are_refused(segments):
    with pytest.raises(ValueError, match="`segments` must be slices that cut the 100"):
        GridInterpolator(np.geomspace(5000, 5010, 100), segments)


# Broadening ----------------------------------------------------------------------


def smooth_flux(wavelength):
    return 1 - 0.4 * np.sin(wavelength * 3.0) ** 2 - 0.2 * np.sin(wavelength) ** 2


@pytest.mark.parametrize("kind", ["log", "linear", "an angstrom and a half apart"])
def test_each_segment_is_broadened_as_if_it_were_alone(kind):
    parts = PARTS[kind]
    grid = np.concatenate(parts)
    flux = smooth_flux(grid)
    options = {"vsini": 8.0, "vmac": 3.0, "resolving_power": 20000}

    found = broaden(flux, grid, **options)

    for part, pixels in zip(parts, pixels_of(parts), strict=True):
        if len(part) > 2:
            expected = broaden(flux[pixels], part, **options)
            np.testing.assert_allclose(found[pixels], expected, rtol=0, atol=3e-3)
            # within the reach of the profiles from an end, little is known
            inner = np.abs(np.log(part / part[[[0], [-1]]])).min(0) > 50 / C_KMS
            np.testing.assert_allclose(
                found[pixels][inner], expected[inner], rtol=0, atol=2e-5
            )


def test_broadening_does_not_smear_across_a_gap():
    parts = PARTS["an angstrom and a half apart"]
    grid, (first, second) = np.concatenate(parts), pixels_of(parts)
    flux = smooth_flux(grid)
    other = flux.copy()
    other[second] = 0.0

    # reaches twice across the gap
    found = broaden(other, grid, vsini=200.0)[first]

    expected = broaden(flux, grid, vsini=200.0)[first]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_chips_of_one_logarithmic_grid_are_not_resampled_finer():
    full = np.geomspace(15000, 17000, 8000)
    chips = np.concatenate([full[:2000], full[3000:5000], full[6000:]])

    convolver = VelocityConvolver(chips, 30.0)

    np.testing.assert_allclose(convolver.wavelength, chips, rtol=1e-12)
    assert convolver.step == pytest.approx(C_KMS * np.log(17 / 15) / 7999)


def test_coefficients_of_broadened_segments_give_the_broadened_spectra():
    grid = np.concatenate(PARTS["log"])
    flux = torch.from_numpy(smooth_flux(grid))
    convolver = VelocityConvolver(grid, 30.0)
    spectrum = convolver.transform(flux) * torch.exp(-((convolver.k * 4) ** 2) / 2)
    index = torch.from_numpy(convolver.interpolator.index(convolver.wavelength))

    found = convolver.interpolator.evaluate(convolver.coefficients(spectrum), index)

    torch.testing.assert_close(found, convolver.back(spectrum), rtol=0, atol=1e-9)


@pytest.mark.parametrize("extra", [1e-3, 1e-5, 1e-7])
def test_close_pair_of_wavelengths_does_not_make_a_convolution_large(extra):
    grid = np.arange(4500, 4600, 0.05)
    pair = np.sort(np.r_[grid, 4550 + extra])

    convolver = VelocityConvolver(pair, 30.0)

    assert len(convolver.wavelength) < 3 * len(grid)
    found = broaden(smooth_flux(pair), pair, vsini=10.0)
    expected = broaden(smooth_flux(grid), grid, vsini=10.0)
    np.testing.assert_allclose(np.interp(grid, pair, found), expected, atol=1e-3)
