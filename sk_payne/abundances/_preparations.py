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

# Largest number of broadenings in the cache.
_N_KEPT = 64


class Preparations:
    """Preparations for a star, shared with others that are observed alike.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    """

    def __init__(self, plan):
        self._plan = plan
        self._prepared = None, None
        self._broadenings = OrderedDict()
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

    def prepared(self, row):
        """Return starts, directions and velocity scan of a star; the last is cached."""
        key = self.key(row)
        if self._prepared[0] != key:
            self._prepared = key, self._prepare(*key)
        return self._prepared[1]

    def broadening(self, sigma):
        """Return the broadening with an instrument of a width in km/s."""
        kept = self._broadenings
        if sigma not in kept:
            kept[sigma] = self._broadening(sigma)
            if len(kept) > _N_KEPT:
                kept.popitem(last=False)
        return kept[sigma]

    def instrument(self, *observed):
        """Return the instrument of stars; the last one is cached."""
        cached, instrument = self._instrument
        if cached is None or not all(map(_are_equal, cached, observed)):
            step = float(np.median(np.diff(np.log(self._plan.emulator.wavelength))))
            integrate = self._plan.observation.integrate_pixels
            instrument = Instrument(*observed, integrate, C_KMS * step)
            self._instrument = observed, instrument
        return instrument

    def _prepare(self, width, box):
        plan = self._plan
        emulator, observation = plan.emulator, plan.observation
        broadening = None
        if emulator.wavelength is not None:
            broadening = self._broadening(
                0.0 if width is None else _WIDTHS_APART**width
            )
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

    def _broadening(self, sigma):
        emulator, observation = self._plan.emulator, self._plan.observation
        return Broadening.from_limits(
            emulator.wavelength,
            self._plan.widths,
            observation.limb_darkening,
            sigma,
            emulator.resolving_power,
        )


def _rounded(sigma):
    return None if sigma < _SHARP else round(math.log(sigma, _WIDTHS_APART))


def _are_equal(one, other):
    if one is None or other is None:
        return one is other
    return one is other or np.array_equal(one, other)
