r"""Damped least squares of many stars at once, within bounds.

It is here, apart from any spectrum, as pure numerics: each star is a problem of its
own, and what happens to one does not touch the others.
"""

from dataclasses import dataclass

import torch

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
# All stars.
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

    def take_better(self, other, rows, margin):
        """Take over the stars that another fit brought to a clearly smaller chi2.

        Parameters
        ----------
        other : LeastSquaresFit
            Of the same stars; what did not converge is not taken.
        rows : Tensor of int
            Stars that it fitted; its steps are counted, too.
        margin : Tensor of shape (B,)
            By how much chi2 must be smaller.

        Returns
        -------
        taken : Tensor of int
            Those stars.
        """
        better = (other.converged & (other.chi2 < self.chi2 - margin))[rows]
        worse = rows[~better]
        self.n_iterations[worse] += other.n_iterations[worse]
        self.take(other, rows[better])
        return rows[better]


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
    start = start.clamp(low, high)
    state = _State(model, flux, ivar, start, low, high, prior, max_iterations)
    rows = _EVERY if rows is None or len(rows) == len(start) else rows
    state.put(rows, start[rows], *state.look(rows, start[rows]))
    state.linearize(rows)
    while state.count(rows):
        step, promised = state.step(rows)
        state.move(rows, step, promised)
        rows = _kept(rows, ~(state.converged[rows] | state.exhausted[rows]))
    return state.result()


def _kept(rows, keep):
    """Give the rows that are kept; every row stays a slice, whose parts are views."""
    if rows is not _EVERY:
        return rows[keep]
    return rows if keep.all() else torch.nonzero(keep)[:, 0]


