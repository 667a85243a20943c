"""Stars that are measured together, with all that is prepared for them.

It is here so that what a star gives follows from the star alone: on a CPU a part is one
star, cut to its own pixels, arms and instrument.
"""

import math
from collections import OrderedDict

import numpy as np

from sk_payne.abundances._instrument import Instrument
from sk_payne.abundances._observation import Broadening
from sk_payne.abundances._reach import pixels_in_reach
from sk_payne.abundances._score_test import Directions
from sk_payne.abundances._start import Starts
from sk_payne.abundances._velocity_scan import VelocityScan
from sk_payne.spectra import C_KMS

__all__ = ["Part", "Shelf"]

# Starts are prepared for widths of the instrument in steps of this factor.
_WIDTHS_APART = 2 ** (1 / 8)

# Widths of the instrument below this are none, in km/s.
_SHARP = 1e-3

# Pixels whose widths of the instrument differ by less than this share one, in km/s.
_ALIKE = 1e-9

# Broadenings that are kept for the next stars.
_N_KEPT = 64


class Part:
    """Some stars of a task, cut to what concerns them.

    Parameters
    ----------
    task : Task
        What is fitted to all stars.
    shelf : Shelf
        What was prepared for other stars.
    rows : ndarray of int
        Of the stars; only their own data are looked at. Several must be of one
        `kind_of`.

    Attributes
    ----------
    task, inverted, options, with_velocity
        Of the task.
    rows : ndarray of int
        As above.
    pixels : ndarray of int
        Own pixels, among those of all stars.
    columns : ndarray of int
        Own parameters, among those of the task: arms that are absent have no offset.
    flux, ivar : ndarray of shape (n, P)
        Of the own pixels.
    wavelength, arm : ndarray of shape (P,) or (n, P), or None
        Of the own pixels; the arms that have offsets count from 1.
    offsets : list of tuple
        Limits of the velocity offsets.
    constraints : Constraints
        Of the stars and their own parameters.
    broadening : Broadening or None
        Of the model spectra; None for those of the emulator.
    instrument : Instrument or None
        None without wavelengths.
    starts, directions, scan
        What fits start from, what residuals of a wrong fit look like, and velocities
        to start from (None if there is none), see :class:`Shelf`.
    """

    def __init__(self, task, shelf, rows):
        self.task, self.rows = task, rows
        self.inverted, self.options = task.inverted, task.options
        self.with_velocity = task.with_velocity
        self.pixels = _own_pixels(task, rows)
        present = range(1, len(task.offsets) + 1)
        self.arm = self._cut(task.arm)
        if task.offsets:
            present = _arms_of(task, rows[0])
            # what is absent has no weight, and needs no number of its own
            number = np.zeros(1 + len(task.offsets), dtype=np.int64)
            number[present] = 1 + np.arange(len(present))
            absent = ~np.isin(np.atleast_2d(self.arm)[0], [0, *present])
            self.pixels = self.pixels[~absent]
            self.arm = number[self._cut(task.arm)]
        self.offsets = [task.offsets[i - 1] for i in present]
        self.columns = self._own_columns(present)
        self.flux, self.ivar = (
            np.ascontiguousarray(values[rows][:, self.pixels])
            for values in (task.spectra.flux, task.spectra.ivar)
        )
        self.constraints = task.constraints.of(rows).only(self.columns)
        sigma, matrix = self._sigma(), self._matrix()
        is_one = np.ndim(sigma) == 0
        self.wavelength = None
        if task.spectra.wavelength is not None or self._needs_wavelength(sigma, matrix):
            self.wavelength = self._cut(task.wavelength)
        self.broadening = self.instrument = None
        if self.inverted.wavelength is not None:
            self.broadening = shelf.broadening(sigma if is_one else 0.0)
        if self.wavelength is not None:
            self.instrument = shelf.instrument(
                self.wavelength, None if is_one else sigma, matrix, self.arm
            )
        prepared = shelf.prepared(_typical_sigma(task, rows[0]))
        self.starts, self.directions, self.scan = prepared

    def __len__(self):
        return len(self.rows)

    @property
    def nuisances(self):
        """Names of the own parameters besides the labels."""
        n_labels = len(self.inverted.low)
        return [self.task.nuisances[i - n_labels] for i in self.columns[n_labels:]]

    @property
    def limits(self):
        """Lowest and highest value of every own parameter, in their units."""
        low, high = self.task.limits
        return low[self.columns], high[self.columns]

    @property
    def units(self):
        """Zero and unit of the own parameters."""
        return tuple(part[self.columns] for part in self.task.units)

    def _cut(self, values):
        """Own pixels of what is one for all stars, or of each."""
        if values is None:
            return None
        if values.ndim == 1:
            return values[self.pixels]
        return np.ascontiguousarray(values[self.rows][:, self.pixels])

    def _own_columns(self, present):
        n_before = len(self.inverted.low) + sum(
            low < high for low, high in self.task.widths.values()
        )
        n_offsets = len(self.task.offsets)
        own = [n_before + i - 1 for i in present]
        last = n_before + n_offsets
        return np.array([*range(n_before), *own, *range(last, last + self._n_last())])

    def _n_last(self):
        return int(self.with_velocity)

    def _needs_wavelength(self, sigma, matrix):
        """Whether flux on the grid of the emulator is shifted, smeared or tilted."""
        options = self.options
        return self.inverted.wavelength is not None and bool(
            self.with_velocity
            or any(high for _, high in self.task.widths.values())
            or options.continuum_degree is not None
            or options.integrate_pixels
            or matrix is not None
            or np.any(sigma)
        )

    def _sigma(self):
        """Width of the instrument: one number, or one for each own pixel."""
        sigma = self.task.sigma
        if np.ndim(sigma) == 0:
            return sigma
        one = _one_sigma(self.task, self.rows[0])
        if one is not None:
            return one
        sigma = sigma[self.rows][:, self.pixels]
        # where there is nothing to see, it is that of the other pixels
        usual = [_typical_sigma(self.task, row) for row in self.rows]
        return np.where(self.ivar > 0, sigma, np.array(usual)[:, None])

    def _matrix(self):
        """Rows of the resolution matrix, no wider than they need be."""
        matrix = self.task.matrix
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


