"""Tests of GridInterpolator, against scipy's splines and lines known in closed form."""

import pickle

import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator, make_interp_spline

from sk_payne.spectra import GridInterpolator

P = 211
RNG = np.random.default_rng(0)
GRIDS = {
    "log": np.geomspace(5000.0, 5050.0, P),
    "linear": np.linspace(5000.0, 5050.0, P),
    "smooth": 5000.0 + np.linspace(0.0, 7.0, P) ** 2 + np.linspace(0.0, 1.0, P),
}


@pytest.fixture(params=list(GRIDS))
def grid(request):
    return GRIDS[request.param]


def line(pixel, centre, fwhm):
    sigma = fwhm / np.sqrt(8 * np.log(2))
    return 1 - 0.5 * np.exp(-0.5 * ((pixel - centre) / sigma) ** 2)


# Index ---------------------------------------------------------------------------


def test_index_of_the_nodes_counts_them(grid):
    u = GridInterpolator(grid).index(grid)
    np.testing.assert_allclose(u, np.arange(P), rtol=0, atol=1e-6)


def test_index_between_nodes_follows_the_formula_of_uniform_grids():
    wavelength = RNG.uniform(4990.0, 5060.0, 103)
    u = GridInterpolator(GRIDS["log"]).index(wavelength)
    expected = np.log(wavelength / 5000.0) / np.log(1.01) * (P - 1)
    np.testing.assert_allclose(u, expected, rtol=0, atol=1e-8)
    u = GridInterpolator(GRIDS["linear"]).index(wavelength)
    np.testing.assert_allclose(u, (wavelength - 5000) / 50 * (P - 1), atol=1e-8)


def test_index_of_other_grids_is_a_monotone_cubic():
    grid = GRIDS["smooth"]
    wavelength = RNG.uniform(grid[0], grid[-1], 103)
    expected = PchipInterpolator(grid, np.arange(P))(wavelength)
    u = GridInterpolator(grid).index(wavelength)
    np.testing.assert_allclose(u, expected, rtol=0, atol=1e-10)


def test_index_goes_on_outside_the_grid(grid):
    interpolate = GridInterpolator(grid)
    u = interpolate.index([grid[0] - 1.0, grid[-1] + 1.0])
    assert u[0] < 0
    assert u[1] > P - 1


def test_index_slope_is_the_gradient_of_index(grid):
    interpolate = GridInterpolator(grid)
    wavelength = torch.tensor(RNG.uniform(grid[0] - 1, grid[-1] + 1, 53))
    wavelength.requires_grad_()
    (gradient,) = torch.autograd.grad(interpolate.index(wavelength).sum(), wavelength)
    slope = interpolate.index_slope(wavelength)
    torch.testing.assert_close(slope, gradient * wavelength)
    np.testing.assert_allclose(
        interpolate.index_slope(wavelength.detach().numpy()), slope.detach().numpy()
    )


def test_covers_is_true_on_the_grid_and_at_its_ends(grid):
    interpolate = GridInterpolator(grid)
    wavelength = [grid[0], grid[-1], grid[0] - 1e-3, grid[-1] + 1e-3, np.nan]
    expected = [True, True, False, False, False]
    assert interpolate.covers(wavelength).tolist() == expected
    assert interpolate.covers(torch.tensor(wavelength)).tolist() == expected


# Interpolation -------------------------------------------------------------------


def test_interpolant_goes_through_its_samples(grid):
    values = RNG.normal(size=(3, P))
    np.testing.assert_allclose(
        GridInterpolator(grid)(values, grid), values, rtol=0, atol=1e-6
    )


def test_interpolant_goes_through_its_samples_at_whole_indices():
    interpolate = GridInterpolator(GRIDS["log"])
    values = torch.tensor(RNG.normal(size=(3, P)))
    found = interpolate.evaluate(
        interpolate.coefficients(values), torch.arange(P, dtype=torch.float64)
    )
    torch.testing.assert_close(found, values, rtol=0, atol=1e-13)


def test_interpolant_is_the_quintic_spline_of_scipy_away_from_the_ends():
    values = RNG.normal(size=P)
    u = RNG.uniform(50, 160, 307)
    spline = make_interp_spline(np.arange(P), values, k=5)
    interpolate = GridInterpolator(GRIDS["linear"])
    coefficients = interpolate.coefficients(torch.tensor(values))
    # Other end conditions are felt by a factor of 0.43 less with every pixel.
    found = interpolate.evaluate(coefficients, torch.tensor(u))
    np.testing.assert_allclose(found, spline(u), rtol=0, atol=1e-12)
    found = interpolate.derivative(coefficients, torch.tensor(u))
    np.testing.assert_allclose(found, spline.derivative()(u), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("fwhm", "largest", "rms"),
    [(2.0, 1.4e-2, 5e-3), (2.4, 4.5e-3, 1.6e-3), (3.0, 8e-4, 3e-4)],
)
def test_narrow_lines_are_interpolated_as_well_as_the_docstring_says(
    fwhm, largest, rms
):
    interpolate = GridInterpolator(GRIDS["log"])
    centre = torch.tensor(RNG.uniform(104.5, 105.5, (101, 1)))
    u = centre + torch.tensor(RNG.uniform(-3, 3, (101, 97)))
    samples = torch.tensor(line(np.arange(P), centre.numpy(), fwhm))
    found = interpolate.evaluate(interpolate.coefficients(samples), u)
    error = found.numpy() - line(u.numpy(), centre.numpy(), fwhm)
    assert np.abs(error).max() < largest
    assert np.sqrt(np.mean(error**2)) < rms


