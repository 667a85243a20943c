"""Sampling of a model by pixels: points of each pixel, and their weights.

Pixels that integrate, and an instrument that differs between them, cost a fit one
product with a matrix of narrow bands.
"""

import numpy as np
import torch
from scipy.special import ndtr

from sk_payne.abundances._bands import Bands, Quadrature, rows_of, split_by_size
from sk_payne.abundances._pixels import pixel_widths
from sk_payne.spectra import C_KMS

__all__ = ["GAUSSIAN_REACH", "Sampling"]

GAUSSIAN_REACH = 5.3
"""Reach of a Gaussian in standard deviations: it is below 1e-6 of its maximum there. It
is summed at points at most one standard deviation apart: the sum is the integral to
1e-5."""


class Sampling:
    """Points at which pixels sample the model, and the sums over them.

    Pixels whose instrument is at least as broad as a step of the model share points on
    a lattice of that step, as far as their instruments reach. Each of the others has
    some 13 points of its own, or one if its instrument is that of the model.

    Parameters
    ----------
    parts : list of tuple
        Indices of pixels (n,), their points (S, Q) as observed wavelengths in Å, the
        arms of the points or None, and the weighted sum over points, `Bands` or
        `Quadrature`. S is the number of stars, or 1 if all share one sampling.
    matrix : Bands or None
        Weighted sum over pixels, the resolution matrix.

    Attributes
    ----------
    n_pixels : int
        Number of pixels P.
    """

    def __init__(self, parts, matrix):
        pixels, points, arms, self._adders = zip(*parts, strict=True)
        self._matrix = matrix
        self.n_pixels = sum(map(len, pixels))
        self._n_points = [part.shape[1] for part in points]
        self._points = torch.tensor(np.concatenate(points, axis=1), device="cpu")
        self._arm = None
        if arms[0] is not None:
            self._arm = torch.tensor(np.concatenate(arms, axis=1), device="cpu")
        order = np.argsort(np.concatenate(pixels))
        self._order = torch.tensor(order, device="cpu") if len(parts) > 1 else None

    @classmethod
    def of(cls, wavelength, *, sigma, integrate, matrix, arm, step):
        """Build the sampling of pixels.

        Parameters
        ----------
        wavelength : ndarray of shape (S, P)
            Wavelengths of the pixels in Å, increasing within each arm.
        sigma : ndarray of shape (S, P) or None
            Standard deviation in km/s of the instrument, NaN where unknown; None if the
            model already includes it, or there is a matrix.
        integrate : bool
            True if pixels integrate from edge to edge, False if they see a point.
        matrix : ndarray of shape (S, P, d) or None
            Rows of a resolution matrix.
        arm : ndarray of shape (S, P) or None
            Arm of each pixel.
        step : float
            Step between wavelengths of the model in km/s, its resolution.

        Returns
        -------
        sampling : Sampling or None
            Sampling; None if pixels see the model unchanged.
        """
        half = pixel_widths(wavelength, arm) / 2 if integrate else None
        if sigma is None and half is None and matrix is None:
            return None
        sigma = np.zeros(wavelength.shape) if sigma is None else np.nan_to_num(sigma)
        half = np.zeros(wavelength.shape) if half is None else half
        is_broad = (sigma >= step).all(axis=0)
        parts = []
        for find, pixels in ((_on_lattice, is_broad), (_around_pixels, ~is_broad)):
            pixels = np.flatnonzero(pixels)
            if len(pixels):
                of_pixels = [values[:, pixels] for values in (wavelength, sigma, half)]
                arm_of_pixels = None if arm is None else arm[:, pixels]
                for place, *part in find(*of_pixels, arm_of_pixels, step):
                    parts.append((pixels[place], *part))
        return cls(parts, None if matrix is None else _bands_of_rows(matrix))

    @property
    def n_numbers(self):
        """Number of values in memory: wavelengths of points, and weights."""
        adders = [*self._adders, *([self._matrix] if self._matrix else [])]
        return self._points.numel() + sum(adder.n_numbers for adder in adders)

    def points(self, rows):
        """Return the points of some stars in Å, of shape (n, Q)."""
        return rows_of(self._points, rows)

    def arms(self, rows):
        """Return the arms of the points of some stars, of shape (n, Q)."""
        return rows_of(self._arm, rows)

    def __call__(self, values, rows):
        """Sum the points of each pixel by their weights.

        Parameters
        ----------
        values : Tensor of shape (n, K, Q)
            Model and derivatives at the points.
        rows : Tensor of int, shape (n,)
            Star of each row of `values`.

        Returns
        -------
        seen : Tensor of shape (n, K, P)
            Model and derivatives at the pixels.
        """
        parts = [
            adder(part, rows)
            for adder, part in zip(
                self._adders, values.split(self._n_points, dim=2), strict=True
            )
        ]
        seen = parts[0]
        if self._order is not None:
            seen = torch.cat(parts, dim=2)[..., self._order.to(seen.device)]
        return seen if self._matrix is None else self._matrix(seen, rows)


