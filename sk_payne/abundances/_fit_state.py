"""State of least squares between two steps: damping, learned curvature, convergence.

Spectra are tensors of torch. Parameters and matrices are arrays of numpy on a CPU,
whose calls cost a fifth of those of torch, and tensors on an accelerator; the code of a
step is the same for both.
"""

import numpy as np
import torch

from sk_payne.abundances._damped_step import damped_step
from sk_payne.abundances._normal_matrix import parameter_scale, prior_penalty, times

__all__ = ["EVERY", "FitState"]

# Expected fall of chi2 below which a fit has converged: 1e-3 sigma, or 0.1 sigma in
# single precision, the rounding error of chi2.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2}
_FIRST_DAMPING = 1e-2
# Number of derivatives that are processed together: 32 MB in float64.
_CACHE = 2**22
_LARGEST_DAMPING = 1e10
# Relative error of flux in single precision, and the ratio of the expected fall of chi2
# to the resulting error of chi2 above which single precision can judge a step.
_SINGLE, _MUCH = 5e-7, 10.0
# Small steps do not show convergence if they are damped more than this.
_BELIEVED_DAMPING = 1e3
# Steps whose gain rounding hides are taken while their predicted fall of chi2 is below
# this fraction of that of the hidden step before, or of one.
_SHRINK = 0.5
# All stars, as a slice: indexing with it makes no copy.
EVERY = slice(None)
# Smallest damping: the step is the full one, unless rounding has made the normal matrix
# singular.
_LEAST_DAMPING = {torch.float64: 1e-12, torch.float32: 1e-6}


