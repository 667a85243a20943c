"""Tests of the batched fit, mostly against scipy's on the same problems."""

import numpy as np
import pytest
import scipy.optimize
import torch

from sk_payne.abundances._least_squares import fit_least_squares
from sk_payne.abundances._normal_matrix import invert_normal_matrix

X = torch.linspace(0.0, 3.0, 53, dtype=torch.float64)
SIGMA = 0.02


class Model:
    """A function of parameters, linearized by torch itself."""

    def __init__(self, function):
        self.function = function

    def flux(self, rows, parameters):
        return torch.stack([self.function(row) for row in parameters])

    def linearize(self, rows, parameters):
        jacobian = torch.stack(
            [torch.func.jacrev(self.function)(row).T for row in parameters]
        )
        return self.flux(rows, parameters), jacobian


def decay(p):
    """Amplitude, rate and level of an exponential."""
    return p[0] * torch.exp(-p[1] * X) + p[2]


def two_decays(p):
    return p[0] * torch.exp(-p[1] * X) + p[2] * torch.exp(-p[3] * X)


def blind_decay(p):
    """The last parameter has no effect."""
    return p[0] * torch.exp(-p[1] * X) + 0.0 * p[2]


def nearly_degenerate(p):
    """Two parameters that do the same but for one part in ten thousand."""
    return torch.exp(-p[0] * X - p[1] * (X + 1e-4 * X**2))


def observe(function, truth, seed=0, sigma=SIGMA):
    """Noisy data of every row of the truth, and inverse variances."""
    clean = Model(function).flux(None, truth)
    noise = np.random.default_rng(seed).normal(size=clean.shape)
    flux = clean + sigma * torch.from_numpy(noise)
    return flux, torch.full_like(flux, sigma**-2)


def fit(function, flux, ivar, start, bounds, *, max_iterations=101):
    bounds = torch.tensor(bounds, dtype=torch.float64)
    n = len(flux)
    start = torch.tensor(start, dtype=torch.float64).expand(n, -1)
    return fit_least_squares(
        Model(function) if callable(function) else function,
        flux,
        ivar,
        start,
        bounds[:, 0].expand(n, -1),
        bounds[:, 1].expand(n, -1),
        max_iterations=max_iterations,
    )


