"""Preparations for many stars: starts, velocity scan, broadening, instrument."""

import math
from collections import OrderedDict

import numpy as np

from sk_payne.abundances._broadening import Broadening
from sk_payne.abundances._instrument import Instrument
from sk_payne.abundances._likely_box import likely_box
from sk_payne.abundances._score_test import Directions
from sk_payne.abundances._star_block import typical_width
from sk_payne.abundances._starts import Starts
from sk_payne.abundances._velocity_scan import VelocityScan
from sk_payne.spectra import C_KMS

__all__ = ["Preparations"]

# Starts are prepared for widths of the instrument in steps of this factor.
_WIDTHS_APART = 2 ** (1 / 8)

# Widths of the instrument in km/s below this count as zero.
_SHARP = 1e-3

# Largest numbers of broadenings, and of starts with velocity scan, in the cache.
_N_BROADENINGS, _N_PREPARED = 64, 2


class Preparations:
    """Preparations for a star, shared with others that are observed alike.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    """

    def __init__(self, plan):
        self._plan = plan
        self._emulators = {}
        self._prepared, self._broadenings = OrderedDict(), OrderedDict()
        self._instrument = None, None

    def key(self, row):
        """Return the key of a star; stars with the same key share preparations.

        Parameters
        ----------
        row : int
            Row of a star.

        Returns
        -------
        width : int or None
            Rounded width of the instrument; None if it is sharp.
        box : tuple or None
            Likely part of the bounds of labels, see `likely_box`.
        """
        plan = self._plan
        constraints = plan.constraints.of([row])
        box = likely_box(constraints, plan.emulator.low, plan.emulator.high)
        return _rounded(typical_width(plan, row)), box

    def emulator(self, pixels):
        """Return the emulator of a part of its grid, from pixel to pixel."""
        if pixels not in self._emulators:
            self._emulators[pixels] = self._plan.emulator.slice_grid(*pixels)
        return self._emulators[pixels]

    def prepared(self, row, pixels):
        """Return starts, directions and velocity scan of a star on a part of the grid.

        The last ones are cached.
        """
        key = *self.key(row), pixels
        return _kept(self._prepared, key, lambda: self._prepare(*key), _N_PREPARED)

    def broadening(self, sigma, pixels):
        """Return the broadening with an instrument of a width in km/s on a part."""
        return _kept(
            self._broadenings,
            (sigma, pixels),
            lambda: self._broadening(sigma, pixels),
            _N_BROADENINGS,
        )

    def instrument(self, *observed):
        """Return the instrument of stars; the last one is cached."""
        cached, instrument = self._instrument
        if cached is None or not all(map(_are_equal, cached, observed)):
            step = float(np.median(np.diff(np.log(self._plan.emulator.wavelength))))
            integrate = self._plan.observation.integrate_pixels
            instrument = Instrument(*observed, integrate, C_KMS * step)
            self._instrument = observed, instrument
        return instrument

    def _prepare(self, width, box, pixels):
        plan = self._plan
        emulator, observation = self.emulator(pixels), plan.observation
        broadening = None
        if emulator.wavelength is not None:
            sigma = 0.0 if width is None else _WIDTHS_APART**width
            broadening = self._broadening(sigma, pixels)
        starts = Starts(emulator, broadening, box)
        templates, scan = starts.velocity_templates, None
        directions = Directions(emulator.wavelength, templates, emulator.device)
        if plan.with_velocity:
            scan = VelocityScan(
                emulator.wavelength,
                templates,
                observation.velocity_range,
                free_level=observation.continuum_degree is not None,
            )
        return starts, directions, scan

    def _broadening(self, sigma, pixels):
        emulator, observation = self.emulator(pixels), self._plan.observation
        return Broadening.from_limits(
            emulator.wavelength,
            self._plan.widths,
            observation.limb_darkening,
            sigma,
            emulator.resolving_power,
        )


def _kept(cache, key, make, n_most):
    """Return what is cached, or made and cached in place of the oldest."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > n_most:
            cache.popitem(last=False)
    return cache[key]


def _rounded(sigma):
    return None if sigma < _SHARP else round(math.log(sigma, _WIDTHS_APART))


def _are_equal(one, other):
    if one is None or other is None:
        return one is other
    return one is other or np.array_equal(one, other)
