"""State of least squares between two steps: damping, learned curvature, convergence.

Arrays as large as a spectrum are in torch. Those as large as the parameters are in
numpy on a CPU, whose calls cost a fifth, and in torch on an accelerator: the code of a
step is one for both.
"""

import numpy as np
import torch

from sk_payne.abundances._damped_step import damped_step
from sk_payne.abundances._normal_matrix import parameter_scale, prior_penalty, times

__all__ = ["EVERY", "FitState"]

# Expected fall of chi2 below which a step is no longer worth taking, 1e-3 sigma; in
# single precision chi2 itself is not known better than 0.1 sigma.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2}
_FIRST_DAMPING = 1e-2
# Derivatives that are worked on together, in numbers: 32 MB in float64.
_CACHE = 2**22
_LARGEST_DAMPING = 1e10
# Relative error of flux in single precision. It tells whether a step is good if chi2
# should fall by more than so many times the error that it makes in chi2.
_SINGLE, _MUCH = 5e-7, 10.0
# Steps that had to be damped more than this say nothing about the way to go.
_BELIEVED_DAMPING = 1e3
# All stars: a slice of an array is a view.
EVERY = slice(None)
# So little that the step is the full one, unless rounding has made the normal matrix
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
        self.exhausted, self.searched, self.trusts, self.is_rough = (
            self.converged | False for _ in range(4)
        )
        # square of the largest signal-to-noise ratio of a pixel
        self.signal = self.own((ivar * flux**2).amax(1).double())
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

    def expected_fall(self):
        """Fall of chi2 that a full step promises, 0 for stars that have converged."""
        fall = 0.0 * self.chi2
        left = ~self.converged
        if left.any():
            rows = self.kept(EVERY, left)
            self.damping[rows] = self.least_damping
            fall[rows] = self.solve(rows)[1]
        return fall

    def run(self, rows):
        """Fit some stars."""
        start, is_one = self.parameters[rows], len(self.every[rows]) == 1
        residual, chi2, jacobian = self.look(rows, start, rough=is_one)
        self.put(rows, start, residual, chi2)
        self.is_rough[rows] = is_one
        self.linearize(rows, jacobian)
        while len(self.every[rows]):
            step, promised = self.step(rows)
            if self.is_rough[rows].any() and not self.is_clear(rows, promised):
                self.sharpen(rows)
                step, promised = self.step(rows)
            self.move(rows, step, promised)
            rows = self.kept(rows, ~(self.converged[rows] | self.exhausted[rows]))

    def kept(self, rows, keep):
        """Give those of some rows that are kept."""
        if keep.all():
            return rows
        return self.every[rows][keep]

    def is_clear(self, rows, promised):
        """Whether single precision tells if the next step of one star is good."""
        n_pixels = self.flux.shape[1]
        error = 2 * _SINGLE * (self.chi2[rows] * self.signal[rows]) ** 0.5
        error = error + n_pixels * _SINGLE**2 * self.signal[rows]
        return bool((promised > _MUCH * error).all())

    def sharpen(self, rows):
        """Repeat in full precision what is known of one star in single precision."""
        there = self.parameters[rows]
        self.put(rows, there, *self.look(rows, there)[:2])
        self.is_rough[rows] = False
        weighted = self.jacobian[rows] * self.ivar[rows][:, None]
        gradient = self.own(times(weighted, self.residual[rows]).double())
        pull = self.weight[rows] * (self.mean[rows] - there)
        self.gradient[rows] = gradient + pull

    def linearize(self, rows, jacobian=None):
        """Compute gradient and normal matrix where the stars now are.

        In blocks that fit the cache of a CPU; derivatives at the place before, if any,
        tell about the curvature of the model. Those of one star may be known.
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
            if jacobian is None or len(parts) > 1:
                there = self.lend(every), self.lend(parameters)
                jacobian = self.model.linearize(*there)[1].to(self.flux)
            ivar, residual = self.ivar[block], self.residual[block]
            weighted = jacobian * ivar[:, None]
            gradient = self.own(times(weighted, residual).double())
            normal = self.own((weighted @ jacobian.mT).double())
            weight = self.weight[block]
            total = gradient + weight * (self.mean[block] - parameters)
            # with derivatives of the place before, at the residuals of this one
            old = self.own(times(self.jacobian[block], ivar * residual).double())
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
        known = times(missed, step)
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
        step, promised = self.solve(rows)
        # damping may have made the step small, for instance along a valley: once at
        # every place, all dampings are tried anew from the least
        again = (promised < self.tolerance) & ~self.searched[rows]
        if again.any():
            some = self.kept(rows, again)
            self.searched[some] = True
            self.damping[some] = self.least_damping
            self.growth[some] = 2.0
            step[again], promised[again] = self.solve(some)
        return step, promised

    def solve(self, rows, *, curved=False):
        """Step of stars with their damping, perhaps with what was learned."""
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

    def improve(self, rows, step, promised):
        """Replace steps by those of the learned curvature where that was better."""
        trusts = self.trusts[rows]
        if not trusts.any():
            return step, promised
        curved, hoped = self.solve(self.kept(rows, trusts), curved=True)
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
        # derivatives are worth computing at once where the step is likely a good one
        rough = bool(self.is_rough[rows].all() and (self.growth[rows] == 2).all())
        residual, chi2, jacobian = self.look(rows, trial, rough=rough)
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
        self.is_rough[better] &= rough
        # also if it is exhausted: the normal matrix is that of where a star stops
        self.linearize(better, jacobian)

    def compare(self, rows, step, fall):
        """See which curvature foretold the fall of chi2 better."""
        plain = (step * times(self.normal[rows], step)).sum(1)
        more = (step * times(self.missed[rows], step)).sum(1)
        off = 2 * (step * self.gradient[rows]).sum(1) - plain - fall
        self.trusts[rows] = abs(off - more) < abs(off)

    def look(self, rows, parameters, *, rough=False):
        """Residuals and chi2 of stars at some parameters, and derivatives or None.

        A rough look takes the flux that comes with derivatives, in single precision.
        """
        there, jacobian = (self.lend(self.every[rows]), self.lend(parameters)), None
        if rough:
            flux, jacobian = (a.to(self.flux) for a in self.model.linearize(*there))
        else:
            flux = self.model.flux(*there)
        residual = self.flux[rows] - flux
        chi2 = self.own((residual.double() ** 2 * self.ivar[rows]).sum(1))
        prior = self.mean[rows], self.weight[rows]
        return residual, chi2 + prior_penalty(parameters, prior), jacobian

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