def fit_by_scipy(function, flux, ivar, start, bounds):
    """Solution and chi2 of one star."""
    root = ivar.sqrt()

    def residual(p):
        return (root * (function(torch.from_numpy(p)) - flux)).numpy()

    def jacobian(p):
        derivative = torch.func.jacrev(function)(torch.from_numpy(p))
        return (root[:, None] * derivative).numpy()

    solution = scipy.optimize.least_squares(
        residual,
        start,
        jacobian,
        bounds=np.transpose(bounds),
        method="trf",
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    return solution.x, 2 * solution.cost


# (function, range of the truth, start, bounds, noise)
PROBLEMS = {
    "free": (
        decay,
        [(0.5, 2.0), (0.3, 3.0), (-1.0, 1.0)],
        [0.7, 0.7, 0.1],
        [(-11.0, 11.0)] * 3,
        SIGMA,
    ),
    "rate at its bound": (
        decay,
        [(0.5, 2.0), (1.5, 3.0), (-1.0, 1.0)],
        [0.7, 0.7, 0.1],
        [(0.0, 7.0), (0.1, 1.0), (-7.0, 7.0)],
        SIGMA,
    ),
    "two at their bounds": (
        decay,
        [(1.5, 2.0), (0.3, 3.0), (0.5, 1.0)],
        [0.7, 0.7, 0.1],
        [(0.1, 1.0), (0.1, 7.0), (-0.2, 0.2)],
        SIGMA,
    ),
    "two decays": (
        two_decays,
        [(1.0, 2.0), (0.2, 0.5), (1.0, 2.0), (3.0, 5.0)],
        [1.3, 0.3, 1.3, 3.7],
        [(0.0, 5.0), (0.0, 1.0), (0.0, 5.0), (1.5, 11.0)],
        0.002,
    ),
    "nearly degenerate": (
        nearly_degenerate,
        [(0.3, 1.0), (0.3, 1.0)],
        [0.5, 0.5],
        [(-101.0, 101.0)] * 2,
        1e-4,
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_fit_finds_the_solution_of_scipy(name):
    function, truth_range, start, bounds, sigma = PROBLEMS[name]
    low, high = np.transpose(truth_range)
    truth = torch.from_numpy(
        np.random.default_rng(1).uniform(low, high, (19, len(low)))
    )
    flux, ivar = observe(function, truth, sigma=sigma)
    ours = fit(function, flux, ivar, start, bounds)
    errors = torch.diagonal(
        invert_normal_matrix(ours.normal_matrix), dim1=1, dim2=2
    ).sqrt()
    assert ours.converged.all()
    for i in range(len(flux)):
        solution, chi2 = fit_by_scipy(function, flux[i], ivar[i], start, bounds)
        # a fit ends where chi2 could fall by 1e-6, which is 1e-3 sigma; parameters
        # held at a bound have no part in it
        assert ours.chi2[i].item() == pytest.approx(chi2, abs=2e-6)
        distance = (ours.parameters[i].numpy() - solution) / errors[i].numpy()
        assert np.abs(distance).max() < 2e-3


def test_parameter_without_effect_stays_at_its_start_and_has_infinite_variance():
    truth = torch.tensor([[1.1, 0.7, 0.0], [1.7, 1.3, 0.0]], dtype=torch.float64)
    flux, ivar = observe(blind_decay, truth)
    bounds = [(0.0, 7.0), (0.0, 7.0), (-1.0, 1.0)]
    ours = fit(blind_decay, flux, ivar, [0.7, 0.7, 0.3], bounds)
    seeing = fit(
        lambda p: p[0] * torch.exp(-p[1] * X), flux, ivar, [0.7, 0.7], bounds[:2]
    )
    covariance = invert_normal_matrix(ours.normal_matrix)
    assert ours.converged.all()
    assert (ours.parameters[:, 2] == 0.3).all()
    assert torch.isinf(covariance[:, 2, 2]).all()
    torch.testing.assert_close(ours.parameters[:, :2], seeing.parameters)
    torch.testing.assert_close(
        covariance[:, :2, :2], invert_normal_matrix(seeing.normal_matrix)
    )


def test_solution_of_a_star_does_not_depend_on_its_batch():
    truth = torch.from_numpy(
        np.random.default_rng(2).uniform([0.5, 0.3, -1.0], [2.0, 3.0, 1.0], (23, 3))
    )
    flux, ivar = observe(decay, truth)
    # spoil some: their troubles must remain their own
    flux[3] = 1e6
    flux[7] = torch.from_numpy(np.random.default_rng(3).normal(size=53))
    ivar[11] = 0.0
    problem = [0.7, 0.7, 0.1], [(0.1, 7.0), (0.1, 2.0), (-7.0, 7.0)]
    together = fit(decay, flux, ivar, *problem)
    for i in range(len(flux)):
        alone = fit(decay, flux[i : i + 1], ivar[i : i + 1], *problem)
        torch.testing.assert_close(
            together.parameters[i], alone.parameters[0], rtol=1e-9, atol=1e-9
        )
        assert together.n_iterations[i] == alone.n_iterations[0]
        assert together.converged[i] == alone.converged[0]


def test_label_cut_at_its_bound_does_not_spoil_the_others():
    # Linear and strongly correlated: the undamped step is the solution, and cutting
    # only the first parameter would leave the second where it made up for it.
    design = torch.stack([X, X + 0.1 * X**2])
    truth = torch.tensor([[1.9, -0.7]], dtype=torch.float64)
    flux = truth @ design
    ivar = torch.full_like(flux, 1e4)
    ours = fit(lambda p: p @ design, flux, ivar, [0.0, 0.0], [(-1.0, 1.0), (-7.0, 7.0)])
    best = ((flux[0] - design[0]) @ design[1]) / (design[1] @ design[1])
    assert ours.parameters[0, 0] == 1.0
    assert ours.parameters[0, 1].item() == pytest.approx(best.item(), abs=1e-5)
    # one step, and one look around; a step that is merely cut needs many
    assert ours.n_iterations[0] <= 5


def test_start_outside_the_bounds_is_brought_inside():
    flux, ivar = observe(decay, torch.tensor([[1.0, 0.7, 0.2]], dtype=torch.float64))
    bounds = [(0.0, 3.0), (0.1, 3.0), (-1.0, 1.0)]
    inside = fit(decay, flux, ivar, [3.0, 0.1, 0.0], bounds)
    outside = fit(decay, flux, ivar, [7.0, -7.0, 0.0], bounds)
    assert outside.converged.all()
    torch.testing.assert_close(outside.parameters, inside.parameters)


def test_parameter_whose_bounds_coincide_keeps_its_value():
    flux, ivar = observe(decay, torch.tensor([[1.0, 0.7, 0.2]], dtype=torch.float64))
    ours = fit(
        decay, flux, ivar, [1.0, 1.0, 0.0], [(0.0, 3.0), (0.5, 0.5), (-1.0, 1.0)]
    )
    assert ours.converged.all()
    assert ours.parameters[0, 1] == 0.5


@pytest.mark.parametrize("max_iterations", [1, 2, 3])
def test_max_iterations_is_respected_and_reported(max_iterations):
    truth = torch.tensor([[1.0, 2.5, 0.2], [1.9, 0.4, -0.7]], dtype=torch.float64)
    flux, ivar = observe(decay, truth)
    ours = fit(
        decay,
        flux,
        ivar,
        [0.2, 0.1, 1.0],
        [(-11.0, 11.0)] * 3,
        max_iterations=max_iterations,
    )
    assert (ours.n_iterations == max_iterations).all()
    assert not ours.converged.any()
    assert torch.isfinite(ours.parameters).all()


class SometimesNaN(Model):
    """Star 1 has no model at all, star 3 only where it starts."""

    def flux(self, rows, parameters):
        flux = super().flux(rows, parameters)
        flux[rows == 1] = torch.nan
        flux[(rows == 3) & (parameters[:, 0] != 0.7)] = torch.nan
        return flux


def test_star_with_a_model_of_nan_does_not_stop_the_others():
    truth = torch.tensor([[1.0, 0.7, 0.2]] * 5, dtype=torch.float64)
    flux, ivar = observe(decay, truth)
    start, bounds = [0.7, 0.7, 0.1], [(-11.0, 11.0)] * 3
    ours = fit(SometimesNaN(decay), flux, ivar, start, bounds)
    reference = fit(decay, flux, ivar, start, bounds)
    good = [0, 2, 4]
    assert ours.converged.tolist() == [True, False, True, False, True]
    torch.testing.assert_close(ours.parameters[good], reference.parameters[good])
    assert torch.isfinite(ours.parameters).all()
    assert (ours.n_iterations[[1, 3]] < 101).all()


@pytest.mark.parametrize("distance", [0.1, 3e-4])
def test_wrong_derivatives_do_not_pass_for_convergence(distance):
    class Wrong(Model):
        def linearize(self, rows, parameters):
            flux, jacobian = super().linearize(rows, parameters)
            return flux, -jacobian

    # the farther start has a chi2 of 1325, the nearer one of 0.01, of which heavy
    # damping leaves less than the tolerance
    truth = torch.tensor([[1.0, 0.7, 0.2]], dtype=torch.float64)
    flux = Model(decay).flux(None, truth)
    ivar = torch.full_like(flux, SIGMA**-2)
    start = [1.0, 0.7, 0.2 + distance]
    ours = fit(Wrong(decay), flux, ivar, start, [(-11.0, 11.0)] * 3)
    assert not ours.converged.any()
    assert ours.n_iterations[0] < 101


def test_star_far_from_any_model_converges_though_full_steps_overshoot():
    # With large residuals the Gauss-Newton matrix misses most of the curvature, and
    # only heavily damped steps lower chi2.
    rng = np.random.default_rng(5)
    flux = torch.from_numpy(rng.normal(size=(31, 53)))
    ivar = torch.full_like(flux, 11.0)

    def wave(p):
        return torch.sin(7 * p[0] + 5 * X) * p[1]

    start, bounds = [0.1, 0.5], [(-11.0, 11.0), (-3.0, 3.0)]
    ours = fit(wave, flux, ivar, start, bounds)
    assert ours.converged.all()
    for i in range(len(flux)):
        here = ours.parameters[i].numpy()
        _, chi2 = fit_by_scipy(wave, flux[i], ivar[i], here, bounds)
        assert ours.chi2[i].item() == pytest.approx(chi2, abs=1e-5)


def test_single_precision_agrees_within_its_tolerance():
    truth = torch.from_numpy(
        np.random.default_rng(4).uniform([0.5, 0.3, -1.0], [2.0, 3.0, 1.0], (13, 3))
    )
    flux, ivar = observe(decay, truth)
    start, bounds = [0.7, 0.7, 0.1], [(-11.0, 11.0)] * 3

    class Single(Model):
        def flux(self, rows, parameters):
            return super().flux(rows, parameters).float()

        def linearize(self, rows, parameters):
            flux, jacobian = super().linearize(rows, parameters)
            return flux, jacobian.float()

    double = fit(decay, flux, ivar, start, bounds)
    single = fit(Single(decay), flux.float(), ivar.float(), start, bounds)
    errors = torch.diagonal(
        invert_normal_matrix(double.normal_matrix), dim1=1, dim2=2
    ).sqrt()
    assert single.converged.all()
    assert single.parameters.dtype == single.normal_matrix.dtype == torch.float64
    # chi2 within 1e-2 of its minimum: 0.1 sigma
    assert ((single.parameters - double.parameters).abs() / errors).max() < 0.1


class SinglyLinearized(Model):
    """Flux that comes with derivatives is rounded to single precision."""

    def linearize(self, rows, parameters):
        flux, jacobian = super().linearize(rows, parameters)
        return flux.float(), jacobian.float()


@pytest.mark.parametrize("snr", [10.0, 1e3, 1e5, 1e9])
def test_first_steps_in_single_precision_end_where_those_in_double_do(snr):
    truth = torch.tensor([[1.3, 1.1, 0.4]], dtype=torch.float64)
    flux, ivar = observe(decay, truth, seed=4, sigma=1 / snr)
    start, bounds = [0.5, 2.5, 0.9], [(-5, 5), (0, 5), (-2, 2)]
    double = fit(Model(decay), flux, ivar, start, bounds)
    single = fit(SinglyLinearized(decay), flux, ivar, start, bounds)
    assert double.converged.all()
    assert single.converged.all()
    np.testing.assert_allclose(single.chi2, double.chi2, atol=1e-5)
    error = torch.linalg.inv(double.normal_matrix[0]).diagonal().sqrt()
    off = (single.parameters - double.parameters)[0].abs() / error
    assert off.max() < 2e-3
    residual = flux - Model(decay).flux(None, single.parameters)
    torch.testing.assert_close(single.residual, residual, rtol=0, atol=1e-14)


def test_covariance_is_the_inverse_of_the_normal_matrix():
    rng = np.random.default_rng(6)
    jacobian = rng.normal(size=(7, 5, 31)) * 10.0 ** np.arange(-6, 4, 2)[:, None]
    normal = jacobian @ jacobian.transpose(0, 2, 1)
    covariance = invert_normal_matrix(torch.from_numpy(normal)).numpy()
    # units differ by eight orders of magnitude, so compare correlations
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    product = covariance @ normal * (error[:, None, :] / error[:, :, None])
    np.testing.assert_allclose(
        product, np.broadcast_to(np.eye(5), (7, 5, 5)), atol=1e-9
    )


def test_normal_matrix_is_that_of_the_solution():
    flux, ivar = observe(decay, torch.tensor([[1.0, 0.7, 0.2]], dtype=torch.float64))
    ours = fit(decay, flux, ivar, [0.7, 0.7, 0.1], [(-11.0, 11.0)] * 3)
    jacobian = torch.func.jacrev(decay)(ours.parameters[0])
    expected = jacobian.T @ (ivar[0][:, None] * jacobian)
    torch.testing.assert_close(ours.normal_matrix[0], expected)


@pytest.mark.parametrize(
    ("normal", "infinite"),
    [
        ([[4.0, 0.0], [0.0, 0.0]], [False, True]),
        ([[0.0, 0.0], [0.0, 0.0]], [True, True]),
        ([[1.0, 1.0], [1.0, 1.0]], [True, True]),
    ],
    ids=["one blind", "all blind", "singular"],
)
def test_variance_of_what_the_data_do_not_see_is_infinite(normal, infinite):
    covariance = invert_normal_matrix(torch.tensor([normal], dtype=torch.float64))
    variance = torch.diagonal(covariance[0])
    assert torch.isinf(variance).tolist() == infinite
    assert (variance > 0).all()


def test_caller_s_tensors_are_left_alone():
    flux, ivar = observe(decay, torch.tensor([[1.0, 0.7, 0.2]] * 3).double())
    start = torch.full((3, 3), 0.3, dtype=torch.float64)
    low, high = torch.zeros_like(start), torch.full_like(start, 7.0)
    given = [flux, ivar, start, low, high]
    before = [tensor.clone() for tensor in given]
    fit_least_squares(Model(decay), *given, max_iterations=11)
    for tensor, copy in zip(given, before, strict=True):
        torch.testing.assert_close(tensor, copy, rtol=0, atol=0)