class FitState:
    """State of the least squares of every star between two steps.

    Parameters
    ----------
    model, flux, ivar, start, low, high, prior, max_iterations
        As in :func:`fit_least_squares`.
    """

    def __init__(self, model, flux, ivar, start, low, high, prior, max_iterations):
        self.model, self.flux, self.ivar = model, flux, ivar
        self.max_iterations = max_iterations
        self.tolerance = _TOLERANCE[flux.dtype]
        self.least_damping = _LEAST_DAMPING[flux.dtype]
        # parameters and matrices
        self.xp = np if flux.device.type == "cpu" else torch
        self.low, self.high, self.mean, self.weight = map(
            self.to_array, (low, high, *prior)
        )
        self.parameters = self.to_array(start).clip(self.low, self.high)
        n, n_parameters = start.shape
        zero = 0.0 * self.parameters
        self.all_rows = self.to_array(torch.arange(n, device=start.device))
        self.unit = self.to_array(start.new_ones(n_parameters).diag())
        self.chi2 = 0.0 * zero.sum(1)
        self.normal = zero[:, :, None] * zero[:, None]
        self.gradient, self.last_step = zero, zero + 0.0
        self.damping, self.growth = self.chi2 + _FIRST_DAMPING, self.chi2 + 2.0
        # predicted fall of chi2 of the last step whose gain rounding hid
        self.hidden = self.chi2 + 1.0
        self.n_iterations = 0 * self.all_rows
        self.converged = self.chi2 > 0
        self.exhausted, self.searched, self.trusts, self.is_rough = (
            self.converged | False for _ in range(4)
        )
        # square of the largest signal-to-noise ratio of a pixel
        self.signal = self.to_array((ivar * flux**2).amax(1).double())
        # curvature that the normal matrix misses, learned from steps
        self.missed = self.normal + 0.0
        # spectra: residuals, and derivatives at the present parameters
        self.residual = torch.zeros_like(flux)
        self.jacobian = flux.new_zeros(n, n_parameters, flux.shape[1])

    def to_array(self, tensor):
        """Convert parameters or matrices to an array of numpy on a CPU."""
        return tensor.numpy() if self.xp is np else tensor

    def to_tensor(self, array):
        """Convert an array to torch, in memory that is aligned for it."""
        return torch.tensor(array, device="cpu") if self.xp is np else array

    def expected_fall(self):
        """Fall of chi2 that a full step predicts, 0 for stars that have converged."""
        fall = 0.0 * self.chi2
        unfinished = ~self.converged
        if unfinished.any():
            rows = self.kept(EVERY, unfinished)
            self.damping[rows] = self.least_damping
            fall[rows] = self.solve(rows)[1]
        return fall

    def run(self, rows):
        """Fit some stars."""
        start, is_one = self.parameters[rows], len(self.all_rows[rows]) == 1
        residual, chi2, jacobian = self.evaluate(rows, start, rough=is_one)
        self.put(rows, start, residual, chi2)
        self.is_rough[rows] = is_one
        self.linearize(rows, jacobian)
        while len(self.all_rows[rows]):
            step, predicted = self.step(rows)
            error = self.rounding(rows)
            if error.any() and not self.is_trusted(rows, predicted, error):
                self.sharpen(rows)
                step, predicted = self.step(rows)
                error = self.rounding(rows)
            self.move(rows, step, predicted, error)
            rows = self.kept(rows, ~(self.converged[rows] | self.exhausted[rows]))

    def kept(self, rows, keep):
        """Select rows by a mask."""
        if keep.all():
            return rows
        return self.all_rows[rows][keep]

    def rounding(self, rows):
        """Bound the rounding errors of differences of chi2; 0 in full precision."""
        n_pixels, signal = self.flux.shape[1], self.signal[rows]
        error = 2 * _SINGLE * (self.chi2[rows] * signal) ** 0.5
        return self.is_rough[rows] * (error + n_pixels * _SINGLE**2 * signal)

    def is_trusted(self, rows, predicted, error):
        """Check whether the next step of one star can be taken in single precision.

        Either its gain is well above the rounding error of chi2, or the fit is so near
        to the minimum that predicted falls of chi2 shrink from step to step: they
        follow from gradients, which rounding hardly changes.
        """
        if (predicted > _MUCH * error).all():
            return True
        shrinks = (self.tolerance < predicted) & (error < 1)
        shrinks &= predicted < _SHRINK * self.hidden[rows]
        self.hidden[rows] = predicted
        return bool(shrinks.all())

    def sharpen(self, rows):
        """Compute residual, chi2 and gradient of one star again in full precision."""
        there = self.parameters[rows]
        self.put(rows, there, *self.evaluate(rows, there)[:2])
        self.is_rough[rows] = False
        weighted = self.jacobian[rows] * self.ivar[rows][:, None]
        gradient = self.to_array(times(weighted, self.residual[rows]).double())
        pull = self.weight[rows] * (self.mean[rows] - there)
        self.gradient[rows] = gradient + pull

    def linearize(self, rows, jacobian=None):
        """Compute gradients and normal matrices at the present parameters.

        Blocks of stars fit the cache of a CPU. The curvature of the model is learned
        from the change of derivatives. `jacobian` has derivatives at the present
        parameters if they are already computed.
        """
        n, n_together = (
            len(self.all_rows[rows]),
            max(1, _CACHE // self.jacobian[0].numel()),
        )
        if self.xp is np and n > n_together:
            parts = np.array_split(self.all_rows[rows], -(-n // n_together))
        else:
            parts = [rows] if n else []
        for block in parts:
            stars, parameters = self.all_rows[block], self.parameters[block]
            if jacobian is None or len(parts) > 1:
                there = self.to_tensor(stars), self.to_tensor(parameters)
                jacobian = self.model.linearize(*there)[1].to(self.flux)
            ivar, residual = self.ivar[block], self.residual[block]
            weighted = jacobian * ivar[:, None]
            gradient = self.to_array(times(weighted, residual).double())
            normal = self.to_array((weighted @ jacobian.mT).double())
            weight = self.weight[block]
            total = gradient + weight * (self.mean[block] - parameters)
            # gradient with old derivatives and new residuals
            old = self.to_array(times(self.jacobian[block], ivar * residual).double())
            self.learn(block, total - self.gradient[block], gradient - old)
            self.jacobian[block] = jacobian
            self.gradient[block] = total
            self.normal[block] = normal + weight[:, None] * self.unit

    def learn(self, rows, change, curved):
        """Learn curvature that the normal matrix misses from the last step.

        Parameters
        ----------
        rows : array of int, or slice
            Stars; nothing is learned for those without a step.
        change : array of shape (n, K)
            Change of the gradient.
        curved : array of shape (n, K)
            Part of it that is due to the change of derivatives.
        """
        step, missed = self.last_step[rows], self.missed[rows]
        along = -change
        length = (along * step).sum(1)
        good = length > 0
        if not good.any():
            return
        # update for a matrix that maps the step on the change; old parts shrink
        mapped = times(missed, step)
        product, present = abs((step * curved).sum(1)), abs((step * mapped).sum(1))
        size = (product / present.clip(min=1e-300)).clip(max=1.0)[:, None]
        off = -curved - mapped * size
        along = along / length.clip(min=1e-300)[:, None]
        part = (off * step).sum(1)[:, None] / 2 * along
        outer = (off - part)[:, :, None] * along[:, None]
        missed = missed * size[:, :, None] + outer + outer.mT
        good = good & self.xp.isfinite(missed.sum((1, 2)))
        self.missed[self.kept(rows, good)] = missed[good]

    def step(self, rows):
        """Compute the next step of stars, and the fall of chi2 that it predicts."""
        step, predicted = self.solve(rows)
        # damping may have made the step small, for instance along a valley: once at
        # each position, damping starts again from its smallest value
        again = (predicted < self.tolerance) & ~self.searched[rows]
        if again.any():
            some = self.kept(rows, again)
            self.searched[some] = True
            self.damping[some] = self.least_damping
            self.growth[some] = 2.0
            step[again], predicted[again] = self.solve(some)
        return step, predicted

    def solve(self, rows, *, curved=False):
        """Solve for the damped step, with the learned curvature if `curved`."""
        matrix = normal = self.normal[rows]
        if curved:
            matrix = normal + self.missed[rows]
        return damped_step(
            matrix,
            self.gradient[rows],
            self.parameters[rows],
            self.low[rows],
            self.high[rows],
            self.damping[rows],
            parameter_scale(normal, self.xp),
            self.unit,
            self.xp,
        )

    def improve(self, rows, step, predicted):
        """Replace steps by those of the learned curvature where it predicts better."""
        trusts = self.trusts[rows]
        if not trusts.any():
            return step, predicted
        curved, expected = self.solve(self.kept(rows, trusts), curved=True)
        # a matrix that is not positive definite may give steps uphill
        good = (expected > 0) & self.xp.isfinite(curved.sum(1))
        chosen = self.all_rows[: len(step)][trusts][good]
        step[chosen], predicted[chosen] = curved[good], expected[good]
        return step, predicted

    def move(self, rows, step, predicted, error):
        """Take steps that lower chi2, as far as rounding errors of chi2 tell.

        The damping is adapted, and converged stars are marked.
        """
        arrived = (predicted < self.tolerance) & (
            self.damping[rows] <= _BELIEVED_DAMPING
        )
        self.n_iterations[rows] += 1
        self.converged[rows] = arrived
        if arrived.all():
            return
        rows, step, predicted, error = (
            self.kept(rows, ~arrived),
            step[~arrived],
            predicted[~arrived],
            error[~arrived],
        )
        step, predicted = self.improve(rows, step, predicted)
        trial = self.parameters[rows] + step
        # most steps are good: compute derivatives together with flux
        rough = bool(self.is_rough[rows].all())
        residual, chi2, jacobian = self.evaluate(rows, trial, rough=rough)
        fall = self.chi2[rows] - chi2
        gain = fall / predicted.clip(min=1e-300)
        # NaN is no gain
        accepted = (fall > 1e-4 * predicted - error) & self.xp.isfinite(chi2)
        self.compare(rows, step, fall)
        self.adapt(rows, gain, accepted)
        if not accepted.any():
            return
        better = self.kept(rows, accepted)
        self.last_step[better] = step[accepted]
        if better is not rows:
            residual = residual[self.to_tensor(accepted)]
        self.put(better, trial[accepted], residual, chi2[accepted])
        self.searched[better] = False
        self.is_rough[better] &= rough
        # also for exhausted stars: results need the normal matrix at the last step
        self.linearize(better, jacobian)

    def compare(self, rows, step, fall):
        """Compare the fall of chi2 with the predictions of both curvatures."""
        plain = (step * times(self.normal[rows], step)).sum(1)
        more = (step * times(self.missed[rows], step)).sum(1)
        off = 2 * (step * self.gradient[rows]).sum(1) - plain - fall
        self.trusts[rows] = abs(off - more) < abs(off)

    def evaluate(self, rows, parameters, *, rough=False):
        """Compute residuals and chi2 of stars, and derivatives or None.

        If `rough`, flux and derivatives are computed together, in single precision.
        """
        there, jacobian = (
            (self.to_tensor(self.all_rows[rows]), self.to_tensor(parameters)),
            None,
        )
        if rough:
            flux, jacobian = (a.to(self.flux) for a in self.model.linearize(*there))
        else:
            flux = self.model.flux(*there)
        residual = self.flux[rows] - flux
        chi2 = self.to_array((residual.double() ** 2 * self.ivar[rows]).sum(1))
        prior = self.mean[rows], self.weight[rows]
        return residual, chi2 + prior_penalty(parameters, prior), jacobian

    def put(self, rows, parameters, residual, chi2):
        """Set parameters, residuals and chi2 of stars."""
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
