"""Blocks of stars to measure together, with their own pixels, arms and parameters.

On a CPU a block is one star: its result does not depend on other stars.
"""

from copy import copy
from functools import cached_property

import numpy as np

from sk_payne.abundances._broadening import reach_of_limits
from sk_payne.abundances._wavelengths import pixels_in_reach
from sk_payne.spectra import doppler_factor

__all__ = ["StarBlock", "kind_of", "typical_width"]

# Largest range in km/s of widths of an instrument that count as one width.
_SAME_WIDTH = 1e-9

# Pixels whose flux comes from farther away than this, in km/s, are never used.
_ANYWHERE = 1e5


class StarBlock:
    """Block of stars of a plan.

    Parameters
    ----------
    plan : FitPlan
        Plan of the fit of all stars.
    preparations : Preparations
        Objects that stars with the same pixels and instrument share.
    rows : ndarray of int
        Rows of the stars; all must be of one kind, see `kind_of`.

    Attributes
    ----------
    with_second : bool
        True if a second star is fitted in each spectrum.
    emulator : FittedEmulator
        The emulator, of the part of its wavelengths that the stars need.
    pixels : ndarray of int
        Indices of the pixels of the block, among those of all stars.
    columns : ndarray of int
        Indices of the parameters of the block, among those of the plan: absent arms
        have no offset.
    parameters : Parameters
        Parameters of the block.
    flux, ivar : ndarray of shape (n, P)
        Flux and inverse variances of the pixels.
    wavelength, arm : ndarray of shape (P,) or (n, P), or None
        Wavelengths in Å and arms of the pixels; numbers of arms with an offset start
        from 1.
    n_offsets : int
        Number of arms with an offset.
    constraints : Constraints
        Fixed values and priors of the parameters.
    broadening : Broadening or None
        Broadening of the model spectra.
    instrument : Instrument or None
        Sampling of model spectra at the pixels; None without wavelengths.
    starts, directions, scan
        First guesses, spectra that residuals of a wrong fit resemble, and the velocity
        scan (None without velocity), see :class:`Preparations`.
    """

    def __init__(self, plan, preparations, rows):
        self.plan, self.rows, self.with_second = plan, rows, False
        self.observation = plan.observation
        self.with_velocity = plan.with_velocity
        self.pixels = _own_pixels(plan, rows)
        present = np.arange(1, len(plan.offsets) + 1)
        self.arm = self._cut(plan.arm)
        if plan.offsets:
            present = _arms_of(plan, rows[0])
            # pixels of absent arms have no weight
            number = np.zeros(1 + len(plan.offsets), dtype=np.int64)
            number[present] = 1 + np.arange(len(present))
            absent = ~np.isin(np.atleast_2d(self.arm)[0], [0, *present])
            self.pixels = self.pixels[~absent]
            self.arm = number[self._cut(plan.arm)]
        self.n_offsets = len(present)
        self.flux, self.ivar = (
            np.ascontiguousarray(values[rows][:, self.pixels])
            for values in (plan.spectra.flux, plan.spectra.ivar)
        )
        self._choose(self._own_names(present))
        sigma, matrix = self._sigma(), self._matrix()
        is_one = np.ndim(sigma) == 0
        self.wavelength = None
        if plan.spectra.wavelength is not None or plan.is_off_grid(sigma, matrix):
            self.wavelength = self._cut(plan.wavelength)
        self.broadening = self.instrument = None
        if self.wavelength is not None:
            self.instrument = preparations.instrument(
                self.wavelength, None if is_one else sigma, matrix, self.arm
            )
        sigma = sigma if is_one else 0.0
        part = self._part(sigma)
        self.emulator = preparations.emulator(part)
        if self.emulator.wavelength is not None:
            self.broadening = preparations.broadening(sigma, part)
        prepared = preparations.prepared(rows[0], part)
        self.starts, self.directions, self.scan = prepared

    def __len__(self):
        return len(self.rows)

    @property
    def smear(self):
        """Largest distance in km/s from which broadening brings flux to a pixel."""
        smear = self.broadening.reach if self.broadening else 0.0
        if self.with_second:
            second = self.second_broadening
            smear = max(smear, second.reach if second else 0.0)
        return smear

    @cached_property
    def proposals(self):
        """Neural posteriors of the stars; None unless all stars have one."""
        if self.plan.start is None:
            return None
        found = []
        for star in range(len(self)):
            wavelength, arm = (
                values if values is None or values.ndim == 1 else values[star]
                for values in (self.wavelength, self.arm)
            )
            proposal = self.plan.start.propose(
                self.flux[star],
                self.ivar[star],
                wavelength,
                arm,
                width=typical_width(self.plan, self.rows[star]),
                parameters=self.parameters,
            )
            if proposal is None:
                return None
            found.append(proposal)
        return found

    @cached_property
    def second_broadening(self):
        """Broadening of the second star, created once for all fits."""
        return self.plan.second_star.broadening(self)

    @cached_property
    def doubled(self):
        """Block of the same stars, with a second star in each spectrum."""
        block = copy(self)
        block.with_second = True
        own = {
            *self.parameters.names,
            *self.plan.second_star.names(self.plan.parameters),
        }
        block._choose([n for n in self.plan.parameters.names if n in own])
        return block

    def _cut(self, values):
        """Select the pixels of the block, from one spectrum or those of all stars."""
        if values is None:
            return None
        if values.ndim == 1:
            return values[self.pixels]
        return np.ascontiguousarray(values[self.rows][:, self.pixels])

    def _own_names(self, present):
        """Return names of parameters, without those of absent arms and second star."""
        plan, absent = self.plan, set()
        for i in range(1, len(plan.offsets) + 1):
            if i not in present:
                absent.add(f"velocity_offset_{i}")
        if plan.second_star is not None:
            absent |= set(plan.second_star.names(plan.parameters))
        return [name for name in plan.parameters.names if name not in absent]

    def _choose(self, names):
        """Set the parameters of the block."""
        self.columns = self.plan.parameters.columns(names)
        self.parameters = self.plan.parameters.some(self.columns)
        self.constraints = self.plan.constraints.of(self.rows).only(self.columns)

    def _sigma(self):
        """Return the width of the instrument in km/s: one number, or one per pixel."""
        sigma = self.plan.sigma
        if np.ndim(sigma) == 0:
            return sigma
        one = _one_sigma(self.plan, self.rows[0])
        if one is not None:
            return one
        sigma = sigma[self.rows][:, self.pixels]
        # bad pixels get the median of good pixels
        typical = [typical_width(self.plan, row) for row in self.rows]
        return np.where(self.ivar > 0, sigma, np.array(typical)[:, None])

    def _part(self, sigma):
        """Return first and end of the pixels of the emulator that the stars need."""
        plan, every = self.plan, (0, self.plan.emulator.n_pixels)
        good = self.ivar > 0
        if self.wavelength is None or not good.any():
            return every
        wavelength = np.broadcast_to(self.wavelength, good.shape)[good]
        already = plan.emulator.resolving_power
        reach = reach_of_limits(plan.widths, sigma, already)
        if plan.second_star is not None:
            limits = plan.second_star.widths(plan)
            reach = max(reach, reach_of_limits(limits, sigma, already))
        widths = self.instrument.reach[self.instrument.reach < _ANYWHERE]
        reach = doppler_factor(reach + float(widths.max(initial=0.0)))
        slowest, fastest = map(doppler_factor, plan.velocities)
        return plan.emulator.pixels_of(
            wavelength.min() / (fastest * reach), wavelength.max() / slowest * reach
        )

    def _matrix(self):
        """Return rows of the resolution matrix without zeros at both ends, or None."""
        matrix = self.plan.matrix
        if matrix is None:
            return None
        matrix = matrix[self.rows][:, self.pixels]
        middle = matrix.shape[2] // 2
        used = np.flatnonzero(matrix.any(axis=(0, 1)))
        half = int(np.abs(used - middle).max(initial=0))
        matrix = matrix[:, :, middle - half : middle + half + 1]
        if half == 0 and (matrix == 1).all():
            return None
        return np.ascontiguousarray(matrix)