def test_resolved_functions_are_followed_to_the_ends(grid):
    interpolate = GridInterpolator(grid)
    wavelength = np.linspace(grid[0], grid[-1], 997)
    found = interpolate(np.cos(grid / 5.0), wavelength)
    # The end condition costs the second derivative times a step squared, over ten.
    step = np.diff(grid).max()
    error = np.abs(found - np.cos(wavelength / 5.0))
    assert error.max() < (step / 5.0) ** 2 / 10


def test_straight_lines_are_exact_to_the_ends():
    interpolate = GridInterpolator(GRIDS["linear"])
    wavelength = np.linspace(5000.0, 5050.0, 499)
    np.testing.assert_allclose(
        interpolate(GRIDS["linear"], wavelength), wavelength, rtol=1e-14
    )


def test_derivative_is_the_gradient_of_evaluate_at_the_ends_too():
    interpolate = GridInterpolator(GRIDS["log"])
    coefficients = interpolate.coefficients(torch.tensor(RNG.normal(size=(3, P))))
    u = torch.tensor([-1.0, 0.0, 0.5, 17.25, 209.75, 210.0, 211.5]).double()
    u.requires_grad_()
    for row in range(3):
        value = interpolate.evaluate(coefficients[row], u)
        (gradient,) = torch.autograd.grad(value.sum(), u)
        torch.testing.assert_close(
            interpolate.derivative(coefficients, u)[row], gradient
        )
    assert (interpolate.derivative(coefficients, u)[:, [0, -1]] == 0).all()


def test_gradients_reach_values_and_wavelengths():
    grid = GRIDS["smooth"][:13]
    interpolate = GridInterpolator(grid)
    values = torch.tensor(RNG.normal(size=(2, 13)), requires_grad=True)
    # Away from the nodes, where the fifth derivative jumps.
    wavelength = torch.tensor(RNG.uniform(grid[1], grid[11], (2, 5)))
    wavelength.requires_grad_()
    assert torch.autograd.gradcheck(interpolate, (values, wavelength))


def test_forward_mode_and_vmap_give_the_derivative():
    interpolate = GridInterpolator(GRIDS["log"])
    values = torch.tensor(RNG.normal(size=(3, P)))
    u = torch.tensor(RNG.uniform(0, P - 1, (3, 17)))

    def one(values, u):
        return interpolate.evaluate(interpolate.coefficients(values), u)

    tangent = torch.ones(17, dtype=torch.float64)
    _, found = torch.vmap(
        lambda v, x: torch.func.jvp(lambda y: one(v, y), (x,), (tangent,))
    )(values, u)
    expected = interpolate.derivative(interpolate.coefficients(values), u)
    torch.testing.assert_close(found, expected)


# Shapes and kinds ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("leading", "u_shape", "result"),
    [
        ((), (5,), (5,)),
        ((3,), (5,), (3, 5)),
        ((3, 2), (5,), (3, 2, 5)),
        ((3,), (3, 5), (3, 5)),
        ((3, 2), (3, 5), (3, 2, 5)),
        ((1, 2), (3, 5), (3, 2, 5)),
        ((), (3, 5), (3, 5)),
        ((3,), (3, 2, 5), (3, 2, 5)),
        ((3, 1), (3, 2, 5), (3, 2, 5)),
        ((0,), (0, 5), (0, 5)),
    ],
)
def test_leading_axes_are_aligned_from_the_left(leading, u_shape, result):
    interpolate = GridInterpolator(GRIDS["log"])
    values = torch.tensor(RNG.normal(size=(*leading, P)))
    u = torch.tensor(RNG.uniform(0, P - 1, u_shape))
    coefficients = interpolate.coefficients(values)
    found = interpolate.evaluate(coefficients, u)
    assert found.shape == interpolate.derivative(coefficients, u).shape == result
    missing = (1,) * (len(result) - 1 - len(leading))
    wide_c = coefficients.reshape(*leading, *missing, P + 4)
    wide_c = wide_c.expand(*result[:-1], -1)
    wide_u = u.reshape(*u_shape[:-1], *(1,) * (len(result) - len(u_shape)), 5)
    wide_u = wide_u.expand(result)
    for place in np.ndindex(result[:-1]):
        one = interpolate.evaluate(wide_c[place], wide_u[place])
        torch.testing.assert_close(found[place], one)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_samples_are_enough(n):
    grid = np.linspace(5000.0, 5002.0, 5)[:n]
    values = RNG.normal(size=(3, n))
    interpolate = GridInterpolator(grid)
    np.testing.assert_allclose(interpolate(values, grid), values, rtol=0, atol=1e-12)
    outside = interpolate(values, [4000.0, 6000.0])
    np.testing.assert_allclose(outside, values[:, [0, -1]], rtol=0, atol=1e-12)
    u = torch.tensor([0.0, n - 1.0], dtype=torch.float64)
    coefficients = interpolate.coefficients(torch.tensor(values))
    assert interpolate.derivative(coefficients, u).isfinite().all()