class Shelf:
    """What was prepared for stars, and serves others that are observed alike.

    Parameters
    ----------
    task : Task
        What is fitted.
    """

    def __init__(self, task):
        self._task = task
        self._prepared = None, None
        self._broadenings = OrderedDict()
        self._instrument = None, None

    def width(self, row):
        """Give the width for which the starts of a star are prepared, as a key."""
        sigma = _typical_sigma(self._task, row)
        if sigma < _SHARP:
            return None
        return round(math.log(sigma, _WIDTHS_APART))

    def prepared(self, sigma):
        """Give starts, directions and a velocity scan, for about one width."""
        key = None if sigma < _SHARP else round(math.log(sigma, _WIDTHS_APART))
        if self._prepared[0] != (key,):
            self._prepared = (key,), self._prepare(key)
        return self._prepared[1]

    def _prepare(self, key):
        task = self._task
        inverted, options = task.inverted, task.options
        broadening = None
        if inverted.wavelength is not None:
            broadening = self._broadening(0.0 if key is None else _WIDTHS_APART**key)
        starts = Starts(inverted, broadening)
        templates, scan = starts.velocity_templates, None
        directions = Directions(inverted.wavelength, templates, inverted.device)
        if task.with_velocity:
            scan = VelocityScan(
                inverted.wavelength,
                templates,
                options.velocity_range,
                free_level=options.continuum_degree is not None,
            )
        return starts, directions, scan

    def broadening(self, sigma):
        """Give the broadening with an instrument of a width in km/s."""
        kept = self._broadenings
        if sigma not in kept:
            kept[sigma] = self._broadening(sigma)
            if len(kept) > _N_KEPT:
                kept.popitem(last=False)
        return kept[sigma]

    def _broadening(self, sigma):
        inverted, options = self._task.inverted, self._task.options
        return Broadening.from_limits(
            inverted.wavelength,
            self._task.widths,
            options.limb_darkening,
            sigma,
            inverted.resolving_power,
        )

    def instrument(self, *observed):
        """Give the instrument of stars: that of the last ones, if it is the same."""
        known, instrument = self._instrument
        if known is None or not all(map(_are_equal, known, observed)):
            step = float(np.median(np.diff(np.log(self._task.inverted.wavelength))))
            integrate = self._task.options.integrate_pixels
            instrument = Instrument(*observed, integrate, C_KMS * step)
            self._instrument = observed, instrument
        return instrument


def _are_equal(one, other):
    if one is None or other is None:
        return one is other
    return one is other or np.array_equal(one, other)


def kind_of(task, row):
    """Give what stars must share to be one part, beside the width of their starts.

    Parameters
    ----------
    task : Task
        What is fitted.
    row : int
        Of a star.

    Returns
    -------
    kind : tuple
        Width of the instrument, if it is one, and arms.
    """
    sigma = task.sigma if np.ndim(task.sigma) == 0 else _one_sigma(task, row)
    return sigma, tuple(_arms_of(task, row)) if task.offsets else ()


def _own_pixels(task, rows):
    """Pixels of stars that are no padding, and near the emulator."""
    spectra = task.spectra[rows]
    seen = pixels_in_reach(task.inverted, spectra, task.options)
    every = np.arange(int(spectra.n_pixels.max(initial=0)))
    return every[seen]


def _arms_of(task, row):
    """Numbers of the arms after the first in which a star has good pixels."""
    arm = task.arm if task.arm.ndim == 1 else task.arm[row]
    return [i for i in np.unique(arm[task.spectra.ivar[row] > 0]) if i > 0]


def _seen_sigma(task, row):
    return task.sigma[row][task.spectra.ivar[row] > 0]


def _one_sigma(task, row):
    """Width of the instrument of a star, None if it differs between pixels."""
    sigma = _seen_sigma(task, row)
    if not len(sigma):
        return 0.0
    return float(sigma.mean()) if np.ptp(sigma) < _ALIKE else None


def _typical_sigma(task, row):
    if np.ndim(task.sigma) == 0:
        return float(task.sigma)
    sigma = _seen_sigma(task, row)
    return float(np.median(sigma)) if len(sigma) else 0.0