def kind_of(plan, row):
    """Return a key that is equal for stars that can be in one block.

    Parameters
    ----------
    plan : FitPlan
        Plan of the fit.
    row : int
        Row of the star.

    Returns
    -------
    kind : tuple
        Width of the instrument in km/s, None if it differs between pixels, and numbers
        of the arms.
    """
    sigma = plan.sigma if np.ndim(plan.sigma) == 0 else _one_sigma(plan, row)
    return sigma, tuple(_arms_of(plan, row)) if plan.offsets else ()


def typical_width(plan, row):
    """Compute the median width of the instrument of a star.

    Parameters
    ----------
    plan : FitPlan
        Plan of the fit.
    row : int
        Row of the star.

    Returns
    -------
    sigma : float
        Median standard deviation of the instrument over good pixels, in km/s, beyond
        that of the emulator.
    """
    if np.ndim(plan.sigma) == 0:
        return float(plan.sigma)
    sigma = _seen_sigma(plan, row)
    return float(np.median(sigma)) if len(sigma) else 0.0


def _own_pixels(plan, rows):
    """Return indices of pixels within reach of the emulator, without padding."""
    spectra = plan.spectra[rows]
    near = pixels_in_reach(plan.emulator, spectra, plan.velocities)
    every = np.arange(int(spectra.n_pixels.max(initial=0)))
    return every[near]


def _arms_of(plan, row):
    """Return numbers of the arms after the first with good pixels of a star."""
    arm = plan.arm if plan.arm.ndim == 1 else plan.arm[row]
    return [i for i in np.unique(arm[plan.spectra.ivar[row] > 0]) if i > 0]


def _seen_sigma(plan, row):
    return plan.sigma[row][plan.spectra.ivar[row] > 0]


def _one_sigma(plan, row):
    """Return the width of the instrument of a star; None if it differs by pixel."""
    sigma = _seen_sigma(plan, row)
    if not len(sigma):
        return 0.0
    return float(sigma.mean()) if np.ptp(sigma) < _SAME_WIDTH else None