class _State:
    """What is known of every star between two steps."""

    def __init__(self, model, flux, ivar, start, low, high, prior, max_iterations):
        n, n_parameters = start.shape
        like = {"dtype": torch.float64, "device": start.device}
        self.model, self.flux, self.ivar = model, flux, ivar
        self.low, self.high, self.prior = low, high, prior
        self.max_iterations = max_iterations
        self.tolerance = _TOLERANCE[flux.dtype]
        self.least_damping = _LEAST_DAMPING[flux.dtype]
        self.every = torch.arange(n, device=start.device)
        self.parameters = start.clone()
        self.residual = torch.zeros_like(flux)
        self.chi2 = torch.zeros(n, **like)
        self.normal = torch.zeros(n, n_parameters, n_parameters, **like)
        self.gradient = torch.zeros(n, n_parameters, **like)
        self.damping = torch.full((n,), _FIRST_DAMPING, **like)
        self.growth = torch.full((n,), 2.0, **like)
        self.n_iterations = torch.zeros(n, dtype=torch.int64, device=start.device)
        self.converged = torch.zeros(n, dtype=torch.bool, device=start.device)
        self.exhausted = self.converged.clone()
        self.searched = self.converged.clone()
        # derivatives at the last place, the step to this one, what they say of the
        # curvature that the normal matrix misses, and whether that is trusted
        self.jacobian = flux.new_zeros(n, n_parameters, flux.shape[1])
        self.last_step = torch.zeros(n, n_parameters, **like)
        self.missed = torch.zeros_like(self.normal)
        self.trusts = self.converged.clone()

    def result(self):
        """Give what was found."""
        return LeastSquaresFit(
            parameters=self.parameters,
            normal_matrix=self.normal,
            chi2=self.chi2,
            n_iterations=self.n_iterations,
            converged=self.converged,
            residual=self.residual,
            jacobian=self.jacobian,
        )

    def count(self, rows):
        """Give the number of some rows."""
        return len(self.every if rows is _EVERY else rows)

    def linearize(self, rows):
        """Compute gradient and normal matrix where the stars now are.

        In blocks that fit the cache of a CPU; derivatives at the place before, if any,
        tell about the curvature of the model.
        """
        numbers = self.low.shape[1] * self.flux.shape[1]
        n_together = max(1, _CACHE // max(numbers, 1))
        if self.flux.device.type != "cpu" or self.count(rows) <= n_together:
            blocks = [rows] if self.count(rows) else []
        else:
            blocks = self.every[rows].split(n_together)
        for block in blocks:
            _, jacobian = self.model.linearize(
                self.every[block], self.parameters[block]
            )
            jacobian = jacobian.to(self.flux)
            ivar, residual = self.ivar[block], self.residual[block]
            weighted = jacobian * ivar[:, None]
            gradient = _times(weighted, residual).double()
            normal = (weighted @ jacobian.mT).double()
            mean, weight = (part[block] for part in self.prior)
            total = gradient + weight * (mean - self.parameters[block])
            # with derivatives of the place before, at the residuals of this one
            old = _times(self.jacobian[block], ivar * residual).double()
            self.learn(block, total - self.gradient[block], gradient - old)
            self.jacobian[block] = jacobian
            self.gradient[block] = total
            normal.diagonal(dim1=1, dim2=2).add_(weight)
            self.normal[block] = normal

    def learn(self, rows, change, curved):
        """Learn from the last step what the normal matrix misses of the curvature.

        Parameters
        ----------
        rows : Tensor of int, or slice
            Stars; those that have made no step learn nothing.
        change : Tensor of shape (n, K)
            Change of the gradient.
        curved : Tensor of shape (n, K)
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
        product = (step * curved).sum(1).abs()
        present = (step * known).sum(1).abs()
        size = (product / present.clamp_min(1e-300)).clamp_max(1.0)[:, None]
        off = -curved - known * size
        length = length.clamp_min(1e-300)[:, None]
        along = along / length
        part = (off * step).sum(1)[:, None] / 2 * along
        outer = (off - part)[:, :, None] * along[:, None]
        missed = missed * size[:, :, None] + outer + outer.mT
        good &= torch.isfinite(missed.flatten(1).sum(1))
        usable = _kept(rows, good)
        self.missed[usable] = missed if usable is rows else missed[good]

    def step(self, rows):
        """Next step of the stars, and by how much chi2 should fall."""
        problem = (
            self.normal[rows],
            self.gradient[rows],
            self.parameters[rows],
            self.low[rows],
            self.high[rows],
        )
        step, promised = _damped_step(*problem, self.damping[rows])
        # damping may have made the step small, for instance along a valley: once at
        # every place, all dampings are tried anew from the least
        again = (promised < self.tolerance) & ~self.searched[rows]
        if again.any():
            some = _kept(rows, again)
            self.searched[some] = True
            self.damping[some] = self.least_damping
            self.growth[some] = 2.0
            step[again], promised[again] = _damped_step(
                *(part[again] for part in problem), self.damping[some]
            )
        return step, promised

    def improve(self, rows, step, promised):
        """Replace steps by those of the learned curvature where that was better."""
        trusts = self.trusts[rows]
        if not trusts.any():
            return step, promised
        some = _kept(rows, trusts)
        normal = self.normal[some]
        curved, hoped = _damped_step(
            normal + self.missed[some],
            self.gradient[some],
            self.parameters[some],
            self.low[some],
            self.high[some],
            self.damping[some],
            scale=_scale(normal),
        )
        # a matrix that is not positive makes steps uphill
        good = (hoped > 0) & torch.isfinite(curved.sum(1))
        which = torch.nonzero(trusts)[:, 0][good]
        step[which], promised[which] = curved[good], hoped[good]
        return step, promised

    def move(self, rows, step, promised):
        """Take steps that lower chi2; adapt the damping; see who has arrived."""
        arrived = (promised < self.tolerance) & (
            self.damping[rows] <= _BELIEVED_DAMPING
        )
        self.n_iterations[rows] += 1
        if arrived.any():
            self.converged[rows] = arrived
            rows, step, promised = (
                _kept(rows, ~arrived),
                step[~arrived],
                promised[~arrived],
            )
            if not len(step):
                return
        step, promised = self.improve(rows, step, promised)
        trial = self.parameters[rows] + step
        residual, chi2 = self.look(rows, trial)
        fall = self.chi2[rows] - chi2
        gain = fall / promised.clamp_min(1e-300)
        # no number is no gain
        accepted = (gain > 1e-4) & (chi2 < torch.inf)
        self._compare(rows, step, fall)
        self._adapt(rows, gain, accepted)
        if not accepted.any():
            return
        better = _kept(rows, accepted)
        if better is not rows:
            step, trial, residual, chi2 = (
                part[accepted] for part in (step, trial, residual, chi2)
            )
        self.last_step[better] = step
        self.put(better, trial, residual, chi2)
        self.searched[better] = False
        # also if it is exhausted: the normal matrix is that of where a star stops
        self.linearize(better)

    def _compare(self, rows, step, fall):
        """See which curvature foretold the fall of chi2 better."""
        plain = (step * _times(self.normal[rows], step)).sum(1)
        more = (step * _times(self.missed[rows], step)).sum(1)
        off = 2 * (step * self.gradient[rows]).sum(1) - plain - fall
        self.trusts[rows] = (off - more).abs() < off.abs()

    def look(self, rows, parameters):
        """Residuals and chi2 of stars at some parameters."""
        flux = self.model.flux(self.every[rows], parameters)
        residual = self.flux[rows] - flux
        penalty = prior_penalty(parameters, [part[rows] for part in self.prior])
        return residual, (residual.double() ** 2 * self.ivar[rows]).sum(1) + penalty

    def put(self, rows, parameters, residual, chi2):
        """Move stars."""
        self.parameters[rows] = parameters
        self.residual[rows] = residual
        self.chi2[rows] = chi2

    def _adapt(self, rows, gain, accepted):
        """Damp less after good steps, and more after bad ones."""
        growth, damping = self.growth[rows], self.damping[rows]
        less = (1 - (2 * gain - 1) ** 3).clamp(1 / 3, 2.0)
        damping = damping * torch.where(accepted, less, growth)
        self.damping[rows] = damping.clamp(self.least_damping, _LARGEST_DAMPING)
        self.growth[rows] = torch.where(accepted, 2.0, 2 * growth)
        self.exhausted[rows] = (self.n_iterations[rows] >= self.max_iterations) | (
            damping >= _LARGEST_DAMPING
        )


def _damped_step(normal, gradient, parameters, low, high, damping, scale=None):
    """Solve for the step within the bounds, and tell by how much chi2 should fall.

    A parameter that would cross its bound stops there, and the others are solved for
    again: a step that is merely cut would leave them where they made up for it.
    """
    fixed = ((parameters <= low) & (gradient <= 0)) | (
        (parameters >= high) & (gradient >= 0)
    )
    scale = _scale(normal) if scale is None else scale
    scaled = normal / (scale[:, :, None] * scale[:, None, :])
    slope = gradient / scale
    lowest, highest = (low - parameters) * scale, (high - parameters) * scale
    step = torch.zeros_like(slope)
    for _ in range(slope.shape[1]):
        step = _solve_free(scaled, slope, damping, step, ~fixed)
        crossing = ~fixed & ((step < lowest) | (step > highest))
        if not crossing.any():
            break
        step = torch.where(crossing, step.clamp(lowest, highest), step)
        fixed = fixed | crossing
    step = step.clamp(lowest, highest)
    promised = (step * (2 * slope - _times(scaled, step))).sum(1)
    return step / scale, promised


def _solve_free(scaled, slope, damping, step, free):
    """Solve for the free part of a step, the rest of which is given."""
    step = step.masked_fill(free, 0.0)
    right = (slope - _times(scaled, step)) * free
    matrix = scaled * (free[:, :, None] & free[:, None, :])
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    # a fixed parameter, or one without any effect, gets a row of the unit matrix
    diagonal += torch.where(diagonal > 0, damping[:, None] * diagonal, 1.0)
    solution, _ = torch.linalg.solve_ex(matrix, right[..., None])
    return torch.where(free, torch.nan_to_num(solution[..., 0]), step)


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
    scale = _scale(normal)
    scaled = normal / (scale[:, :, None] * scale[:, None, :])
    scaled = scaled + torch.diag_embed(blind.to(scaled))
    inverse, info = torch.linalg.inv_ex(scaled)
    covariance = inverse / (scale[:, :, None] * scale[:, None, :])
    variance = torch.diagonal(covariance, dim1=1, dim2=2)
    # rounding can make the inverse of a singular matrix negative
    lost = blind | (variance <= 0) | ~torch.isfinite(variance) | (info[:, None] != 0)
    variance.masked_fill_(lost, torch.inf)
    return covariance


def _scale(normal):
    diagonal = torch.diagonal(normal, dim1=1, dim2=2)
    return torch.where(diagonal > 0, diagonal.clamp_min(1e-300).sqrt(), 1.0)