def _on_lattice(wavelength, sigma, half, arm, step):
    """Yield pixels of broad instruments, their points, arms, and bands of weights."""
    velocity = C_KMS * np.log(wavelength)
    reach = GAUSSIAN_REACH * sigma + half
    low = np.floor((velocity - reach) / step).astype(np.int64)
    high = np.ceil((velocity + reach) / step).astype(np.int64)
    number = np.zeros(low.shape, dtype=np.int64) if arm is None else arm
    nodes, arms, first = zip(*map(_needed, low, high, number), strict=True)
    n_nodes = max(map(len, nodes))
    nodes, arms = (
        np.array([np.pad(row, (0, n_nodes - len(row)), mode="edge") for row in rows])
        for rows in (nodes, arms)
    )
    first = np.array(first)

    def weight(star, pixel, place):
        distance = step * nodes[star][place] - velocity[star, pixel][:, None]
        width, box = sigma[star, pixel][:, None], half[star, pixel][:, None]
        if box.any():
            return ndtr((distance + box) / width) - ndtr((distance - box) / width)
        return np.exp(-((distance / width) ** 2) / 2)

    bands = Bands(first, first + high - low, n_nodes, weight, is_mean=True)
    points = np.exp(step * nodes / C_KMS)
    yield slice(None), points, None if arm is None else arms, bands


def _needed(low, high, arm):
    """Nodes from low to high of any pixel, their arms, and the index of each low."""
    nodes, arms, first, n = [], [], np.empty_like(low), 0
    for i in np.unique(arm):
        mine = arm == i
        begin, end = low[mine].min(), high[mine].max()
        change = np.zeros(end - begin + 2, dtype=np.int64)
        np.add.at(change, low[mine] - begin, 1)
        np.add.at(change, high[mine] + 1 - begin, -1)
        is_needed = np.cumsum(change) > 0
        first[mine] = n + (np.cumsum(is_needed) - 1)[low[mine] - begin]
        nodes.append(begin + np.flatnonzero(is_needed))
        arms.append(np.full(len(nodes[-1]), i))
        n += len(nodes[-1])
    return np.concatenate(nodes), np.concatenate(arms), first


def _around_pixels(wavelength, sigma, half, arm, step):
    """Yield pixels, points around each, their arms, and weights.

    The rule is trapezoidal for the instrument and Gauss-Legendre for the pixel; pixels
    that need similar numbers of points are grouped.
    """
    n_around = 1 + 2 * np.ceil(GAUSSIAN_REACH * (sigma / step).clip(1)).max(axis=0)
    n_around[(sigma == 0).all(axis=0)] = 1
    # between wavelengths of the model, its flux is about a cubic
    n_inside = 2 + np.ceil(1.5 * half / step).max(axis=0)
    n_inside[(half == 0).all(axis=0)] = 1
    for group in split_by_size(n_around, 1.5):
        for place in split_by_size(n_inside[group], 1.5):
            pixels = group[place]
            x, w = np.polynomial.legendre.leggauss(int(n_inside[pixels].max()))
            y = np.zeros(1)
            if n_around[pixels[0]] > 1:
                n = int(n_around[pixels].max())
                y = np.linspace(-GAUSSIAN_REACH, GAUSSIAN_REACH, n)
            v = np.exp(-(y**2) / 2)
            weights = np.outer(w / 2, v / v.sum()).ravel()
            offset = half[:, pixels, None, None] * x[:, None]
            offset = offset + sigma[:, pixels, None, None] * y
            points = wavelength[:, pixels, None, None] * np.exp(offset / C_KMS)
            arms = None if arm is None else arm[:, pixels].repeat(len(weights), axis=1)
            points = points.reshape(len(wavelength), -1)
            yield pixels, points, arms, Quadrature(weights)


def _bands_of_rows(matrix):
    """Bands of a resolution matrix with rows (S, P, d)."""
    n_pixels, half = matrix.shape[1], matrix.shape[2] // 2
    place = np.broadcast_to(np.arange(n_pixels), matrix.shape[:2])
    first, last = (place - half).clip(0), (place + half).clip(max=n_pixels - 1)

    def weight(star, pixel, place):
        column = (place - pixel[:, None] + half).clip(0, 2 * half)
        return np.take_along_axis(matrix[star, pixel], column, axis=1)

    return Bands(first, last, n_pixels, weight)
