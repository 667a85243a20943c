"""Stars that are measured together, cut to their own pixels, arms and parameters.

On a CPU a block is one star, so that its numbers follow from the star alone.
"""

from copy import copy
from functools import cached_property

import numpy as np

from sk_payne.abundances._wavelengths import pixels_in_reach

__all__ = ["StarBlock", "kind_of", "typical_width"]

# Pixels whose widths of the instrument differ by less than this share one, in km/s.
_ALIKE = 1e-9


class StarBlock:
    """Some stars of a plan.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit of all stars.
    preparations : Preparations
        What is prepared once for stars that are observed alike.
    rows : ndarray of int
        Rows of the stars. Several must be of one kind, see `kind_of`.

    Attributes
    ----------
    with_second : bool
        Whether a second star is fitted in each spectrum.
    pixels : ndarray of int
        Own pixels, among those of all stars.
    columns : ndarray of int
        Own parameters, among those of the plan: arms that are absent have no offset.
    parameters : Parameters
        These parameters.
    flux, ivar : ndarray of shape (n, P)
        Flux and inverse variance of the own pixels.
    wavelength, arm : ndarray of shape (P,) or (n, P), or None
        Wavelength and arm of the own pixels; arms with an offset count from 1.
    n_offsets : int
        Number of arms with an offset.
    constraints : Constraints
        Fixed values and priors of the own parameters.
    broadening : Broadening or None
        Broadening of the model spectra.
    instrument : Instrument or None
        How pixels see them; None without wavelengths.
    starts, directions, scan
        First guesses, spectra that residuals of a wrong fit resemble, and the velocity
        scan (None without velocity), see :class:`Preparations`.
    """

    def __init__(self, plan, preparations, rows):
        self.plan, self.rows, self.with_second = plan, rows, False
        self.emulator, self.observation = plan.emulator, plan.observation
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
        if self.emulator.wavelength is not None:
            self.broadening = preparations.broadening(sigma if is_one else 0.0)
        if self.wavelength is not None:
            self.instrument = preparations.instrument(
                self.wavelength, None if is_one else sigma, matrix, self.arm
            )
        self.starts, self.directions, self.scan = preparations.prepared(rows[0])

    def __len__(self):
        return len(self.rows)

    @property
    def smear(self):
        """Velocity in km/s from which broadening brings flux to a pixel."""
        smear = self.broadening.reach if self.broadening else 0.0
        if self.with_second:
            second = self.second_broadening
            smear = max(smear, second.reach if second else 0.0)
        return smear

    @cached_property
    def proposals(self):
        """What a neural posterior says of the stars; None if it knows not all."""
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
        """Broadening of the second star, made once for all of its fits."""
        return self.plan.second_star.broadening(self)

    @cached_property
    def doubled(self):
        """The same stars with a second one in each spectrum."""
        block = copy(self)
        block.with_second = True
        own = {
            *self.parameters.names,
            *self.plan.second_star.names(self.plan.parameters),
        }
        block._choose([n for n in self.plan.parameters.names if n in own])
        return block

    def _cut(self, values):
        """Own pixels of values of all stars, or of each."""
        if values is None:
            return None
        if values.ndim == 1:
            return values[self.pixels]
        return np.ascontiguousarray(values[self.rows][:, self.pixels])

    def _own_names(self, present):
        """Names of all parameters but offsets of absent arms and a second star."""
        plan, absent = self.plan, set()
        for i in range(1, len(plan.offsets) + 1):
            if i not in present:
                absent.add(f"velocity_offset_{i}")
        if plan.second_star is not None:
            absent |= set(plan.second_star.names(plan.parameters))
        return [name for name in plan.parameters.names if name not in absent]

    def _choose(self, names):
        """Choose the own parameters."""
        self.columns = self.plan.parameters.columns(names)
        self.parameters = self.plan.parameters.some(self.columns)
        self.constraints = self.plan.constraints.of(self.rows).only(self.columns)

    def _sigma(self):
        """Width of the instrument: one number, or one for each own pixel."""
        sigma = self.plan.sigma
        if np.ndim(sigma) == 0:
            return sigma
        one = _one_sigma(self.plan, self.rows[0])
        if one is not None:
            return one
        sigma = sigma[self.rows][:, self.pixels]
        # pixels without information take that of the others
        usual = [typical_width(self.plan, row) for row in self.rows]
        return np.where(self.ivar > 0, sigma, np.array(usual)[:, None])

    def _matrix(self):
        """Rows of the resolution matrix, no wider than they need be."""
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
    """Give what stars must share to be in one block.

    Parameters
    ----------
    plan : FitPlan
        The plan.
    row : int
        Row of a star.

    Returns
    -------
    kind : tuple
        Width of the instrument, None if it differs between pixels, and arms.
    """
    sigma = plan.sigma if np.ndim(plan.sigma) == 0 else _one_sigma(plan, row)
    return sigma, tuple(_arms_of(plan, row)) if plan.offsets else ()


def typical_width(plan, row):
    """Give the median width of the instrument of a star in km/s.

    Parameters
    ----------
    plan : FitPlan
        The plan.
    row : int
        Row of a star.

    Returns
    -------
    sigma : float
        Median over its good pixels.
    """
    if np.ndim(plan.sigma) == 0:
        return float(plan.sigma)
    sigma = _seen_sigma(plan, row)
    return float(np.median(sigma)) if len(sigma) else 0.0


def _own_pixels(plan, rows):
    """Pixels of stars that are no padding, and near the emulator."""
    spectra = plan.spectra[rows]
    near = pixels_in_reach(plan.emulator, spectra, plan.velocities)
    every = np.arange(int(spectra.n_pixels.max(initial=0)))
    return every[near]


def _arms_of(plan, row):
    """Numbers of the arms after the first in which a star has good pixels."""
    arm = plan.arm if plan.arm.ndim == 1 else plan.arm[row]
    return [i for i in np.unique(arm[plan.spectra.ivar[row] > 0]) if i > 0]


def _seen_sigma(plan, row):
    return plan.sigma[row][plan.spectra.ivar[row] > 0]


def _one_sigma(plan, row):
    """Width of the instrument of a star, None if it differs between pixels."""
    sigma = _seen_sigma(plan, row)
    if not len(sigma):
        return 0.0
    return float(sigma.mean()) if np.ptp(sigma) < _ALIKE else None
