"""Instrument of stars: line-spread functions and widths of pixels."""

import numpy as np

from sk_payne.abundances._pixels import is_hole, pixel_widths
from sk_payne.abundances._sampling import GAUSSIAN_REACH, Sampling
from sk_payne.spectra import C_KMS

__all__ = ["Instrument"]

# Largest fraction of the weights of a pixel that absent pixels may have.
_LOST = 1e-3

# Reach in km/s of a pixel whose flux is unknown: wider than any emulator.
_NOWHERE = 0.9 * C_KMS


class Instrument:
    """Line-spread functions and pixels with which stars are observed.

    Parameters
    ----------
    wavelength : ndarray of shape (P,) or (n, P)
        Wavelengths of the pixels in Å.
    sigma : ndarray of shape (n, P) or None
        Standard deviation in km/s of the line-spread function of each pixel, NaN where
        unknown; None if the model already includes it.
    matrix : ndarray of shape (n, P, d) or None
        Rows of resolution matrices.
    arm : ndarray of shape (P,) or (n, P), or None
        Arm of each pixel.
    integrate : bool
        True if pixels integrate from edge to edge, False if they see a point.
    step : float
        Step between wavelengths of the model in km/s.

    Attributes
    ----------
    reach : ndarray of shape (n or 1, P or 1)
        Largest velocity shift in km/s from which each pixel gets flux; one row if all
        stars are observed alike. If a row of the matrix gives more than 0.001 of its
        weight to absent pixels (in a hole, in another arm or beyond an end), the flux
        of its pixel is unknown, and the reach exceeds that of any emulator.
    """

    def __init__(self, wavelength, sigma, matrix, arm, integrate, step):
        self.step, self.integrate = step, integrate
        self._stars = {
            "wavelength": np.atleast_2d(wavelength),
            "sigma": None if sigma is None else np.nan_to_num(sigma),
            "matrix": matrix,
            "arm": None if arm is None else np.atleast_2d(arm),
        }
        for name in ("sigma", "matrix"):
            values = self._stars[name]
            if values is not None and (values == values[:1]).all():
                self._stars[name] = values[:1]
        self.reach = _reach(**self._stars, integrate=integrate)
        # sampling of all stars, if they are observed alike
        self._shared = None
        if self.is_shared:
            self._shared = Sampling.of(**self._stars, integrate=integrate, step=step)

    @property
    def is_shared(self):
        """True if all stars are observed alike."""
        return all(v is None or len(v) == 1 for v in self._stars.values())

    def reach_of(self, rows):
        """Return the reach of some stars."""
        return self.reach[rows if len(self.reach) > 1 else np.zeros_like(rows)]

    def sampling(self, rows):
        """Return the sampling of some stars; None if pixels see the model unchanged."""
        if self.is_shared:
            return self._shared
        stars = {
            name: values if values is None or len(values) == 1 else values[rows]
            for name, values in self._stars.items()
        }
        n = len(rows)
        for name in ("wavelength", "sigma", "arm"):
            if stars[name] is not None:
                stars[name] = np.broadcast_to(stars[name], (n, stars[name].shape[1]))
        return Sampling.of(**stars, integrate=self.integrate, step=self.step)


def _reach(wavelength, sigma, matrix, arm, integrate):
    """Largest velocity shift in km/s from which each pixel gets flux."""
    reach = np.zeros((1, 1))
    if sigma is not None:
        reach = reach + GAUSSIAN_REACH * sigma
    half = pixel_widths(wavelength, arm) / 2 if integrate else np.zeros((1, 1))
    if matrix is not None:
        return _reach_of_rows(wavelength, matrix, arm, half)
    return reach + half


def _reach_of_rows(wavelength, matrix, arm, half):
    """Reach of pixels whose flux is summed by the rows of a matrix, (S, P)."""
    n_pixels, middle = matrix.shape[1], matrix.shape[2] // 2
    velocity = C_KMS * np.log(wavelength)
    steps = np.diff(velocity, axis=1)
    if arm is not None:
        steps = np.where(np.diff(arm, axis=1) == 0, steps, np.nan)
    ends = is_hole(steps) | np.isnan(steps)
    run = np.pad(np.cumsum(ends, axis=1), ((0, 0), (1, 0)))
    half = np.broadcast_to(half, velocity.shape)
    size = np.abs(matrix)
    lost, reach = 0.0, half
    for k in range(matrix.shape[2]):
        other = np.arange(n_pixels) + k - middle
        exists = (other >= 0) & (other < n_pixels)
        other = other.clip(0, n_pixels - 1)
        known = exists & (run[:, other] == run)
        distance = np.abs(velocity[:, other] - velocity) + half[:, other]
        seen = known & (size[..., k] > 0)
        reach = np.maximum(reach, np.where(seen, distance, 0.0))
        lost = lost + np.where(known, 0.0, size[..., k])
    return np.where(lost > _LOST * size.sum(axis=2), _NOWHERE, reach)