def test_two_samples_give_the_straight_line():
    interpolate = GridInterpolator([5000.0, 5001.0])
    coefficients = interpolate.coefficients(torch.tensor([1.0, 3.0]).double())
    u = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(interpolate.evaluate(coefficients, u), 1 + 2 * u)


@pytest.mark.parametrize("leading", [(), (1,), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_interpolated_together_are_those_of_evaluate(leading, dtype):
    grid = np.delete(GRIDS["log"], np.arange(80, 120))  # with a gap
    interpolate = GridInterpolator(grid)
    assert len(interpolate.segments) == 2
    values = torch.from_numpy(RNG.standard_normal((*leading, len(grid)))).to(dtype)
    coefficients = interpolate.coefficients(values)
    # also before the grid, in its gap, at its end and beyond
    u = torch.tensor([-3.0, 0.0, 17.3, 79.0, 79.6, 80.2, len(grid) - 1.0, 300.0])
    found = interpolate.evaluate_together(coefficients, u.double())
    expected = interpolate.evaluate(coefficients, u.double())
    assert found.dtype == dtype
    assert found.shape == (*leading, len(u))
    rtol = {torch.float32: 2e-6, torch.float64: 1e-13}[dtype]
    torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol)


def test_float32_values_stay_float32_with_indices_in_float64():
    interpolate = GridInterpolator(GRIDS["log"])
    values = RNG.uniform(0.5, 1.0, (3, P))
    u = torch.tensor(RNG.uniform(0, P - 1, 103))
    exact = interpolate.evaluate(interpolate.coefficients(torch.tensor(values)), u)
    found = interpolate.evaluate(
        interpolate.coefficients(torch.tensor(values, dtype=torch.float32)), u
    )
    assert found.dtype == torch.float32
    # A few roundings of 6e-8, amplified by a prefilter of gain 4.
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-6)


def test_call_gives_the_kind_of_its_values_and_takes_scalars():
    interpolate = GridInterpolator(GRIDS["log"])
    flux = RNG.normal(size=(3, P))
    assert isinstance(interpolate(flux, [5001.0]), np.ndarray)
    assert isinstance(interpolate(torch.tensor(flux), [5001.0]), torch.Tensor)
    assert interpolate(flux, 5001.0).shape == (3,)


def test_outside_gives_the_end_and_nan_gives_nan():
    interpolate = GridInterpolator(GRIDS["smooth"])
    flux = RNG.normal(size=P)
    found = interpolate(flux, [1.0, 1e5, np.nan])
    np.testing.assert_allclose(found[:2], flux[[0, -1]], atol=1e-12)
    assert np.isnan(found[2])


@pytest.mark.parametrize("kind", list(GRIDS))
def test_every_tensor_is_made_on_the_device_of_the_values(kind):
    interpolate = GridInterpolator(GRIDS[kind])
    values = torch.empty((3, 2, P), device="meta")
    u = interpolate.index(torch.empty((3, 5), device="meta"))
    coefficients = interpolate.coefficients(values)
    assert interpolate.evaluate(coefficients, u).device.type == "meta"
    assert interpolate.derivative(coefficients, u).shape == (3, 2, 5)


def test_first_use_in_inference_mode_does_not_forbid_gradients_later():
    interpolate = GridInterpolator(GRIDS["smooth"])
    with torch.inference_mode():
        interpolate(torch.ones(P, dtype=torch.float64), [5001.0])
    values = torch.ones(P, dtype=torch.float64, requires_grad=True)
    wavelength = torch.tensor([5001.0], dtype=torch.float64, requires_grad=True)
    interpolate(values, wavelength).sum().backward()
    assert values.grad.sum() == pytest.approx(1.0)


def test_pickle_leaves_the_cached_tensors_behind(grid):
    interpolate = GridInterpolator(grid)
    flux = RNG.normal(size=P)
    before = interpolate(flux, 5003.0)
    again = pickle.loads(pickle.dumps(interpolate))
    assert again._cache == {}
    assert again(flux, 5003.0) == before


# Refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wavelength", [[], 5.0, [2.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, np.nan]]
)
def test_grid_must_be_increasing_and_positive(wavelength):
    with pytest.raises(ValueError, match="`wavelength` must be"):
        GridInterpolator(wavelength)


def test_values_must_be_on_the_grid():
    with pytest.raises(ValueError, match=r"`values` must have 211 .* \(3, 5\)"):
        GridInterpolator(GRIDS["log"]).coefficients(torch.ones(3, 5))


def test_values_must_be_floats():
    with pytest.raises(ValueError, match=r"got torch.int64"):
        GridInterpolator(GRIDS["log"]).coefficients(torch.arange(P))
