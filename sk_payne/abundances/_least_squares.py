r"""Damped least squares of many stars at once, within bounds.

It is here, apart from any spectrum, as pure numerics: each star is a problem of its
own, and what happens to one does not touch the others.

What is as large as a spectrum is in torch. What is as large as the parameters is in
numpy on a CPU, whose calls cost a fifth, and in torch on an accelerator: the code of a
step is one for both.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg.lapack import dgesv

__all__ = [
    "LeastSquaresFit",
    "fit_least_squares",
    "invert_normal_matrix",
    "prior_penalty",
]

# Expected fall of chi2 below which a step is no longer worth taking, 1e-3 sigma; in
# single precision chi2 itself is not known better than 0.1 sigma.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2}
_FIRST_DAMPING = 1e-2
# Derivatives that are worked on together, in numbers: 32 MB in float64.
_CACHE = 2**22
_LARGEST_DAMPING = 1e10
# Steps that had to be damped more than this say nothing about the way to go.
_BELIEVED_DAMPING = 1e3
# All stars: a slice of an array is a view.
_EVERY = slice(None)
# So little that the step is the full one, unless rounding has made the normal matrix
# singular.
_LEAST_DAMPING = {torch.float64: 1e-12, torch.float32: 1e-6}


@dataclass
class LeastSquaresFit:
    """Solutions of all stars.

    Attributes
    ----------
    parameters : Tensor of shape (B, K)
        Where chi2 is smallest.
    normal_matrix : Tensor of shape (B, K, K)
        J W J^T there, and priors; its inverse is the covariance.
    chi2 : Tensor of shape (B,)
        Sum of squared residuals over variances, those from priors included.
    n_iterations : Tensor of shape (B,), int64
        Steps tried.
    converged : Tensor of shape (B,), bool
        Whether no step that could be taken would lower chi2 by more than 1e-6 (1e-2
        in float32), the undamped one included.
    expected_fall : Tensor of shape (B,)
        Fall of chi2 that a full step from there promises.
    residual : Tensor of shape (B, P)
        Flux that is left there.
    jacobian : Tensor of shape (B, K, P)
        Derivatives there.
    """

    parameters: torch.Tensor
    normal_matrix: torch.Tensor
    chi2: torch.Tensor
    n_iterations: torch.Tensor
    converged: torch.Tensor
    expected_fall: torch.Tensor
    residual: torch.Tensor
    jacobian: torch.Tensor

    def take(self, other, rows):
        """Take over what another fit made of stars; its steps are counted, too.

        Parameters
        ----------
        other : LeastSquaresFit
            Of the same stars.
        rows : Tensor of int
            Which of them.
        """
        other.n_iterations[rows] += self.n_iterations[rows]
        for name, values in vars(self).items():
            values[rows] = getattr(other, name)[rows]

    def take_some(self, other, rows, better):
        """Take over some of the stars of another fit; steps of all are counted.

        Parameters
        ----------
        other : LeastSquaresFit
            Fit of the same stars.
        rows : Tensor of int
            Stars that it fitted.
        better : Tensor of bool
            Which of them to take over.
        """
        worse = rows[~better]
        self.n_iterations[worse] += other.n_iterations[worse]
        self.take(other, rows[better])


@torch.no_grad()
def fit_least_squares(
    model, flux, ivar, start, low, high, *, max_iterations, prior=None, rows=None
):
    """Fit a model to many spectra by a bounded Levenberg-Marquardt method.

    Steps are damped by the diagonal of the normal matrix [1]_, the damping follows
    the gain of each step [2]_, steps are projected on the bounds, and parameters held
    at a bound by the gradient are left out of the step. What the normal matrix misses
    of the curvature of chi2 is learned from how the gradient changes, and used where
    it foretells chi2 better [3]_: where residuals are large or the model is strongly
    curved, that saves a third of the steps.

    Parameters
    ----------
    model : object
        ``model.flux(rows, parameters)`` gives flux (n, P) of the stars `rows`, and
        ``model.linearize(rows, parameters)`` also its derivatives (n, K, P).
    flux, ivar : Tensor of shape (B, P)
        Observations and inverse variances, 0 for pixels to ignore.
    start : Tensor of shape (B, K), float64
        First guess.
    low, high : Tensor of shape (B, K), float64
        Bounds.
    max_iterations : int
        Steps tried at most.
    prior : tuple of Tensor of shape (B, K), float64, default=None
        Means and inverse variances of parameters, 0 for those without a prior.
    rows : Tensor of int, default=None
        Stars to fit, if not all.

    Returns
    -------
    fit : LeastSquaresFit
        Float64, whatever the precision of the model; where they started for stars
        that are not fitted.

    References
    ----------
    .. [1] Marquardt, SIAM J. Appl. Math. 11, 431, 1963.
    .. [2] Nielsen, "Damping parameter in Marquardt's method", IMM-REP-1999-05.
    .. [3] Dennis, Gay & Welsch, "An adaptive nonlinear least-squares algorithm", ACM
       Trans. Math. Softw. 7, 348, 1981.
    """
    if prior is None:
        prior = torch.zeros_like(start), torch.zeros_like(start)
    state = _State(model, flux, ivar, start, low, high, prior, max_iterations)
    some = _EVERY
    if rows is not None and len(rows) < len(start):
        some = state.own(rows)
    with np.errstate(all="ignore"):
        state.run(some)
    return state.result()


class _State:
    """What is known of every star between two steps."""

    def __init__(self, model, flux, ivar, start, low, high, prior, max_iterations):
        self.model, self.flux, self.ivar = model, flux, ivar
        self.max_iterations = max_iterations
        self.tolerance = _TOLERANCE[flux.dtype]
        self.least_damping = _LEAST_DAMPING[flux.dtype]
        # as large as the parameters
        self.xp = np if flux.device.type == "cpu" else torch
        self.low, self.high, self.mean, self.weight = map(self.own, (low, high, *prior))
        self.parameters = self.own(start).clip(self.low, self.high)
        n, n_parameters = start.shape
        zero = 0.0 * self.parameters
        self.every = self.own(torch.arange(n, device=start.device))
        self.unit = self.own(start.new_ones(n_parameters).diag())
        self.chi2 = 0.0 * zero.sum(1)
        self.normal = zero[:, :, None] * zero[:, None]
        self.gradient, self.last_step = zero, zero + 0.0
        self.damping, self.growth = self.chi2 + _FIRST_DAMPING, self.chi2 + 2.0
        self.n_iterations = 0 * self.every
        self.converged = self.chi2 > 0
        self.exhausted, self.searched, self.trusts = (
            self.converged | False for _ in range(3)
        )
        # what steps say of the curvature that the normal matrix misses
        self.missed = self.normal + 0.0
        # as large as spectra: what is left, and derivatives at the last place
        self.residual = torch.zeros_like(flux)
        self.jacobian = flux.new_zeros(n, n_parameters, flux.shape[1])

    def own(self, tensor):
        """Bring what is as large as the parameters where steps are computed."""
        return tensor.numpy() if self.xp is np else tensor

    def lend(self, array):
        """Bring it where spectra are, in memory that begins where torch likes it."""
        return torch.tensor(array, device="cpu") if self.xp is np else array

    def result(self):
        """Give what was found."""
        return LeastSquaresFit(
            parameters=self.lend(self.parameters),
            normal_matrix=self.lend(self.normal),
            chi2=self.lend(self.chi2),
            n_iterations=self.lend(self.n_iterations),
            converged=self.lend(self.converged),
            expected_fall=self.lend(self.expected_fall()),
            residual=self.residual,
            jacobian=self.jacobian,
        )

    def expected_fall(self):
        """Fall of chi2 that a full step promises, 0 for stars that have converged."""
        fall = 0.0 * self.chi2
        left = ~self.converged
        if left.any():
            rows = self.kept(_EVERY, left)
            self.damping[rows] = self.least_damping
            fall[rows] = self.damped_step(rows)[1]
        return fall

    def run(self, rows):
        """Fit some stars."""
        start = self.parameters[rows]
        self.put(rows, start, *self.look(rows, start))
        self.linearize(rows)
        while len(self.every[rows]):
            step, promised = self.step(rows)
            self.move(rows, step, promised)
            rows = self.kept(rows, ~(self.converged[rows] | self.exhausted[rows]))

    def kept(self, rows, keep):
        """Give those of some rows that are kept."""
        if keep.all():
            return rows
        return self.every[rows][keep]

    def linearize(self, rows):
        """Compute gradient and normal matrix where the stars now are.

        In blocks that fit the cache of a CPU; derivatives at the place before, if any,
        tell about the curvature of the model.
        """
        n, n_together = (
            len(self.every[rows]),
            max(1, _CACHE // self.jacobian[0].numel()),
        )
        if self.xp is np and n > n_together:
            parts = np.array_split(self.every[rows], -(-n // n_together))
        else:
            parts = [rows] if n else []
        for block in parts:
            every, parameters = self.every[block], self.parameters[block]
            _, jacobian = self.model.linearize(self.lend(every), self.lend(parameters))
            jacobian = jacobian.to(self.flux)
            ivar, residual = self.ivar[block], self.residual[block]
            weighted = jacobian * ivar[:, None]
            gradient = self.own(_times(weighted, residual).double())
            normal = self.own((weighted @ jacobian.mT).double())
            weight = self.weight[block]
            total = gradient + weight * (self.mean[block] - parameters)
            # with derivatives of the place before, at the residuals of this one
            old = self.own(_times(self.jacobian[block], ivar * residual).double())
            self.learn(block, total - self.gradient[block], gradient - old)
            self.jacobian[block] = jacobian
            self.gradient[block] = total
            self.normal[block] = normal + weight[:, None] * self.unit

    def learn(self, rows, change, curved):
        """Learn from the last step what the normal matrix misses of the curvature.

        Parameters
        ----------
        rows : array of int, or slice
            Stars; those that have made no step learn nothing.
        change : array of shape (n, K)
            Change of the gradient.
        curved : array of shape (n, K)
            The part of it that is due to derivatives having changed.
        """
        step, missed = self.last_step[rows], self.missed[rows]
        along = -change
        length = (along * step).sum(1)
        good = length > 0
        if not good.any():
            return
        # a matrix that maps the step on what was seen; sized, as it grows old
        known = _times(missed, step)
        product, present = abs((step * curved).sum(1)), abs((step * known).sum(1))
        size = (product / present.clip(min=1e-300)).clip(max=1.0)[:, None]
        off = -curved - known * size
        along = along / length.clip(min=1e-300)[:, None]
        part = (off * step).sum(1)[:, None] / 2 * along
        outer = (off - part)[:, :, None] * along[:, None]
        missed = missed * size[:, :, None] + outer + outer.mT
        good = good & self.xp.isfinite(missed.sum((1, 2)))
        self.missed[self.kept(rows, good)] = missed[good]

    def step(self, rows):
        """Next step of the stars, and by how much chi2 should fall."""
        step, promised = self.damped_step(rows)
        # damping may have made the step small, for instance along a valley: once at
        # every place, all dampings are tried anew from the least
        again = (promised < self.tolerance) & ~self.searched[rows]
        if again.any():
            some = self.kept(rows, again)
            self.searched[some] = True
            self.damping[some] = self.least_damping
            self.growth[some] = 2.0
            step[again], promised[again] = self.damped_step(some)
        return step, promised

    def damped_step(self, rows, *, curved=False):
        """Step of stars with their damping, perhaps with what was learned."""
        matrix = normal = self.normal[rows]
        if curved:
            matrix = normal + self.missed[rows]
        return _damped_step(
            matrix,
            self.gradient[rows],
            self.parameters[rows],
            self.low[rows],
            self.high[rows],
            self.damping[rows],
            _scale(normal, self.xp),
            self.unit,
            self.xp,
        )

    def improve(self, rows, step, promised):
        """Replace steps by those of the learned curvature where that was better."""
        trusts = self.trusts[rows]
        if not trusts.any():
            return step, promised
        curved, hoped = self.damped_step(self.kept(rows, trusts), curved=True)
        # a matrix that is not positive makes steps uphill
        good = (hoped > 0) & self.xp.isfinite(curved.sum(1))
        which = self.every[: len(step)][trusts][good]
        step[which], promised[which] = curved[good], hoped[good]
        return step, promised

    def move(self, rows, step, promised):
        """Take steps that lower chi2; adapt the damping; see who has arrived."""
        arrived = (promised < self.tolerance) & (
            self.damping[rows] <= _BELIEVED_DAMPING
        )
        self.n_iterations[rows] += 1
        self.converged[rows] = arrived
        if arrived.all():
            return
        rows, step, promised = (
            self.kept(rows, ~arrived),
            step[~arrived],
            promised[~arrived],
        )
        step, promised = self.improve(rows, step, promised)
        trial = self.parameters[rows] + step
        residual, chi2 = self.look(rows, trial)
        fall = self.chi2[rows] - chi2
        gain = fall / promised.clip(min=1e-300)
        # what is no number is no gain
        accepted = (gain > 1e-4) & self.xp.isfinite(chi2)
        self.compare(rows, step, fall)
        self.adapt(rows, gain, accepted)
        if not accepted.any():
            return
        better = self.kept(rows, accepted)
        self.last_step[better] = step[accepted]
        if better is not rows:
            residual = residual[self.lend(accepted)]
        self.put(better, trial[accepted], residual, chi2[accepted])
        self.searched[better] = False
        # also if it is exhausted: the normal matrix is that of where a star stops
        self.linearize(better)

    def compare(self, rows, step, fall):
        """See which curvature foretold the fall of chi2 better."""
        plain = (step * _times(self.normal[rows], step)).sum(1)
        more = (step * _times(self.missed[rows], step)).sum(1)
        off = 2 * (step * self.gradient[rows]).sum(1) - plain - fall
        self.trusts[rows] = abs(off - more) < abs(off)

    def look(self, rows, parameters):
        """Residuals and chi2 of stars at some parameters."""
        flux = self.model.flux(self.lend(self.every[rows]), self.lend(parameters))
        residual = self.flux[rows] - flux
        chi2 = self.own((residual.double() ** 2 * self.ivar[rows]).sum(1))
        prior = self.mean[rows], self.weight[rows]
        return residual, chi2 + prior_penalty(parameters, prior)

    def put(self, rows, parameters, residual, chi2):
        """Move stars."""
        self.parameters[rows] = parameters
        self.residual[rows] = residual
        self.chi2[rows] = chi2

    def adapt(self, rows, gain, accepted):
        """Damp less after good steps, and more after bad ones."""
        growth, damping = self.growth[rows], self.damping[rows]
        x = 2 * gain - 1
        less = (1 - x * x * x).clip(1 / 3, 2.0)
        damping = damping * self.xp.where(accepted, less, growth)
        self.growth[rows] = self.xp.where(accepted, 2.0, 2 * growth)
        self.damping[rows] = damping.clip(self.least_damping, _LARGEST_DAMPING)
        self.exhausted[rows] = (self.n_iterations[rows] >= self.max_iterations) | (
            damping >= _LARGEST_DAMPING
        )


def _damped_step(normal, gradient, parameters, low, high, damping, scale, unit, xp):
    """Solve for the step within the bounds, and tell by how much chi2 should fall.

    A parameter that would cross its bound stops there, and the others are solved for
    again: a step that is merely cut would leave them where they made up for it.
    """
    fixed = ((parameters <= low) & (gradient <= 0)) | (
        (parameters >= high) & (gradient >= 0)
    )
    scaled = normal / (scale[:, :, None] * scale[:, None, :])
    slope = gradient / scale
    lowest, highest = (low - parameters) * scale, (high - parameters) * scale
    step = 0.0 * slope
    for _ in range(slope.shape[1]):
        step = _solve_free(scaled, slope, damping, step, ~fixed, unit, xp)
        crossing = ~fixed & ((step < lowest) | (step > highest))
        if not crossing.any():
            break
        step = xp.where(crossing, step.clip(lowest, highest), step)
        fixed = fixed | crossing
    step = step.clip(lowest, highest)
    promised = (step * (2 * slope - _times(scaled, step))).sum(1)
    return step / scale, promised


def _solve_free(scaled, slope, damping, step, free, unit, xp):
    """Solve for the free part of a step, the rest of which is given."""
    step = xp.where(free, 0.0, step)
    right = (slope - _times(scaled, step)) * free
    matrix = scaled * (free[:, :, None] & free[:, None, :])
    diagonal = matrix.diagonal(0, 1, 2)
    # a fixed parameter, or one without any effect, gets a row of the unit matrix
    filling = xp.where(diagonal > 0, damping[:, None] * diagonal, 1.0)
    solution = _solve(matrix + filling[:, None] * unit, right)
    return xp.where(free, xp.where(xp.isfinite(solution), solution, 0.0), step)


def _solve(matrix, right):
    """Solve systems of equations, with anything for those that are singular."""
    if isinstance(matrix, torch.Tensor):
        return torch.linalg.solve_ex(matrix, right[..., None])[0][..., 0]
    pairs = zip(matrix, right, strict=True)
    return np.array([dgesv(m, r)[2] for m, r in pairs]).reshape(right.shape)


def _times(matrix, vector):
    """Products of matrices (n, K, P) with vectors (n, P)."""
    return (matrix @ vector[..., None])[..., 0]


def prior_penalty(parameters, prior):
    """Give what Gaussian priors add to chi2.

    Parameters
    ----------
    parameters : Tensor of shape (B, K)
        Of stars.
    prior : sequence of two Tensor of shape (B, K)
        Means and inverse variances.

    Returns
    -------
    penalty : Tensor of shape (B,)
        Sum of squared deviations over variances.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.abundances._least_squares import prior_penalty
    >>> prior_penalty(torch.tensor([[3.0]]), (torch.ones(1, 1), torch.ones(1, 1)))
    tensor([4.])
    """
    mean, weight = prior
    return (weight * (parameters - mean) ** 2).sum(1)


def invert_normal_matrix(normal):
    """Covariance of parameters, infinite for those the data do not see.

    Parameters
    ----------
    normal : Tensor of shape (B, K, K), float64
        J W J^T.

    Returns
    -------
    covariance : Tensor of shape (B, K, K)
        Its inverse.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.abundances._least_squares import invert_normal_matrix
    >>> normal = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    >>> invert_normal_matrix(normal)
    tensor([[[0.2500, 0.0000],
             [0.0000,    inf]]], dtype=torch.float64)
    """
    blind = torch.diagonal(normal, dim1=1, dim2=2) <= 0
    scale = _scale(normal, torch)
    scaled = normal / (scale[:, :, None] * scale[:, None, :])
    scaled = scaled + torch.diag_embed(blind.to(scaled))
    inverse, info = torch.linalg.inv_ex(scaled)
    covariance = inverse / (scale[:, :, None] * scale[:, None, :])
    variance = torch.diagonal(covariance, dim1=1, dim2=2)
    # rounding can make the inverse of a singular matrix negative
    lost = blind | (variance <= 0) | ~torch.isfinite(variance) | (info[:, None] != 0)
    variance.masked_fill_(lost, torch.inf)
    return covariance


def _scale(normal, xp):
    diagonal = normal.diagonal(0, 1, 2)
    return xp.where(diagonal > 0, xp.sqrt(diagonal.clip(min=1e-300)), 1.0)
